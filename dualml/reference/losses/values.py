"""Losses written out with their own bounds: mean squared error and binary cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from dualml.protocol import Array
from dualml.reference.activations import sigmoid
from dualml.reference.losses.base import LossReference, mean_inner
from dualml.reference.rounding import Float, double, gamma, underflow_unit


class MeanSquaredError(LossReference):
    """``mean((y - t)^2)`` over all values of an example; gradient ``2 (y - t) / (values count)``."""

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return mean_inner((outputs - double(targets)) ** 2)

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        values = math.prod(outputs.shape[1:])
        return gamma(values + 5, unit) * self.examples(settings, outputs, targets) + 4.0 * underflow_unit(unit)

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: float) -> Float:
        return np.asarray(2.0 * (outputs - double(targets)) / (count * math.prod(outputs.shape[1:])))

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: float, unit: float) -> Float:
        size = np.abs(self.gradient(settings, outputs, targets, count))
        return np.asarray(gamma(6, unit) * size + 4.0 * underflow_unit(unit))


class BinaryCrossEntropy(LossReference):
    """``w t softplus(-z) + (1 - t) softplus(z)``, mean over all values of an example.

    No term cancels here; in the frameworks' formula ``max(z, 0) - z t + log(1 + exp(-|z|))`` the first two do, so
    the bound is relative to ``(1 + w) (|z| + 1)``. The derivative is ``(1 - t) s(z) - w t s(-z)``.
    """

    @staticmethod
    def _targets(settings: Any, targets: Array) -> tuple[Float, Float]:
        smoothing = settings.label_smoothing
        smoothed = (1.0 - smoothing) * double(targets) + smoothing / 2.0
        return smoothed, np.broadcast_to(np.asarray(settings.pos_weight, dtype=np.float64), smoothed.shape)

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        t, weight = self._targets(settings, targets)
        tail = np.log1p(np.exp(-np.abs(outputs)))
        above, below = np.maximum(outputs, 0.0) + tail, np.maximum(-outputs, 0.0) + tail
        return mean_inner(weight * t * below + (1.0 - t) * above)

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        _, weight = self._targets(settings, targets)
        sizes = (1.0 + weight) * (np.abs(outputs) + 1.0)
        return mean_inner(sizes) * gamma(math.prod(outputs.shape[1:]) + 16, unit) + 4.0 * underflow_unit(unit)

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: float) -> Float:
        t, weight = self._targets(settings, targets)
        derivative = (1.0 - t) * sigmoid(outputs) - weight * t * sigmoid(-outputs)
        return np.asarray(derivative / (count * math.prod(outputs.shape[1:])))

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: float, unit: float) -> Float:
        _, weight = self._targets(settings, targets)
        each = (1.0 + weight) * gamma(24, unit) + 4.0 * underflow_unit(unit)
        return np.asarray(each / (count * math.prod(outputs.shape[1:])) + 4.0 * underflow_unit(unit))


LOSSES: Mapping[str, LossReference] = {"mse": MeanSquaredError(), "binary_cross_entropy": BinaryCrossEntropy()}
"""By kind."""
