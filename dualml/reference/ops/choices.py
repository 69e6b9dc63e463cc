"""Maxima, masks and what is built on them. Where several values tie, ``ties`` says where the gradient goes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualml.reference import arithmetic as numbers
from dualml.reference.arithmetic import Number, error_of
from dualml.reference.ops.smooth import Axes, add, axes_of, divide, exp, lift, log, negative, subtract, sum as total
from dualml.reference.rounding import Float, Rounded
from dualml.reference.trace import Traced

PairTies = Literal["first", "second", "even"]
"""The gradient of equal operands: all to the first, all to the second, or half to each."""

AxisTies = Literal["first", "last", "even"]
"""The gradient of equal largest values: to the one with the lowest or the highest index, or the same to each."""

_FIRST_SHARE = {"first": 1.0, "second": 0.0, "even": 0.5}


def maximum(a: Any, b: Any, *, ties: PairTies = "even") -> Traced:
    """The larger of two, elementwise."""
    a, b = lift(a), lift(b)

    def share(own: Traced, other: Traced, tie: float) -> Number:
        won = numbers.greater(own.number, other.number)
        tied = tie * (own.value == other.value)
        return Rounded(won.value + tied, won.error, won.unit) if isinstance(won, Rounded) else won + tied

    def pull(own: Traced, other: Traced, tie: float) -> Any:
        return lambda g: numbers.fit(numbers.multiply(g, share(own, other, tie)), own.shape)

    first = _FIRST_SHARE[ties]
    return Traced(numbers.larger(a.number, b.number), (a, pull(a, b, first)), (b, pull(b, a, 1.0 - first)))


def minimum(a: Any, b: Any, *, ties: PairTies = "even") -> Traced:
    """The smaller of two, elementwise."""
    return negative(maximum(negative(a), negative(b), ties=ties))


def clip(x: Any, low: float, high: float) -> Traced:
    """``min(max(x, low), high)``; on the edges the gradient passes."""
    return minimum(maximum(x, low, ties="first"), high, ties="first")


def relu(x: Any) -> Traced:
    """``max(x, 0)``; its derivative at 0 is 0."""
    return maximum(x, 0.0, ties="second")


def max(  # noqa: A001 (as in NumPy)
    x: Any, axis: Axes = None, *, keepdims: bool = False, ties: AxisTies = "even"
) -> Traced:
    """The largest value over axes; ``ties`` goes by the index over all of them in row-major order."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    kept = tuple(1 if item in axes else size for item, size in enumerate(x.shape))
    largest = x.value.max(axis=axes, keepdims=True)
    chosen = _shares(x.value, largest, axes, ties)
    number: Number = largest
    winners: Number = chosen
    if isinstance(x.number, Rounded):
        error = error_of(x.number)
        most = error.max(axis=axes, keepdims=True)
        near = (x.value + error >= largest - most) & np.isfinite(x.value)  # may be the largest in working precision
        doubtful = (
            near & ((near & (error > 0)).any(axis=axes, keepdims=True)) & (near.sum(axis=axes, keepdims=True) > 1)
        )
        number = Rounded(largest, np.where(near, error, 0.0).max(axis=axes, keepdims=True), x.number.unit)
        winners = Rounded(chosen, doubtful.astype(np.float64), x.number.unit)

    def pull(g: Number) -> Number:
        return numbers.multiply(numbers.move(g, lambda array: array.reshape(kept)), winners)

    shape = kept if keepdims else tuple(size for item, size in enumerate(x.shape) if item not in axes)
    return Traced(numbers.move(number, lambda array: array.reshape(shape)), (x, pull))


def _shares(x: Float, largest: Float, axes: tuple[int, ...], ties: AxisTies) -> Float:
    """How much of the gradient each value gets."""
    tied = x == largest
    if ties == "even":
        return np.asarray(tied / tied.sum(axis=axes, keepdims=True))
    rest = tuple(item for item in range(x.ndim) if item not in axes)
    order = (*rest, *sorted(axes))
    rows = tied.transpose(order)
    flat = rows.reshape(*(x.shape[item] for item in rest), -1)
    place = flat.argmax(axis=-1) if ties == "first" else flat.shape[-1] - 1 - flat[..., ::-1].argmax(axis=-1)
    one = np.zeros(flat.shape)
    np.put_along_axis(one, place[..., None], 1.0, axis=-1)
    return one.reshape(rows.shape).transpose(np.argsort(order))


