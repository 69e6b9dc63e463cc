"""Losses and predictions: values, gradients and bounds on their rounding errors, in float64.

Outputs have shape ``(examples, *output_shape)``. The loss of an example is the mean over its inner positions
(every axis but the first and, for classes, the last); the loss of a batch is the sum over its examples divided
by ``denominator``. As in ``dualml.reference.layers``, a bound is local: the outputs are given exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualml.protocol import Array
from dualml.reference.losses import cross_entropy, formulas, values
from dualml.reference.losses.base import LossReference, sum_inner
from dualml.reference.losses.cross_entropy import kept, position_weights
from dualml.reference.losses.predictions import predictions, predictions_bound
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.losses import CrossEntropy, Loss

__all__ = [
    "LOSSES",
    "LossReference",
    "denominator",
    "example_losses",
    "example_losses_bound",
    "loss_gradient",
    "loss_gradient_bound",
    "loss_value",
    "loss_value_bound",
    "predictions",
    "predictions_bound",
]

LOSSES: Mapping[str, LossReference] = {**cross_entropy.LOSSES, **values.LOSSES, **formulas.LOSSES}
"""Every loss, by kind."""


def example_losses(loss: Loss, outputs: Array, targets: Array) -> Float:
    """Loss of each example.

    Args:
        loss: The spec's loss.
        outputs: The model's output (logits), shape ``(examples, *output_shape)``, any precision.
        targets: Class numbers of shape ``(examples, *output_shape[:-1])``, or values of the outputs' shape.

    Returns:
        Shape ``(examples,)``, float64.
    """
    return LOSSES[loss.kind].examples(loss, double(outputs), targets)


def example_losses_bound(loss: Loss, outputs: Array, targets: Array, unit: float) -> Float:
    """Bound on the rounding error of ``example_losses``, shape ``(examples,)``, float64."""
    return LOSSES[loss.kind].examples_bound(loss, double(outputs), targets, unit)


def denominator(loss: Loss, targets: Array, weights: Array | None = None) -> float:
    """What the sum of the examples' weighted losses is divided by: ``D``.

    Args:
        loss: The spec's loss.
        targets: Of all examples of an update.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.

    Returns:
        The number of examples; where ``loss.counts_positions``, the number of positions that count, or the sum of
        their class weights times their examples' weights. Denominators of parts add up to that of the whole. 0
        where nothing counts: the losses then are 0 too, and whoever divides takes 1 instead.
    """
    if not loss.counts_positions:
        return float(len(targets))
    assert isinstance(loss, CrossEntropy), "only cross_entropy counts positions"
    if loss.normalization == "positions":
        return float(kept(loss, targets).sum())
    total = sum_inner(position_weights(loss, targets))
    return float((total if weights is None else total * double(weights)).sum())


def _divisor(loss: Loss, targets: Array, count: float | None) -> float:
    return (denominator(loss, targets) or 1.0) if count is None else float(count)


def loss_value(loss: Loss, outputs: Array, targets: Array, count: float | None = None) -> float:
    """Sum of the examples' losses divided by ``count`` (``None``: by ``denominator``)."""
    return float(example_losses(loss, outputs, targets).sum()) / _divisor(loss, targets, count)


def loss_value_bound(loss: Loss, outputs: Array, targets: Array, count: float | None = None, *, unit: float) -> float:
    """Bound on the rounding error of ``loss_value``: that of the examples' losses, and of their sum in any order."""
    losses = example_losses(loss, outputs, targets)
    # The denominator may be a rounded sum of weights itself.
    roundings = len(losses) + 2 + (np.size(targets) + 2 if loss.counts_positions else 0)
    total = example_losses_bound(loss, outputs, targets, unit).sum() + gamma(roundings, unit) * np.abs(losses).sum()
    return float(total) / _divisor(loss, targets, count) + 2.0 * underflow_unit(unit)


def loss_gradient(loss: Loss, outputs: Array, targets: Array, count: float | None = None) -> Float:
    """Gradient of ``loss_value`` for the outputs, of their shape, float64."""
    return LOSSES[loss.kind].gradient(loss, double(outputs), targets, _divisor(loss, targets, count))


def loss_gradient_bound(
    loss: Loss, outputs: Array, targets: Array, count: float | None = None, *, unit: float
) -> Float:
    """Bound on the rounding error of ``loss_gradient``, of the outputs' shape, float64."""
    number = _divisor(loss, targets, count)
    bound = LOSSES[loss.kind].gradient_bound(loss, double(outputs), targets, number, unit)
    if not loss.counts_positions:
        return bound
    gradient = LOSSES[loss.kind].gradient(loss, double(outputs), targets, number)
    return bound + gamma(np.size(targets) + 2, unit) * np.abs(gradient)  # the denominator is a rounded sum
