"""Sums, products and moves of float64 arrays, or of arrays that carry a bound: one expression gives both.

Every function takes ``Number``s. On ``Rounded`` ones the error of the result covers a working precision that
adds up in any order, sums of sums included (``a + b + c`` is one sum of three terms, and so is the gradient of
a weight that is used at every time step), with or without fused multiply-add, and divides by multiplying with
a reciprocal. Moves are exact and take the errors along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualml.reference.contraction import Contraction
from dualml.reference.rounding import Float, Rounded, Terms, double, underflow_unit

Number: TypeAlias = Float | Rounded
"""An array, or one that carries a bound on its rounding error."""


def value_of(x: Number) -> Float:
    """The array itself."""
    return x.value if isinstance(x, Rounded) else x


def error_of(x: Number) -> Float:
    """Bound on its error, of its shape."""
    return np.broadcast_to(x.error, x.value.shape) if isinstance(x, Rounded) else np.zeros_like(x)


def like(number: Any, other: Number) -> Number:
    """A constant of a formula, as what ``other`` is."""
    if isinstance(number, Rounded) or not isinstance(other, Rounded):
        return number if isinstance(number, Rounded) else double(number)
    return Rounded.constant(number, other.unit)


def _pair(a: Number, b: Number) -> tuple[Rounded, Rounded] | None:
    """Both with bounds, if one has."""
    if not isinstance(a, Rounded) and not isinstance(b, Rounded):
        return None
    left, right = like(a, b), like(b, a)
    assert isinstance(left, Rounded)
    assert isinstance(right, Rounded)
    return left, right


# ------------------------------------------------------------------ sums


def _terms(x: Rounded) -> Terms:
    return x.terms or Terms(0, np.abs(x.value) + x.error, x.error)


def _deepest(terms: Sequence[Terms]) -> float:
    """The most roundings that any term of any of these sums went through."""
    return float(max(np.max(item.count, initial=0) for item in terms))


def _gammas(count: Any, unit: float) -> Any:
    """``gamma_n`` for every ``n``."""
    product = count * unit
    return np.where(product < 1.0, product / np.maximum(1.0 - product, unit), np.inf)


def _summed(value: Float, terms: Terms, unit: float) -> Rounded:
    return Rounded(value, terms.carried + _gammas(terms.count, unit) * terms.size, unit, terms)


def add(a: Number, b: Number) -> Number:
    """``a + b``."""
    pair = _pair(a, b)
    if pair is None:
        return np.asarray(value_of(a) + value_of(b))
    left, right = pair
    first, second = _terms(left), _terms(right)
    carried = first.carried + second.carried + underflow_unit(left.unit)
    terms = Terms(first.count + second.count + 1, first.size + second.size, carried)
    if left.terms is None and right.terms is None:  # a single rounding, relative to the result
        plain = left + right
        return Rounded(plain.value, plain.error, plain.unit, terms)
    return _summed(left.value + right.value, terms, left.unit)


def negative(x: Number) -> Number:
    """``-x``."""
    return -x


def subtract(a: Number, b: Number) -> Number:
    """``a - b``."""
    return add(a, negative(b))


def lengths(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Number of values over ``axes``."""
    return int(np.prod([shape[axis] for axis in axes], dtype=np.int64))


def total(x: Number, axes: tuple[int, ...], *, keepdims: bool = False) -> Number:
    """Sum over ``axes``."""
    if not isinstance(x, Rounded):
        return np.asarray(x.sum(axis=axes, keepdims=keepdims))
    count = lengths(x.value.shape, axes)
    terms = _terms(x)

    def fold(array: Any) -> Float:
        return np.asarray(np.broadcast_to(array, x.value.shape).sum(axis=axes, keepdims=keepdims))

    underflow = 0.0 if count == 1 else count * underflow_unit(x.unit)
    folded = Terms(_deepest([terms]) + max(count - 1, 0), fold(terms.size), fold(terms.carried) + underflow)
    return _summed(fold(x.value), folded, x.unit)


def mean(x: Number, axes: tuple[int, ...], *, keepdims: bool = False) -> Number:
    """Mean over ``axes``; the division may come first or last, by multiplication with ``1 / n`` or not."""
    count = lengths(value_of(x).shape, axes)
    summed = total(x, axes, keepdims=keepdims)
    if not isinstance(summed, Rounded):
        return summed / count
    terms = _terms(summed)
    wider = _summed(summed.value, Terms(terms.count + 2, terms.size, terms.carried), summed.unit)
    return Rounded(wider.value / count, wider.error / count + 2.0 * underflow_unit(wider.unit), wider.unit)


def fit(x: Number, shape: tuple[int, ...]) -> Number:
    """Undo broadcasting: sum ``x`` over the axes along which ``shape`` was repeated."""
    have = value_of(x).shape
    if have == shape:
        return x
    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(
        axis + lead for axis, size in enumerate(shape) if size == 1 and have[axis + lead] != 1
    )
    return move(total(x, axes, keepdims=True), lambda array: array.reshape(shape))


# ------------------------------------------------------------------ products


def multiply(a: Number, b: Number) -> Number:
    """``a b``."""
    pair = _pair(a, b)
    if pair is None:
        return np.asarray(value_of(a) * value_of(b))
    product = pair[0] * pair[1]
    for summed, scale in (pair, pair[::-1]):
        if summed.terms is not None and scale.value.size == 1:  # each term may have been scaled before
            terms, factor = summed.terms, np.abs(scale.value) + scale.error
            wider = terms.carried + _gammas(terms.count + 2, summed.unit) * terms.size
            error = factor * wider + np.abs(summed.value) * scale.error + 2.0 * underflow_unit(summed.unit)
            return Rounded(product.value, np.maximum(product.error, error), product.unit)
    return product