def min(  # noqa: A001
    x: Any, axis: Axes = None, *, keepdims: bool = False, ties: AxisTies = "even"
) -> Traced:
    """The smallest value over axes."""
    return negative(max(negative(x), axis, keepdims=keepdims, ties=ties))


def where(mask: NDArray[np.bool_], a: Any, b: Any) -> Traced:
    """``a`` where a constant mask holds, else ``b``; the other one gets no gradient there."""
    a, b = lift(a), lift(b)

    def pull(own: Traced, kept: NDArray[np.bool_]) -> Any:
        return lambda g: numbers.fit(numbers.move(g, lambda array: np.where(kept, array, 0.0)), own.shape)

    held = np.asarray(mask, dtype=np.bool_)
    return Traced(numbers.select(held, a.number, b.number), (a, pull(a, held)), (b, pull(b, ~held)))


# ------------------------------------------------------------------ normalised exponentials


def _shifted(x: Traced, axis: Axes, mask: NDArray[np.bool_] | None) -> tuple[Traced, Traced]:
    """``x`` less its largest value, and that value. What is computed does not depend on the value taken off.

    So an error of that value does not count, but for the rounding of a difference that it makes larger.
    """
    axes = axes_of(axis, x.ndim)
    held = np.ones(x.shape, dtype=np.bool_) if mask is None else np.broadcast_to(mask, x.shape)
    most = np.where(held, x.value, -np.inf).max(axis=axes, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    top: Number = most
    if isinstance(x.number, Rounded):
        error = np.where(held, error_of(x.number), 0.0).max(axis=axes, keepdims=True)
        top = Rounded(most, x.number.unit * error, x.number.unit)
    return where(held, subtract(x, Traced(top)), 0.0), Traced(top)


def softmax(x: Any, axis: Axes = -1, *, mask: NDArray[np.bool_] | None = None) -> Traced:
    """``exp(x) / sum(exp(x))`` over the values where ``mask`` holds; 0 elsewhere, and in rows without any."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    powers = _powers(x, axis, mask)
    sums = total(powers, axis, keepdims=True)
    empty = sums.value == 0
    p = divide(powers, where(empty, 1.0, sums)).number

    def pull(g: Number) -> Number:
        weighted = numbers.multiply(g, p)
        inner = numbers.subtract(g, numbers.total(weighted, axes, keepdims=True))
        return numbers.multiply(p, inner)

    return Traced(p, (x, pull))


def _powers(x: Traced, axis: Axes, mask: NDArray[np.bool_] | None) -> Traced:
    frozen = stop_gradient(x)
    powers = exp(_shifted(frozen, axis, mask)[0])
    return powers if mask is None else where(np.broadcast_to(mask, x.shape), powers, 0.0)


def logsumexp(x: Any, axis: Axes = -1, *, keepdims: bool = False) -> Traced:
    """``log(sum(exp(x)))``."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    shifted, top = _shifted(stop_gradient(x), axis, None)
    level = add(log(total(exp(shifted), axis, keepdims=True)), top)
    p = _probabilities(x, axis, subtract(stop_gradient(x), level))
    kept = level.shape
    shape = kept if keepdims else tuple(size for item, size in enumerate(x.shape) if item not in axes)

    def pull(g: Number) -> Number:
        return numbers.multiply(numbers.move(g, lambda array: array.reshape(kept)), p)

    return Traced(numbers.move(level.number, lambda array: array.reshape(shape)), (x, pull))


def log_softmax(x: Any, axis: Axes = -1) -> Traced:
    """``x - logsumexp(x)``, without its cancellation."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    shifted, _ = _shifted(stop_gradient(x), axis, None)
    value = subtract(shifted, log(total(exp(shifted), axis, keepdims=True)))
    p = _probabilities(x, axis, value)

    def pull(g: Number) -> Number:
        return numbers.subtract(g, numbers.multiply(p, numbers.total(g, axes, keepdims=True)))

    return Traced(value.number, (x, pull))


def _probabilities(x: Traced, axis: Axes, logarithm: Traced) -> Number:
    """``softmax(x)``, which may also be taken from its logarithm."""
    p, other = softmax(stop_gradient(x), axis).number, exp(logarithm).number
    if isinstance(p, Rounded):
        return Rounded(p.value, np.maximum(error_of(p), error_of(other)), p.unit)
    return p


def constant(array: Any) -> Traced:
    """A constant of the formula, as the other constants: for a state that starts from zeros."""
    return Traced(np.asarray(array, dtype=np.float64))


def stop_gradient(x: Any) -> Traced:
    """The same value, not differentiated."""
    return Traced(lift(x).number)
