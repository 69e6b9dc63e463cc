"""Softmax over the last axis: values, vector-Jacobian product and rounding bounds.

Not elementwise, unlike the other activations; losses and predictions use it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.reference.rounding import Float, gamma, underflow_unit


def softmax(x: Float) -> Float:
    """``exp(x) / sum(exp(x))`` over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last axis.

    With ``z_i = x_i - max x`` rounded and a sum in any order, ``p_i`` has the relative error
    ``u |z_i| + sum_j p_j u |z_j| + gamma_{n + c}`` to first order.

    Attributes:
        constant: ``c``: two exponentials, each good to a few ulp, and a division.
    """

    constant: float

    def relative_error(self, x: Float, unit: float, *, through_logarithm: bool = False) -> Float:
        """Bound on the relative error of each probability.

        Args:
            x: Shape ``(..., n)``.
            unit: Unit roundoff.
            through_logarithm: Whether ``p`` may be computed as ``exp(log p)``, whose relative error is the
                absolute one of ``log p``.
        """
        z = x - x.max(axis=-1, keepdims=True)
        shift = unit * np.abs(z)
        mean_shift = (softmax(x) * shift).sum(axis=-1, keepdims=True)
        error = shift + mean_shift + gamma(x.shape[-1] + self.constant, unit)
        if through_logarithm:
            log_sum = np.log(np.exp(z).sum(axis=-1, keepdims=True))
            error = error + 2.0 * unit * (np.abs(z) + log_sum)
        return np.asarray(np.expm1(np.minimum(error, 700.0)))

    def value(self, settings: Any, x: Float) -> Float:
        """``p``."""
        return softmax(x)

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """``p_i (g_i - sum_j g_j p_j)``."""
        p = softmax(x)
        return np.asarray(p * (gradient - (gradient * p).sum(axis=-1, keepdims=True)))

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """``p_i`` times its relative error, plus underflow (TensorFlow float32 is off by up to two of its units)."""
        return softmax(x) * self.relative_error(x, unit) + 4.0 * underflow_unit(unit)

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """The error of both factors ``p``, and of the sum of ``n`` products."""
        p, error = softmax(x), self.value_bound(settings, x, unit)
        size = np.abs(gradient)
        both = size + (size * p).sum(axis=-1, keepdims=True)
        spread = (size * error).sum(axis=-1, keepdims=True)
        rounding = gamma(x.shape[-1] + 4, unit) * p * both
        return np.asarray(error * both + (p + error) * spread + rounding + 2.0 * underflow_unit(unit))

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(x.shape, dtype=np.bool_)


SOFTMAX = Softmax(constant=12)
