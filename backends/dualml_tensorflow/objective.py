"""An objective on tensors: the losses of all outputs, weighted and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dualml.spec.objective import Objective
from dualml_tensorflow.losses import example_losses


def objective_value(
    objective: Objective, outputs: Mapping[str, Any], targets: Mapping[str, Any], weights: Any, count: Any
) -> tuple[Any, Any]:
    """``sum_t weight_t sum_i w_i l_ti / count``, and each example's part ``sum_t weight_t w_i l_ti``.

    Args:
        objective: What is minimised.
        outputs: Values of the output nodes.
        targets: Targets by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        count: What the sum of the examples' losses is divided by, a scalar of the graph's precision.

    Returns:
        Shapes ``()`` and ``(examples,)``.
    """
    total, examples = None, None
    for term in objective.terms:
        losses = example_losses(term.loss, outputs[term.output], targets[term.output])
        losses = losses if weights is None else losses * weights
        losses = losses if term.weight == 1.0 else losses * tf.constant(term.weight, losses.dtype)
        value = tf.reduce_sum(losses) / count
        total = value if total is None else total + value
        examples = losses if examples is None else examples + losses
    return total, examples
