"""Cross-entropies from logits: for class numbers, for class probabilities, and the divergence from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dualml.protocol import Array
from dualml.reference.losses.base import LossReference, mean_inner, sum_inner
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.reference.softmax import SOFTMAX, softmax


def kept(settings: Any, targets: Array) -> NDArray[np.bool_]:
    """Which positions count: those whose class number is not ``ignore_index``."""
    if settings.ignore_index == "none":
        return np.ones(np.shape(targets), dtype=np.bool_)
    return np.asarray(np.asarray(targets) != settings.ignore_index)


def position_weights(settings: Any, targets: Array) -> Float:
    """The class weight of each position's target; 0 where it is ignored."""
    counted = kept(settings, targets)
    if settings.class_weights == "none":
        return counted.astype(np.float64)
    chosen = np.where(counted, targets, 0)
    return np.where(counted, np.asarray(settings.class_weights, dtype=np.float64)[chosen], 0.0)


class LogitCrossEntropy(LossReference):
    """``-sum_c q_c log softmax(z)_c`` for any ``q`` of values of at least 0, with ``Q = sum_c q_c``.

    Evaluated as ``sum_c q_c ((max z - z_c) + log sum_j exp(z_j - max z))``: every term is at least 0, so the terms
    do not cancel and their rounding is relative to the loss itself. The logarithm of a sum near 1 has an
    absolute error, that of the sum.
    Gradient for the logits: ``(Q softmax(z) - q) / divisor``, the divisor being ``positions count`` for a mean.
    """

    def targets(self, settings: Any, outputs: Float, targets: Array) -> Float:
        """``q``, shape of the outputs."""
        raise NotImplementedError

    def target_error(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        """Bound on the rounding of ``q``."""
        raise NotImplementedError

    def sums(self, settings: Any) -> bool:
        """Whether an example's loss is the sum over its positions, not their mean."""
        return False

    def _reduced(self, settings: Any, positions: Float) -> Float:
        return sum_inner(positions) if self.sums(settings) else mean_inner(positions)

    def _divisor(self, settings: Any, outputs: Float, count: float) -> float:
        return float(count * (1 if self.sums(settings) else math.prod(outputs.shape[1:-1])))

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return self._reduced(settings, self._positions(settings, outputs, targets))

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        classes = outputs.shape[-1]
        losses = self._positions(settings, outputs, targets)
        whole = self.targets(settings, outputs, targets).sum(axis=-1)
        below = outputs.max(axis=-1, keepdims=True) - outputs
        of_sum = unit * (softmax(outputs) * below).sum(axis=-1) + gamma(classes + SOFTMAX.constant, unit)
        of_targets = (self.target_error(settings, outputs, targets, unit) * self._surprise(outputs)).sum(axis=-1)
        inner = math.prod(outputs.shape[1:-1])
        bound = gamma(classes + 8, unit) * losses + of_sum * whole + of_targets
        underflow = 2.0 * underflow_unit(unit) * (inner if self.sums(settings) else 1)
        return self._reduced(settings, bound + gamma(inner + 2, unit) * losses) + underflow

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: float) -> Float:
        q = self.targets(settings, outputs, targets)
        difference = q.sum(axis=-1, keepdims=True) * softmax(outputs) - q
        return np.asarray(difference / self._divisor(settings, outputs, count))

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: float, unit: float) -> Float:
        q = self.targets(settings, outputs, targets)
        error = self.target_error(settings, outputs, targets, unit)
        p = softmax(outputs) * q.sum(axis=-1, keepdims=True)
        relative = SOFTMAX.relative_error(outputs, unit, through_logarithm=True)
        bound = p * (relative + gamma(outputs.shape[-1] + 4, unit)) + error
        bound += 4.0 * unit * (p + q)
        return np.asarray(bound / self._divisor(settings, outputs, count) + 2.0 * underflow_unit(unit))

    @staticmethod
    def _surprise(outputs: Float) -> Float:
        """``-log softmax``, as a sum of two terms of one sign."""
        below = outputs.max(axis=-1, keepdims=True) - outputs
        return np.asarray(below + np.log(np.exp(-below).sum(axis=-1, keepdims=True)))

    def _positions(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return np.asarray((self.targets(settings, outputs, targets) * self._surprise(outputs)).sum(axis=-1))


class CrossEntropy(LogitCrossEntropy):
    """``q_c = (1 - s) [c = y] + s / C``, times ``w_c`` or ``w_y``; 0 at ignored positions."""

    @override
    def sums(self, settings: Any) -> bool:
        return bool(settings.counts_positions)

    @override
    def targets(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return self._plain(settings, outputs, targets) * self._factors(settings, outputs, targets)

    @override
    def target_error(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        """The smoothing and the class weights are themselves rounded; plain class numbers are exact."""
        smoothing, factors = settings.label_smoothing, self._factors(settings, outputs, targets)
        q = self._plain(settings, outputs, targets)
        error = np.zeros_like(outputs)
        if smoothing != 0:
            error = unit * (4.0 * q + 2.0 * smoothing * self._chosen(outputs, targets))
        return np.asarray((error + (0.0 if settings.class_weights == "none" else 3.0 * unit * q)) * factors)

    @staticmethod
    def _chosen(outputs: Float, targets: Array) -> NDArray[np.bool_]:
        return np.asarray(np.arange(outputs.shape[-1]) == np.asarray(targets)[..., None])

    def _plain(self, settings: Any, outputs: Float, targets: Array) -> Float:
        smoothing = settings.label_smoothing
        return np.asarray((1.0 - smoothing) * self._chosen(outputs, targets) + smoothing / outputs.shape[-1])

    @staticmethod
    def _factors(settings: Any, outputs: Float, targets: Array) -> Float:
        if settings.class_weights != "none" and settings.weighted_smoothing == "per_class":
            weights = np.asarray(settings.class_weights, dtype=np.float64)
            return np.asarray(kept(settings, targets)[..., None] * weights)
        return np.broadcast_to(position_weights(settings, targets)[..., None], outputs.shape)


class SoftCrossEntropy(LogitCrossEntropy):
    """``q = (1 - s) t + s / C``."""

    @staticmethod
    def smoothing(settings: Any) -> float:
        """``s``."""
        return float(settings.label_smoothing)

    @override
    def targets(self, settings: Any, outputs: Float, targets: Array) -> Float:
        smoothing = self.smoothing(settings)
        return np.asarray((1.0 - smoothing) * double(targets) + smoothing / outputs.shape[-1])

    @override
    def target_error(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        if self.smoothing(settings) == 0:
            return np.zeros_like(outputs)
        return 6.0 * unit * self.targets(settings, outputs, targets)


class KlDivergence(SoftCrossEntropy):
    """``sum_c t_c (log t_c - log softmax(z)_c)``, the first part being a constant of the targets."""

    @override
    @staticmethod
    def smoothing(settings: Any) -> float:
        return 0.0

    @staticmethod
    def _entropies(targets: Array) -> Float:
        t = double(targets)
        return np.asarray(t * np.log(np.where(t > 0, t, 1.0)))

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return super().examples(settings, outputs, targets) + mean_inner(self._entropies(targets).sum(axis=-1))

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        of_terms = gamma(outputs.shape[-1] + math.prod(outputs.shape[1:-1]) + 8, unit)
        sizes = np.abs(self._entropies(targets)) + double(targets)  # the logarithm of what is near 1
        of_entropies = of_terms * mean_inner(sizes.sum(axis=-1))
        return super().examples_bound(settings, outputs, targets, unit) + of_entropies


LOSSES: Mapping[str, LossReference] = {
    "cross_entropy": CrossEntropy(),
    "soft_cross_entropy": SoftCrossEntropy(),
    "kl_divergence": KlDivergence(),
}
"""By kind."""
