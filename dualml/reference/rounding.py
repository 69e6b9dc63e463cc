"""Rounding errors: unit roundoffs, ``gamma_n``, the underflow unit, and arithmetic that carries its own bound.

Notation of Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition: a correctly rounded
operation returns ``(a op b)(1 + d)`` with ``|d| <= u`` (section 2.2), and ``n`` such factors together are
``1 + t`` with ``|t| <= gamma_n = n u / (1 - n u)`` (lemma 3.1), whatever the order of a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.float64]
"""Every array of the reference: float64."""

_UNITS = {"bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
_SMALLEST_NORMAL = {2.0**-8: 2.0**-126, 2.0**-24: 2.0**-126, 2.0**-53: 2.0**-1022}


def double(array: Any) -> Float:
    """The same numbers as float64; exact for float32, float64 and integers below 2^53."""
    return np.asarray(array, dtype=np.float64)


def unit_roundoff(precision: str) -> float:
    """Largest relative error ``u`` of rounding to nearest: 2^-8 for bfloat16, 2^-24 for float32, 2^-53 for float64.

    Raises:
        ValueError: Another precision.
    """
    if precision not in _UNITS:
        raise ValueError(f"precision must be one of {', '.join(_UNITS)}, got {precision!r}")
    return _UNITS[precision]


def underflow_unit(unit: float) -> float:
    """Largest absolute error of an underflow, for the precision of unit roundoff ``unit``: its smallest normal number.

    TensorFlow flushes denormal numbers to zero, in operands and in results; PyTorch keeps them. Both are right.

    Raises:
        ValueError: No supported precision has this unit roundoff.
    """
    if unit not in _SMALLEST_NORMAL:
        known = "bfloat16 (2^-8), float32 (2^-24) or float64 (2^-53)"
        raise ValueError(f"unit must be the unit roundoff of {known}, got {unit!r}")
    return _SMALLEST_NORMAL[unit]


def gamma(count: float, unit: float) -> float:
    """``gamma_n = n u / (1 - n u)``, infinite where ``n u >= 1`` and nothing can be promised."""
    product = count * unit
    return product / (1.0 - product) if product < 1.0 else np.inf


class Terms(NamedTuple):
    """What a sum was made of: with it, sums of sums are bounded for any order of all their terms together.

    Attributes:
        count: Roundings that a term goes through on its way into the sum, at most.
        size: Sum of the sizes of the terms.
        carried: Sum of the errors that the terms brought along.
    """

    count: Any
    size: Float
    carried: Float


class Rounded:
    """An array of which a working precision knows only ``value`` within ``error``.

    Every operation returns the exact result of the values, with a bound on how far the result in working
    precision may lie from it: the operands' errors propagated (all orders, worst signs), plus one rounding
    and one underflow. So a formula written once gives both its meaning (on float64 arrays) and its bound
    (on these). It is the running error analysis of Higham, section 3.3, with bounds for the operands.

    Attributes:
        value: The exact value, float64.
        error: Bound on the distance from it, float64, of a shape that broadcasts with it.
        unit: Unit roundoff of the working precision.
        terms: What was summed, where this is a sum from ``dualml.reference.arithmetic``.
    """

    __array_ufunc__ = None  # makes ``ndarray * Rounded`` call Rounded.__rmul__
    __slots__ = ("error", "terms", "unit", "value")

    def __init__(self, value: Any, error: Any, unit: float, terms: Terms | None = None) -> None:
        self.value = double(value)
        self.error = double(error)
        self.unit = unit
        self.terms = terms

    @classmethod
    def given(cls, value: Any, unit: float) -> Rounded:
        """What an operation is handed: exact, though a denormal number may be read as 0."""
        array = double(value)
        size = np.abs(array)
        return cls(array, np.where(size < underflow_unit(unit), size, 0.0), unit)

    @classmethod
    def constant(cls, value: Any, unit: float) -> Rounded:
        """A number written in a formula: rounded to working precision, unless 24 bits hold it."""
        array = double(value)
        with np.errstate(over="ignore"):
            short = np.float64(np.float32(array)) == array
        return cls(array, np.where(short, 0.0, unit * np.abs(array)), unit)

    def _operand(self, other: Any) -> Rounded:
        return other if isinstance(other, Rounded) else Rounded(other, 0.0, self.unit)

    def _result(self, value: Float, propagated: Float) -> Rounded:
        rounding = self.unit * (np.abs(value) + propagated) + underflow_unit(self.unit)
        return Rounded(value, propagated + rounding, self.unit)

    def __add__(self, other: Any) -> Rounded:
        right = self._operand(other)
        return self._result(self.value + right.value, self.error + right.error)

    def __sub__(self, other: Any) -> Rounded:
        right = self._operand(other)
        return self._result(self.value - right.value, self.error + right.error)

    def __mul__(self, other: Any) -> Rounded:
        right = self._operand(other)
        propagated = np.abs(self.value) * right.error + np.abs(right.value) * self.error + self.error * right.error
        return self._result(self.value * right.value, propagated)

    def __truediv__(self, other: Any) -> Rounded:
        right = self._operand(other)
        nearest = np.abs(right.value) - right.error  # the smallest the divisor may be
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = self.value / right.value
            propagated = np.where(nearest > 0, (self.error + np.abs(value) * right.error) / nearest, np.inf)
            exact = (self.error == 0) & (right.error == 0)
        return self._result(value, np.where(exact, 0.0, propagated))

    def __radd__(self, other: Any) -> Rounded:
        return self._operand(other) + self

    def __rsub__(self, other: Any) -> Rounded:
        return self._operand(other) - self

    def __rmul__(self, other: Any) -> Rounded:
        return self._operand(other) * self

    def __rtruediv__(self, other: Any) -> Rounded:
        return self._operand(other) / self

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.error, self.unit, self.terms)

    def moved(self, move: Callable[[Float], Float]) -> Rounded:
        """The same numbers elsewhere: ``move`` only places, copies or drops them."""
        shape = self.value.shape

        def place(array: Any) -> Float:
            return move(np.broadcast_to(double(array), shape))

        terms = self.terms
        if terms is not None:
            count = terms.count if np.ndim(terms.count) == 0 else place(terms.count)
            terms = Terms(count, place(terms.size), place(terms.carried))
        return Rounded(move(self.value), place(self.error), self.unit, terms)

    def root(self) -> Rounded:
        """The square root; values are at least 0."""
        value = np.sqrt(self.value)
        below = value - np.sqrt(np.maximum(self.value - self.error, 0.0))  # the root is steepest downwards
        return self._result(value, below)

    def capped(self, limit: Any) -> Rounded:
        """The same value, its error at most ``limit``: for what is known to be bounded for another reason."""
        return Rounded(self.value, np.minimum(self.error, limit), self.unit)
