"""Losses and predictions: values, gradients and bounds on their rounding errors, in float64.

Outputs have shape ``(examples, *output_shape)``. The loss of an example is the mean over its inner positions
(every axis but the first and, for classes, the last); the loss of a batch is the sum over its examples
divided by ``count``. As in ``dualml.reference.layers``, a bound is local: the outputs are given exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from dualml.protocol import Array
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.reference.softmax import SOFTMAX, softmax
from dualml.spec.losses import Loss


class LossReference:
    """What the reference knows about one loss; ``settings`` is its object from ``dualml.spec.losses``."""

    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        """Loss of each example, shape ``(examples,)``."""
        raise NotImplementedError

    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        """Bound on the rounding error of each example's loss."""
        raise NotImplementedError

    def gradient(self, settings: Any, outputs: Float, targets: Array, count: int) -> Float:
        """Gradient of the sum of the examples' losses divided by ``count``, of the outputs' shape."""
        raise NotImplementedError

    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: int, unit: float) -> Float:
        """Bound on the rounding error of ``gradient``."""
        raise NotImplementedError


def _mean_inner(values: Float) -> Float:
    return np.asarray(values.reshape(len(values), -1).mean(axis=1))


class CrossEntropy(LossReference):
    """``-sum_c q_c log softmax(z)_c`` with ``q_c = (1 - s) [c = y] + s / C``.

    Evaluated as ``sum_c q_c ((max z - z_c) + log sum_j exp(z_j - max z))``: every term is at least 0, so the terms
    do not cancel and their rounding is relative to the loss itself. The logarithm of a sum near 1 has an
    absolute error, that of the sum.
    Gradient for the logits: ``(softmax(z) - q) / (positions count)``.
    """

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return _mean_inner(self._positions(settings, outputs, targets))

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        classes = outputs.shape[-1]
        losses = self._positions(settings, outputs, targets)
        below = outputs.max(axis=-1, keepdims=True) - outputs
        of_sum = unit * (softmax(outputs) * below).sum(axis=-1) + gamma(classes + SOFTMAX.constant, unit)
        of_targets = (self._target_error(settings, outputs, targets, unit) * self._surprise(outputs)).sum(axis=-1)
        inner = math.prod(outputs.shape[1:-1])
        bound = gamma(classes + 8, unit) * losses + of_sum + of_targets
        return _mean_inner(bound + gamma(inner + 2, unit) * losses) + 2.0 * underflow_unit(unit)

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: int) -> Float:
        difference = softmax(outputs) - self._targets(settings, outputs, targets)
        return np.asarray(difference / self._divisor(outputs, count))

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: int, unit: float) -> Float:
        p, q = softmax(outputs), self._targets(settings, outputs, targets)
        relative = SOFTMAX.relative_error(outputs, unit, through_logarithm=True)
        bound = p * (relative + gamma(outputs.shape[-1] + 4, unit)) + self._target_error(
            settings, outputs, targets, unit
        )
        bound += 4.0 * unit * (p + q)
        return np.asarray(bound / self._divisor(outputs, count) + 2.0 * underflow_unit(unit))

    @staticmethod
    def _divisor(outputs: Float, count: int) -> float:
        return float(count * math.prod(outputs.shape[1:-1]))

    @staticmethod
    def _targets(settings: Any, outputs: Float, targets: Array) -> Float:
        """``q``, shape of the outputs."""
        classes, smoothing = outputs.shape[-1], settings.label_smoothing
        chosen = np.arange(classes) == np.asarray(targets)[..., None]
        return np.asarray((1.0 - smoothing) * chosen + smoothing / classes)

    def _target_error(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        """Bound on the rounding of ``q``, the smoothing itself rounded; plain class numbers are exact."""
        smoothing = settings.label_smoothing
        if smoothing == 0:
            return np.zeros_like(outputs)
        q = self._targets(settings, outputs, targets)
        chosen = np.arange(outputs.shape[-1]) == np.asarray(targets)[..., None]
        return np.asarray(unit * (4.0 * q + 2.0 * smoothing * chosen))

    @staticmethod
    def _surprise(outputs: Float) -> Float:
        """``-log softmax``, as a sum of two terms of one sign."""
        below = outputs.max(axis=-1, keepdims=True) - outputs
        return np.asarray(below + np.log(np.exp(-below).sum(axis=-1, keepdims=True)))

    def _positions(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return np.asarray((self._targets(settings, outputs, targets) * self._surprise(outputs)).sum(axis=-1))


class MeanSquaredError(LossReference):
    """``mean((y - t)^2)`` over all values of an example; gradient ``2 (y - t) / (values count)``."""

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return _mean_inner((outputs - double(targets)) ** 2)

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        values = math.prod(outputs.shape[1:])
        return gamma(values + 5, unit) * self.examples(settings, outputs, targets) + 4.0 * underflow_unit(unit)

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: int) -> Float:
        return np.asarray(2.0 * (outputs - double(targets)) / (count * math.prod(outputs.shape[1:])))

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: int, unit: float) -> Float:
        size = np.abs(self.gradient(settings, outputs, targets, count))
        return np.asarray(gamma(6, unit) * size + 4.0 * underflow_unit(unit))


LOSSES: Mapping[str, LossReference] = {"cross_entropy": CrossEntropy(), "mse": MeanSquaredError()}
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


def loss_value(loss: Loss, outputs: Array, targets: Array, count: int | None = None) -> float:
    """Sum of the examples' losses divided by ``count`` (``None``: their number)."""
    return float(example_losses(loss, outputs, targets).sum()) / (len(outputs) if count is None else count)


def loss_value_bound(loss: Loss, outputs: Array, targets: Array, count: int | None = None, *, unit: float) -> float:
    """Bound on the rounding error of ``loss_value``: that of the examples' losses, and of their sum in any order."""
    losses = example_losses(loss, outputs, targets)
    total = example_losses_bound(loss, outputs, targets, unit).sum() + gamma(len(losses) + 2, unit) * losses.sum()
    return float(total) / (len(losses) if count is None else count) + 2.0 * underflow_unit(unit)


def loss_gradient(loss: Loss, outputs: Array, targets: Array, count: int | None = None) -> Float:
    """Gradient of ``loss_value`` for the outputs, of their shape, float64."""
    return LOSSES[loss.kind].gradient(loss, double(outputs), targets, len(outputs) if count is None else count)


def loss_gradient_bound(loss: Loss, outputs: Array, targets: Array, count: int | None = None, *, unit: float) -> Float:
    """Bound on the rounding error of ``loss_gradient``, of the outputs' shape, float64."""
    number = len(outputs) if count is None else count
    return LOSSES[loss.kind].gradient_bound(loss, double(outputs), targets, number, unit)


def predictions(kind: Literal["softmax", "identity"], outputs: Array) -> Float:
    """What a model predicts from its outputs: their softmax over the last axis, or themselves; float64."""
    return softmax(double(outputs)) if kind == "softmax" else double(outputs).copy()


def predictions_bound(kind: Literal["softmax", "identity"], outputs: Array, unit: float) -> Float:
    """Bound on the rounding error of ``predictions``, of the outputs' shape, float64."""
    if kind == "softmax":
        return SOFTMAX.value_bound(None, double(outputs), unit)
    return np.full(np.shape(outputs), underflow_unit(unit))
