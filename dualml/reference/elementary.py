"""Elementary functions of single values, with the errors of their arguments and of the library that computes them.

A function of ``x`` known within ``e`` is off by at most ``spread(x, e)``, the most it changes over
``[x - e, x + e]``, and by ``c u M(x)`` for the library's own error, as in ``dualml.reference.activations``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualml.reference.activations import ACTIVATIONS
from dualml.reference.arithmetic import Number, divide, multiply
from dualml.reference.rounding import Float, Rounded, underflow_unit

_TANH: Any = ACTIVATIONS["tanh"]
_SIGMOID: Any = ACTIVATIONS["sigmoid"]


@dataclass(frozen=True)
class Elementary:
    """One function.

    Attributes:
        function: ``f``.
        spread: How much ``f`` changes at most when ``x`` moves by at most ``e``.
        derivative: ``f'`` from ``x`` and ``f(x)``, with its own bound.
        constant: ``c``: the worst library's error, with room.
        magnitude: ``M``; ``|f|`` if not given.
    """

    function: Callable[[Float], Float]
    spread: Callable[[Float, Float], Float]
    derivative: Callable[[Number, Number], Number]
    constant: float
    magnitude: Callable[[Float], Float] = lambda x: np.zeros_like(x)

    def __call__(self, x: Number) -> Number:
        """``f(x)``."""
        with np.errstate(all="ignore"):
            if not isinstance(x, Rounded):
                return np.asarray(self.function(x))
            value = np.asarray(self.function(x.value))
            moved = np.where(x.error == 0, 0.0, self.spread(x.value, x.error))
            size = np.maximum(np.abs(value), self.magnitude(x.value)) + moved
            return Rounded(value, moved + self.constant * x.unit * size + 2.0 * underflow_unit(x.unit), x.unit)


def _nearest(x: Float, e: Float) -> Float:
    """The smallest size that ``x`` may have."""
    return np.maximum(np.abs(x) - e, 0.0)


def _positive(x: Float, e: Float) -> Float:
    """The smallest that ``x`` may be, 0 (and so an infinite bound) where it may leave the function's domain."""
    return np.maximum(x - e, 0.0)


# ------------------------------------------------------------------ exponentials and logarithms


def _exp_spread(x: Float, e: Float) -> Float:
    return np.exp(x) * np.expm1(e)


EXP = Elementary(
    np.exp,
    _exp_spread,
    lambda _, y: y,
    constant=8,
    magnitude=lambda x: np.exp(x) * (1.0 + np.abs(x) / 8.0),  # PyTorch's softmax, float32, x = -65: off by 64 u
)
EXPM1: Elementary = Elementary(
    np.expm1,
    _exp_spread,
    lambda x, _: EXP_FROM_EXPM1(x),
    constant=8,
    magnitude=lambda x: np.minimum(np.exp(x), 1.0),  # exp(x) - 1 cancels
)
EXP_FROM_EXPM1: Elementary = Elementary(
    np.exp, _exp_spread, lambda _, y: y, constant=10, magnitude=lambda x: np.ones_like(x)
)
LOG = Elementary(np.log, lambda x, e: e / _positive(x, e), lambda x, _: divide(np.asarray(1.0), x), constant=8)
LOG1P = Elementary(
    np.log1p,
    lambda x, e: e / _positive(1.0 + x, e),
    lambda x, _: divide(np.asarray(1.0), x + np.asarray(1.0)),
    constant=8,
)


# ------------------------------------------------------------------ powers


def _twice(x: Number, _: Number) -> Number:
    return multiply(x, np.asarray(2.0))


SQUARE = Elementary(np.square, lambda x, e: (2.0 * np.abs(x) + e) * e, _twice, constant=1)
SQRT = Elementary(
    np.sqrt,
    lambda x, e: e / (np.sqrt(x) + np.sqrt(_positive(x, e))),
    lambda _, y: divide(np.asarray(0.5), y),
    constant=4,
)
RSQRT = Elementary(
    lambda x: 1.0 / np.sqrt(x),
    lambda x, e: 0.5 * e / _positive(x, e) ** 1.5,
    lambda _, y: multiply(multiply(multiply(y, y), y), np.asarray(-0.5)),
    constant=6,
)


def power(exponent: float) -> Elementary:
    """``x^p``; of negative ``x`` for whole ``p`` only."""

    def spread(x: Float, e: Float) -> Float:
        size = np.abs(x) + e if exponent >= 1 else _nearest(x, e)
        return np.asarray(np.abs(exponent) * e * size ** (exponent - 1.0))

    def derivative(x: Number, _: Number) -> Number:
        return multiply(power(exponent - 1.0)(x), np.asarray(exponent))

    def magnitude(x: Float) -> Float:
        """As ``exp(p log x)``, whose argument is rounded, and so may be ``p``."""
        rounded = np.abs(exponent * np.log(np.abs(np.where(x == 0, 1.0, x))))
        return np.asarray(np.abs(x**exponent) * (1.0 + rounded))

    return Elementary(lambda x: x**exponent, spread, derivative, constant=8, magnitude=magnitude)


