"""An objective on tensors: the losses of all outputs, weighted and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from dualml.spec.objective import Objective, Term
from dualml_torch.losses import batch_loss, denominator, example_losses
from dualml_torch.regularizers import penalty

Divisors: TypeAlias = tuple[int | Tensor, ...]
"""What the sum of the examples' losses is divided by, for each term."""


def divisors(
    objective: Objective, targets: Mapping[str, Tensor], weights: Tensor | None, count: int | None
) -> Divisors:
    """What each term's sum is divided by.

    Args:
        objective: What is minimised.
        targets: Of all examples of an update, by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        count: Divides every term; ``None``: the number of examples, or what the loss counts instead.
    """
    return tuple(_divisor(term, targets[term.output], weights, count) for term in objective.terms)


def _divisor(term: Term, targets: Tensor, weights: Tensor | None, count: int | None) -> int | Tensor:
    if count is not None:
        return count
    if not term.loss.counts_positions:
        return len(targets)
    counted = denominator(term.loss, targets, weights)
    return torch.where(counted == 0, 1.0, counted)  # nothing counts: the losses are 0 as well


def objective_value(
    objective: Objective,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Tensor | None,
    divided_by: Divisors,
    parameters: Mapping[str, Tensor] | None,
) -> Tensor:
    """``sum_t weight_t sum_i w_i l_ti / D_t + penalties``, shape ``()``.

    Args:
        objective: What is minimised.
        outputs: Values of the output nodes.
        targets: Targets by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        divided_by: ``D``.
        parameters: All parameters by neutral name, for penalties; ``None`` leaves those out.
    """
    total: Tensor | None = None
    for term, divisor in zip(objective.terms, divided_by, strict=True):
        output, wanted = outputs[term.output], targets[term.output]
        if isinstance(divisor, Tensor):
            divisor = divisor.to(output.dtype)
        if weights is None:
            value = batch_loss(term.loss, output, wanted, divisor)
        else:
            value = (example_losses(term.loss, output, wanted) * weights).sum() / divisor
        value = value if term.weight == 1.0 else value * term.weight
        total = value if total is None else total + value
    assert total is not None, "an objective has at least one term"
    if parameters is not None:
        for regularizer in objective.penalties:
            total = total + penalty(regularizer, parameters)
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
