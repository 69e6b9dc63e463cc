"""What the reference knows about an activation, and the common case of one that treats every value by itself.

A correct implementation in working precision with unit roundoff ``u`` is within ``c u M(x)`` of the value
``f(x)``, and its derivative within ``c' u M'(x)`` of ``f'(x)``. ``M`` is not ``|f|`` but the size of the
largest intermediate result of the formulas in use: ``x (1 + erf(x / sqrt 2)) / 2`` cancels for negative ``x``,
the ``erfc`` form does not, and both are correct. The constants were measured with PyTorch 2.13 and TensorFlow
2.21 on CPU, in float32 and float64, over ``|x| <= 100``; beside each stands the worst ``|y - f| / (u M)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dualml.reference.rounding import Float, underflow_unit

Function = Callable[[Any, Float], Float]
"""Of the activation's settings and its input."""


class ActivationReference(Protocol):
    """What the reference knows about one activation. ``settings`` is its object from ``dualml.spec.activations``."""

    def value(self, settings: Any, x: Float) -> Float:
        """``f(x)``, of ``x``'s shape."""

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """Gradient for ``x`` from the ``gradient`` for ``f(x)``, both of ``x``'s shape."""

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """Bound on the rounding error of ``f(x)``."""

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """Bound on the rounding error of ``vector_jacobian``."""

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """Where ``f'`` jumps exactly at ``x``."""


def sigmoid(x: Float) -> Float:
    """``1 / (1 + exp(-x))`` without overflow, accurate to a few ulp for every ``x``."""
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, tail) / (1.0 + tail)


def nothing(settings: Any, x: Float) -> Float:  # noqa: ARG001 (the same signature for all)
    """Zero: of what is exact."""
    return np.zeros_like(x)


def no_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:  # noqa: ARG001
    """Nowhere."""
    return np.zeros(x.shape, dtype=np.bool_)


def no_jump(settings: Any, x: Float, unit: float) -> Float:  # noqa: ARG001
    """Zero: of what has no branch that a rounded comparison decides."""
    return np.zeros_like(x)


@dataclass(frozen=True)
class Elementwise:
    """An activation that treats every value by itself.

    Attributes:
        function: ``f``.
        derivative: ``f'``; at a kink, the frameworks' value.
        constant: ``c``.
        magnitude: ``M``.
        derivative_constant: ``c'``.
        derivative_magnitude: ``M'``.
        kink: Where ``f'`` jumps.
        jump: What ``f`` may be off by where a rounded comparison takes the other branch.
        derivative_jump: The same for ``f'``.
    """

    function: Function
    derivative: Function
    constant: float = 0.0
    magnitude: Function = nothing
    derivative_constant: float = 0.0
    derivative_magnitude: Function = nothing
    kink: Callable[[Any, Float], NDArray[np.bool_]] = no_kinks
    jump: Callable[[Any, Float, float], Float] = no_jump
    derivative_jump: Callable[[Any, Float, float], Float] = no_jump

    def value(self, settings: Any, x: Float) -> Float:
        """``f(x)``."""
        return self.function(settings, x)

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """``gradient f'(x)``."""
        return gradient * self.derivative(settings, x)

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """``c u M(x)``, plus underflow in the operand, in a factor of ``x`` (silu, gelu) and in the result."""
        underflow = 2.0 * underflow_unit(unit) * (1.0 + np.abs(self.derivative(settings, x)) + np.abs(x))
        rounding = self.constant * unit * self.magnitude(settings, x)
        return rounding + self.jump(settings, x, unit) + underflow

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """``|gradient| (c' u M'(x) + 2 u |f'(x)|)``, plus underflow.

        Where denormal numbers count as zero, a kink at 0 reaches as far as the smallest normal number.
        """
        smallest = underflow_unit(unit)
        derivative, magnitude = np.abs(self.derivative(settings, x)), self.derivative_magnitude(settings, x)
        edge = np.full_like(x, smallest)
        across = np.abs(self.derivative(settings, edge) - self.derivative(settings, -edge))
        error = unit * (self.derivative_constant * magnitude + 2.0 * derivative) + 2.0 * smallest * (1.0 + np.abs(x))
        error += self.derivative_jump(settings, x, unit)
        error += np.where((x != 0) & (np.abs(x) < smallest), across, 0.0)
        return np.abs(gradient) * error + 2.0 * smallest * (1.0 + np.abs(x) + magnitude + derivative)

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """Where ``f'`` jumps."""
        return self.kink(settings, x)