def divide(a: Number, b: Number) -> Number:
    """``a / b``, or ``a`` times a reciprocal that is good to 3 ``u``: TensorFlow's float32 one is off by 2.9 ``u``."""
    pair = _pair(a, b)
    if pair is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(value_of(a) / value_of(b))
    quotient = pair[0] / pair[1]
    slack = 4.0 * quotient.unit * np.abs(quotient.value)
    return Rounded(quotient.value, quotient.error + slack, quotient.unit)


def contract(subscripts: str, a: Number, b: Number) -> Number:
    """Sum of products of two arrays, in Einstein's notation without repeated letters in one array."""
    pair = _pair(a, b)
    plan = Contraction.parse(subscripts, value_of(a).ndim, value_of(b).ndim)
    if pair is None:
        return plan(value_of(a), value_of(b))
    left, right = pair
    unit = left.unit
    count = plan.count(left.value.shape, right.value.shape)
    size_a, size_b = np.abs(left.value), np.abs(right.value)
    error_a, error_b = error_of(left), error_of(right)
    size = plan(size_a + error_a, size_b + error_b)
    carried = np.full_like(size, 2.0 * count * underflow_unit(unit))
    if error_a.any():
        carried = carried + plan(error_a, size_b + error_b)
    if error_b.any():
        carried = carried + plan(size_a, error_b)
    return _summed(plan(left.value, right.value), Terms(count, size, carried), unit)


# ------------------------------------------------------------------ moves


def move(x: Number, place: Callable[[Float], Float]) -> Number:
    """Numbers placed elsewhere, copied or dropped by ``place``; exact."""
    return x.moved(place) if isinstance(x, Rounded) else place(x)


def join(parts: Sequence[Number], place: Callable[[list[Float]], Float]) -> Number:
    """Several arrays placed into one; exact. Where an array has no bound but another has, it is a constant."""
    bounded = next((part for part in parts if isinstance(part, Rounded)), None)
    if bounded is None:
        return place([value_of(part) for part in parts])
    given = [like(part, bounded) for part in parts]
    return Rounded(place([value_of(part) for part in given]), place([error_of(part) for part in given]), bounded.unit)


def scatter(x: Number, shape: tuple[int, ...], index: Any) -> Number:
    """``y[index] += x`` on zeros of ``shape``, where an index may come several times; in any order."""

    def spread(array: Any) -> Float:
        out = np.zeros(shape)
        np.add.at(out, index, array)
        return out

    if not isinstance(x, Rounded):
        return spread(x)
    terms = _terms(x)
    repeats = spread(np.ones(x.value.shape))
    carried = spread(np.broadcast_to(terms.carried, x.value.shape)) + repeats * underflow_unit(x.unit)
    count = np.maximum(repeats - 1.0, 0.0) + _deepest([terms])
    return _summed(spread(x.value), Terms(count, spread(terms.size), carried), x.unit)


def overlay(parts: Sequence[tuple[Number, Any]], shape: tuple[int, ...]) -> Number:
    """Zeros of ``shape`` onto which every part is added at its slice; in any order."""
    first = parts[0][0]

    def lay(arrays: Sequence[Any]) -> Float:
        out = np.zeros(shape)
        for array, (part, where) in zip(arrays, parts, strict=True):
            out[where] += np.broadcast_to(array, value_of(part).shape)
        return out

    if not isinstance(first, Rounded):
        return lay([part for part, _ in parts])
    numbers = [part for part, _ in parts if isinstance(part, Rounded)]
    terms = [_terms(number) for number in numbers]
    repeats = lay([1.0 for _ in parts])
    count = np.maximum(repeats - 1.0, 0.0) + _deepest(terms)
    carried = lay([item.carried for item in terms]) + repeats * underflow_unit(first.unit)
    value = lay([number.value for number in numbers])
    return _summed(value, Terms(count, lay([item.size for item in terms]), carried), first.unit)


# ------------------------------------------------------------------ choices


def greater(a: Number, b: Number) -> Number:
    """1 where ``a > b``, else 0; wrong by 1 where rounding may decide otherwise."""
    decided = (value_of(a) > value_of(b)).astype(np.float64)
    pair = _pair(a, b)
    if pair is None:
        return decided
    reach = pair[0].error + pair[1].error
    doubtful = (reach > 0) & (np.abs(pair[0].value - pair[1].value) <= reach)
    return Rounded(decided, doubtful.astype(np.float64), pair[0].unit)


def larger(a: Number, b: Number) -> Number:
    """``max(a, b)``, exact."""
    value = np.maximum(value_of(a), value_of(b))
    pair = _pair(a, b)
    if pair is None:
        return value
    left, right = pair
    with np.errstate(invalid="ignore"):
        reach = left.error + right.error
        from_left = np.where(left.value + reach >= right.value, left.error, 0.0)
        from_right = np.where(right.value + reach >= left.value, right.error, 0.0)
    return Rounded(value, np.maximum(from_left, from_right), left.unit)


def select(mask: NDArray[np.bool_], a: Number, b: Number) -> Number:
    """``a`` where the mask holds, else ``b``; exact."""
    return join([a, b], lambda arrays: np.where(mask, arrays[0], arrays[1]))
