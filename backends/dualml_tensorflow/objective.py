"""An objective on tensors: the losses of all outputs, weighted and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dualml.spec.objective import Objective, Term
from dualml_tensorflow.losses import denominator, example_losses
from dualml_tensorflow.regularizers import penalty


def divisors(objective: Objective, targets: Mapping[str, Any], weights: Any, count: Any) -> tuple[Any, ...]:
    """What each term's sum of losses is divided by, float64 scalars.

    Args:
        objective: What is minimised.
        targets: Of all examples of an update, by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        count: Divides every term; ``None``: the number of examples, or what the loss counts instead.
    """
    return tuple(_divisor(term, targets[term.output], weights, count) for term in objective.terms)


def _divisor(term: Term, targets: Any, weights: Any, count: Any) -> Any:
    if count is not None:
        return tf.cast(count, tf.float64)
    counted = denominator(term.loss, targets, weights)
    return tf.where(counted == 0, tf.ones_like(counted), counted)  # nothing counts: the losses are 0 as well


def objective_value(
    objective: Objective,
    outputs: Mapping[str, Any],
    targets: Mapping[str, Any],
    weights: Any,
    divided_by: tuple[Any, ...],
) -> tuple[Any, Any]:
    """``sum_t weight_t sum_i w_i l_ti / D_t``, and each example's part ``sum_t weight_t w_i l_ti``.

    Args:
        objective: What is minimised.
        outputs: Values of the output nodes.
        targets: Targets by output node.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
        divided_by: ``D``, float64 scalars.

    Returns:
        Shapes ``()`` and ``(examples,)``.
    """
    total, examples = None, None
    for term, divisor in zip(objective.terms, divided_by, strict=True):
        losses = example_losses(term.loss, outputs[term.output], targets[term.output])
        losses = losses if weights is None else losses * weights
        losses = losses if term.weight == 1.0 else losses * tf.constant(term.weight, losses.dtype)
        value = tf.reduce_sum(losses) / tf.cast(divisor, losses.dtype)
        total = value if total is None else total + value
        examples = losses if examples is None else examples + losses
    return total, examples


def penalties(objective: Objective, parameters: Mapping[str, Any]) -> Any:
    """The sum of all penalties, shape ``()``; ``None`` if there are none.

    Args:
        objective: What is minimised.
        parameters: All parameters by neutral name.
    """
    total = None
    for regularizer in objective.penalties:
        value = penalty(regularizer, parameters)
        total = value if total is None else total + value
    return total
