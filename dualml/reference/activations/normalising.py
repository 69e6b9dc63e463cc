"""Activations over one axis: softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.reference.activations.base import ActivationReference
from dualml.reference.rounding import Float, gamma, underflow_unit
from dualml.reference.softmax import SOFTMAX, softmax


@dataclass(frozen=True)
class LogSoftmax:
    """``(x_i - max x) - log sum_j exp(x_j - max x)`` over the last axis.

    Both terms of the difference are rounded, and the logarithm has the absolute error of the sum it is taken of.
    """

    def value(self, settings: Any, x: Float) -> Float:
        """``log p``."""
        z = x - x.max(axis=-1, keepdims=True)
        return np.asarray(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """``g_i - p_i sum_j g_j``."""
        return np.asarray(gradient - softmax(x) * gradient.sum(axis=-1, keepdims=True))

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """The shift and the logarithm rounded, and the error of the sum."""
        z = x - x.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(z).sum(axis=-1, keepdims=True))
        of_sum = unit * (softmax(x) * np.abs(z)).sum(axis=-1, keepdims=True)
        of_sum = of_sum + gamma(x.shape[-1] + SOFTMAX.constant, unit)
        return np.asarray(4.0 * unit * (np.abs(z) + log_sum) + of_sum + 4.0 * underflow_unit(unit))

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """The error of ``p``, which may be taken as ``exp(log p)``, and of the sum of ``n`` numbers."""
        p = softmax(x)
        total = np.abs(gradient.sum(axis=-1, keepdims=True))
        sizes = np.abs(gradient).sum(axis=-1, keepdims=True)
        relative = SOFTMAX.relative_error(x, unit, through_logarithm=True)
        rounding = gamma(x.shape[-1] + 4, unit) * (np.abs(gradient) + p * sizes)
        return np.asarray(p * relative * (total + unit * sizes) + rounding + 4.0 * underflow_unit(unit) * (1.0 + sizes))

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(x.shape, dtype=np.bool_)


@dataclass(frozen=True)
class OverAxis:
    """A function over the last axis, applied over the axis of an example that the settings name.

    Attributes:
        inner: The function.
    """

    inner: ActivationReference

    @staticmethod
    def _axis(settings: Any) -> int:
        axis = int(settings.axis)
        return axis + 1 if axis >= 0 else axis  # behind the batch

    def _moved(self, settings: Any, array: Float) -> Float:
        return np.moveaxis(array, self._axis(settings), -1)

    def _back(self, settings: Any, array: Float) -> Float:
        return np.moveaxis(array, -1, self._axis(settings))

    def value(self, settings: Any, x: Float) -> Float:
        """Of ``x``'s shape."""
        return self._back(settings, self.inner.value(settings, self._moved(settings, x)))

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """Of ``x``'s shape."""
        moved = self.inner.vector_jacobian(settings, self._moved(settings, x), self._moved(settings, gradient))
        return self._back(settings, moved)

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """Of ``x``'s shape."""
        return self._back(settings, self.inner.value_bound(settings, self._moved(settings, x), unit))

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """Of ``x``'s shape."""
        arrays = (self._moved(settings, x), self._moved(settings, gradient))
        return self._back(settings, self.inner.vector_jacobian_bound(settings, *arrays, unit))

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(x.shape, dtype=np.bool_)


FUNCTIONS: Mapping[str, ActivationReference] = {
    "softmax": OverAxis(SOFTMAX),
    "log_softmax": OverAxis(LogSoftmax()),
}
"""By kind."""
