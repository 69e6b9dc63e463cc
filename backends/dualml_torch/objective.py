"""An objective on tensors: the losses of all outputs, weighted and added."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dualml.spec.objective import Objective
from dualml_torch.losses import batch_loss, example_losses


def objective_value(
    objective: Objective,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Tensor | None,
    count: int,
) -> Tensor:
    """``sum_t weight_t sum_i w_i l_ti / count``, shape ``()``.

    Args:
        objective: What is minimised.
        outputs: Values of the output nodes.
        targets: Targets by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        count: What the sum of the examples' losses is divided by.
    """
    total: Tensor | None = None
    for term in objective.terms:
        output, wanted = outputs[term.output], targets[term.output]
        if weights is None:
            value = batch_loss(term.loss, output, wanted, count)
        else:
            value = (example_losses(term.loss, output, wanted) * weights).sum() / count
        value = value if term.weight == 1.0 else value * term.weight
        total = value if total is None else total + value
    assert total is not None, "an objective has at least one term"
    return total


def objective_examples(
    objective: Objective, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], weights: Tensor | None
) -> Tensor:
    """Each example's losses times their weights, shape ``(examples,)``."""
    parts = [
        example_losses(term.loss, outputs[term.output], targets[term.output]) * term.weight for term in objective.terms
    ]
    total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    return total if weights is None else total * weights
