"""Sums, products and elementary functions of traced values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from dualml.reference import arithmetic as numbers, elementary
from dualml.reference.arithmetic import Number
from dualml.reference.contraction import Contraction
from dualml.reference.rounding import double
from dualml.reference.trace import Traced

Axes: TypeAlias = int | Sequence[int] | None
"""One axis, several, or ``None`` for all."""


def lift(x: Any) -> Traced:
    """A constant of the formula as a traced value; traced values as they are."""
    return x if isinstance(x, Traced) else Traced(double(x))


def axes_of(axis: Axes, rank: int) -> tuple[int, ...]:
    """Axes counted from 0.

    Raises:
        ValueError: An axis that an array of ``rank`` axes does not have.
    """
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -rank <= item < rank for item in axes):
        raise ValueError(f"axes must lie between {-rank} and {rank - 1}, got {axes}")
    return tuple(item % rank for item in axes)


# ------------------------------------------------------------------ arithmetic


def add(a: Any, b: Any) -> Traced:
    """``a + b``."""
    a, b = lift(a), lift(b)
    return Traced(
        numbers.add(a.number, b.number),
        (a, lambda g: numbers.fit(g, a.shape)),
        (b, lambda g: numbers.fit(g, b.shape)),
    )


def subtract(a: Any, b: Any) -> Traced:
    """``a - b``."""
    return add(a, negative(b))


def negative(x: Any) -> Traced:
    """``-x``."""
    x = lift(x)
    return Traced(numbers.negative(x.number), (x, numbers.negative))


def multiply(a: Any, b: Any) -> Traced:
    """``a b``."""
    a, b = lift(a), lift(b)
    return Traced(
        numbers.multiply(a.number, b.number),
        (a, lambda g: _fit_product(g, b.number, a.shape)),
        (b, lambda g: _fit_product(g, a.number, b.shape)),
    )


def _fit_product(a: Number, b: Number, shape: tuple[int, ...]) -> Number:
    return numbers.fit(numbers.multiply(a, b), shape)


def divide(a: Any, b: Any) -> Traced:
    """``a / b``."""
    a, b = lift(a), lift(b)
    quotient = numbers.divide(a.number, b.number)

    def to_divisor(g: Number) -> Number:
        return numbers.fit(numbers.negative(numbers.divide(numbers.multiply(g, quotient), b.number)), b.shape)

    return Traced(quotient, (a, lambda g: numbers.fit(numbers.divide(g, b.number), a.shape)), (b, to_divisor))


def power(x: Any, exponent: float) -> Traced:
    """``x^p`` for a constant ``p``; of negative ``x`` for whole ``p`` only."""
    return square(x) if exponent == 2 else _apply(elementary.power(exponent), x)


def einsum(subscripts: str, a: Any, b: Any) -> Traced:
    """Sum of products of two arrays, ``"bqd,bkd->bqk"``: every letter once in each part, ``...`` for leading axes."""
    a, b = lift(a), lift(b)
    plan = Contraction.parse(subscripts, a.ndim, b.ndim)

    def pull(own: str, other: str, number: Number, shape: tuple[int, ...]) -> Any:
        present = "".join(letter for letter in own if letter in plan.out + other)
        sizes = tuple(size if letter in present else 1 for letter, size in zip(own, shape, strict=True))

        def to_operand(g: Number) -> Number:
            part = numbers.contract(f"{plan.out},{other}->{present}", g, number)
            return numbers.move(part, lambda array: np.broadcast_to(array.reshape(sizes), shape))

        return to_operand

    return Traced(
        numbers.contract(subscripts, a.number, b.number),
        (a, pull(plan.left, plan.right, b.number, a.shape)),
        (b, pull(plan.right, plan.left, a.number, b.shape)),
    )


def matmul(a: Any, b: Any) -> Traced:
    """``a @ b`` over the last axis of ``a`` and the last but one of ``b``, both at least 2-d."""
    return einsum("...ij,...jk->...ik", a, b)


# ------------------------------------------------------------------ sums


def sum(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Traced:  # noqa: A001 (as in NumPy)
    """Sum over axes."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    return Traced(numbers.total(x.number, axes, keepdims=keepdims), (x, lambda g: _back(g, x.shape, axes)))


def mean(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Traced:
    """Mean over axes."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    count = double(numbers.lengths(x.shape, axes))
    return Traced(
        numbers.mean(x.number, axes, keepdims=keepdims),
        (x, lambda g: _back(numbers.divide(g, count), x.shape, axes)),
    )


def _back(g: Number, shape: tuple[int, ...], axes: tuple[int, ...]) -> Number:
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return numbers.move(g, lambda array: np.broadcast_to(array.reshape(kept), shape))


# ------------------------------------------------------------------ elementary functions


def _apply(function: elementary.Elementary, x: Any) -> Traced:
    x = lift(x)
    y = function(x.number)
    return Traced(y, (x, lambda g: numbers.multiply(g, function.derivative(x.number, y))))


def exp(x: Any) -> Traced:
    """``e^x``."""
    return _apply(elementary.EXP, x)


def expm1(x: Any) -> Traced:
    """``e^x - 1``."""
    return _apply(elementary.EXPM1, x)


def log(x: Any) -> Traced:
    """Natural logarithm."""
    return _apply(elementary.LOG, x)


def log1p(x: Any) -> Traced:
    """``log(1 + x)``."""
    return _apply(elementary.LOG1P, x)


def square(x: Any) -> Traced:
    """``x^2``."""
    return _apply(elementary.SQUARE, x)


def sqrt(x: Any) -> Traced:
    """Square root."""
    return _apply(elementary.SQRT, x)


def rsqrt(x: Any) -> Traced:
    """``1 / sqrt(x)``."""
    return _apply(elementary.RSQRT, x)


def tanh(x: Any) -> Traced:
    """Hyperbolic tangent."""
    return _apply(elementary.TANH, x)


def sigmoid(x: Any) -> Traced:
    """``1 / (1 + e^-x)``."""
    return _apply(elementary.SIGMOID, x)


def softplus(x: Any) -> Traced:
    """``log(1 + e^x)``."""
    return _apply(elementary.SOFTPLUS, x)


def erf(x: Any) -> Traced:
    """Error function."""
    return _apply(elementary.ERF, x)


def sin(x: Any) -> Traced:
    """Sine."""
    return _apply(elementary.SIN, x)


def cos(x: Any) -> Traced:
    """Cosine."""
    return _apply(elementary.COS, x)


def absolute(x: Any) -> Traced:
    """``|x|``; its derivative at 0 is 0."""
    return _apply(elementary.ABSOLUTE, x)