# ------------------------------------------------------------------ bounded functions


@dataclass(frozen=True)
class _Slope:
    """A derivative ``d`` that peaks at 0 and falls off on both sides.

    Attributes:
        value: ``d``.
        steepest: ``|d'|`` at most, as a function of the smallest size that ``x`` may have.
        constant: The library's error, in units of ``magnitude``.
        magnitude: ``M'``.
    """

    value: Callable[[Float], Float]
    steepest: Callable[[Float], Float]
    constant: float
    magnitude: Callable[[Float], Float]

    def __call__(self, x: Number, _: Number) -> Number:
        slope = Elementary(
            self.value,
            lambda x, e: np.minimum(e * self.steepest(_nearest(x, e)), self.value(np.zeros(()))),
            lambda _, y: y,
            self.constant,
            self.magnitude,
        )
        return slope(x)


def _tanh_slope(x: Float) -> Float:
    return np.asarray(_TANH.derivative(None, x))


TANH = Elementary(
    np.tanh,
    lambda x, e: np.minimum(e * _tanh_slope(_nearest(x, e)), 2.0),
    _Slope(
        _tanh_slope,
        lambda nearest: np.minimum(0.77, 2.0 * _tanh_slope(nearest)),  # |tanh''| = 2 |tanh| tanh'
        _TANH.derivative_constant,
        lambda x: np.asarray(_TANH.derivative_magnitude(None, x)),
    ),
    constant=_TANH.constant,
)


def sigmoid(x: Float) -> Float:
    """``1 / (1 + exp(-x))``."""
    return np.asarray(_SIGMOID.value(None, x))


def _sigmoid_slope(x: Float) -> Float:
    return np.asarray(_SIGMOID.derivative(None, x))


SIGMOID = Elementary(
    sigmoid,
    lambda x, e: np.minimum(e * _sigmoid_slope(_nearest(x, e)), 1.0),
    _Slope(
        _sigmoid_slope,
        lambda nearest: np.minimum(0.097, _sigmoid_slope(nearest)),  # |s''| = s' |1 - 2 s|
        _SIGMOID.derivative_constant,
        lambda x: np.asarray(_SIGMOID.derivative_magnitude(None, x)),
    ),
    constant=_SIGMOID.constant,
)
SOFTPLUS = Elementary(
    lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))),
    lambda x, e: e * sigmoid(x + e),
    lambda x, _: SIGMOID(x),
    constant=24,  # as the activation's
)

_ERF_SLOPE = 2.0 / np.sqrt(np.pi)


def _erf(x: Float) -> Float:
    from scipy.special import erf  # type: ignore[import-untyped]

    return np.asarray(erf(x))


def _erf_slope(x: Float) -> Float:
    return np.asarray(_ERF_SLOPE * np.exp(-x * x))


ERF = Elementary(
    _erf,
    lambda x, e: np.minimum(e * _erf_slope(_nearest(x, e)), 2.0),
    _Slope(
        _erf_slope,
        lambda nearest: np.minimum(0.97, 2.0 * (nearest + 1.0) * _erf_slope(nearest)),
        10.0,
        lambda x: (1.0 + x * x) * _erf_slope(x),  # exp(-x^2) has x^2 times the relative error of its argument
    ),
    constant=20,  # 8: PyTorch's gelu, float32, x = -2.8
    magnitude=lambda x: np.ones_like(x),  # PyTorch's gelu takes it as 1 less a tail, for small x too
)

SIN: Elementary = Elementary(np.sin, lambda _, e: np.minimum(e, 2.0), lambda x, _: COS(x), 8, lambda x: np.ones_like(x))
COS: Elementary = Elementary(
    np.cos, lambda _, e: np.minimum(e, 2.0), lambda x, _: -SIN(x), 8, lambda x: np.ones_like(x)
)


# ------------------------------------------------------------------ absolute value


def _sign(x: Number, _: Number) -> Number:
    """The sign, 0 at 0; wrong by up to 2 where rounding may decide otherwise."""
    if not isinstance(x, Rounded):
        return np.sign(x)
    return Rounded(np.sign(x.value), np.where((x.error > 0) & (np.abs(x.value) <= x.error), 2.0, 0.0), x.unit)


ABSOLUTE = Elementary(np.abs, lambda _, e: e, _sign, constant=0)
