"""Moves: values placed elsewhere, copied or dropped; exact. Their vector-Jacobian products move back and add up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dualml.reference import arithmetic as numbers
from dualml.reference.arithmetic import Number
from dualml.reference.ops.smooth import Axes, axes_of, lift
from dualml.reference.rounding import Float
from dualml.reference.trace import Traced


def _permuted(x: Any, place: Any, back: Any) -> Traced:
    """A move that keeps every value once."""
    x = lift(x)
    return Traced(numbers.move(x.number, place), (x, lambda g: numbers.move(g, back)))


def reshape(x: Any, shape: Sequence[int]) -> Traced:
    """The same values in row-major order, in another shape; one size may be -1."""
    x = lift(x)
    return _permuted(x, lambda array: array.reshape(shape), lambda g: g.reshape(x.shape))


def transpose(x: Any, axes: Sequence[int]) -> Traced:
    """The axes in another order."""
    return _permuted(x, lambda array: array.transpose(axes), lambda g: g.transpose(np.argsort(axes)))


def moveaxis(x: Any, start: int | Sequence[int], end: int | Sequence[int]) -> Traced:
    """Axes moved to other places, the others in their order."""
    return _permuted(x, lambda array: np.moveaxis(array, start, end), lambda g: np.moveaxis(g, end, start))


def swapaxes(x: Any, first: int, second: int) -> Traced:
    """Two axes exchanged."""
    return _permuted(x, lambda array: array.swapaxes(first, second), lambda g: g.swapaxes(first, second))


def expand_dims(x: Any, axis: int | Sequence[int]) -> Traced:
    """Axes of size 1 put in."""
    x = lift(x)
    return _permuted(x, lambda array: np.expand_dims(array, axis), lambda g: g.reshape(x.shape))


def squeeze(x: Any, axis: int | Sequence[int]) -> Traced:
    """Axes of size 1 taken out."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    return _permuted(x, lambda array: np.squeeze(array, axes), lambda g: g.reshape(x.shape))


def flip(x: Any, axis: Axes = None) -> Traced:
    """Axes reversed."""
    x = lift(x)
    axes = axes_of(axis, x.ndim)
    return _permuted(x, lambda array: np.flip(array, axes), lambda g: np.flip(g, axes))


def broadcast_to(x: Any, shape: Sequence[int]) -> Traced:
    """Values repeated along axes of size 1 and new leading ones."""
    x = lift(x)
    return Traced(
        numbers.move(x.number, lambda array: np.broadcast_to(array, shape)), (x, lambda g: numbers.fit(g, x.shape))
    )


def index(x: Any, key: Any) -> Traced:
    """``x[key]``: slices, integers, ``None``, and integer arrays, which may name a value several times."""
    x = lift(x)
    parts = key if isinstance(key, tuple) else (key,)
    once = all(part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in parts)

    def pull(g: Number) -> Number:
        if not once:
            return numbers.scatter(g, x.shape, key)

        def place(array: Float) -> Float:
            out = np.zeros(x.shape)
            out[key] = array
            return out

        return numbers.move(g, place)

    return Traced(numbers.move(x.number, lambda array: np.asarray(array[key])), (x, pull))


def take(x: Any, indices: Any, axis: int = 0) -> Traced:
    """Entries along one axis by constant integer ``indices`` of any shape, which replaces the axis."""
    x = lift(x)
    (place,) = axes_of(axis, x.ndim)
    return index(x, (slice(None),) * place + (np.asarray(indices, dtype=np.int64),))


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Traced:
    """A constant put before and after each axis: ``widths`` is a pair for each."""
    x = lift(x)
    inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
    whole = [before + size + after for (before, after), size in zip(widths, x.shape, strict=True)]

    def place(arrays: list[Float]) -> Float:
        out = np.full(whole, arrays[1])
        out[inside] = arrays[0]
        return out

    return Traced(
        numbers.join([x.number, np.asarray(value, dtype=np.float64)], place),
        (x, lambda g: numbers.move(g, lambda array: array[inside])),
    )


def concatenate(parts: Sequence[Any], axis: int = 0) -> Traced:
    """Arrays joined along an axis."""
    items = [lift(part) for part in parts]
    (place,) = axes_of(axis, items[0].ndim)
    ends = np.cumsum([item.shape[place] for item in items])

    def pull(end: int, size: int) -> Any:
        span = (slice(None),) * place + (slice(end - size, end),)
        return lambda g: numbers.move(g, lambda array: array[span])

    return Traced(
        numbers.join([item.number for item in items], lambda arrays: np.concatenate(arrays, axis=place)),
        *((item, pull(int(end), item.shape[place])) for item, end in zip(items, ends, strict=True)),
    )


def stack(parts: Sequence[Any], axis: int = 0) -> Traced:
    """Arrays of one shape joined along a new axis."""
    return concatenate([expand_dims(part, axis) for part in parts], axis)


# ------------------------------------------------------------------ windows


def windows(
    x: Any, axes: Sequence[int], sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int] | None = None
) -> Traced:
    """Every window over ``axes``, as convolution and pooling slide them; nothing is padded.

    Args:
        x: Any shape.
        axes: The axes to slide along.
        sizes: Values in a window, for each of the axes.
        strides: Steps between windows.
        dilations: Steps between the values of a window; 1 if not given.

    Returns:
        The shape of ``x`` with each of ``axes`` turned into the number of windows, and the ``sizes`` behind it.
    """
    x = lift(x)
    slide = _Slide(
        x.shape, axes_of(tuple(axes), x.ndim), tuple(sizes), tuple(strides), tuple(dilations or [1] * len(sizes))
    )
    return Traced(numbers.move(x.number, slide.gather), (x, slide.add_up))


def fold(
    x: Any, shape: Sequence[int], axes: Sequence[int], strides: Sequence[int], dilations: Sequence[int] | None = None
) -> Traced:
    """Windows added up where they overlap: the transpose of ``windows``, for transposed convolution.

    Args:
        x: As ``windows`` returns.
        shape: Shape of the result, what ``windows`` would be given.
        axes: The axes of ``shape`` that windows slide along.
        strides: Steps between windows.
        dilations: Steps between the values of a window; 1 if not given.
    """
    x = lift(x)
    sizes = x.shape[len(shape) :]
    slide = _Slide(
        tuple(shape), axes_of(tuple(axes), len(shape)), sizes, tuple(strides), tuple(dilations or [1] * len(sizes))
    )
    return Traced(slide.add_up(x.number), (x, lambda g: numbers.move(g, slide.gather)))


class _Slide:
    """Where the values of all windows are."""

    def __init__(
        self,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        sizes: tuple[int, ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> None:
        self.shape, self.axes, self.sizes, self.strides, self.dilations = shape, axes, sizes, strides, dilations
        spans = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
        if any(shape[axis] < span for axis, span in zip(axes, spans, strict=True)):
            raise ValueError(f"windows that span {spans} do not fit axes {axes} of shape {shape}")
        self.spans = tuple(spans)
        self.counts = [
            (shape[axis] - span) // stride + 1 for axis, span, stride in zip(axes, spans, strides, strict=True)
        ]

    def gather(self, array: Float) -> Float:
        """The windows, as a view."""
        views = sliding_window_view(array, self.spans, self.axes)
        key = [slice(None)] * views.ndim
        for place, axis in enumerate(self.axes):
            key[axis] = slice(None, None, self.strides[place])
            key[array.ndim + place] = slice(None, None, self.dilations[place])
        return views[tuple(key)]

    def add_up(self, number: Number) -> Number:
        """Its transpose: one strided addition for each value of a window."""
        parts: list[tuple[Number, Any]] = []
        for offsets in product(*(range(size) for size in self.sizes)):
            key = [slice(None)] * len(self.shape)
            for axis, offset, count, stride, dilation in zip(
                self.axes, offsets, self.counts, self.strides, self.dilations, strict=True
            ):
                start = offset * dilation
                key[axis] = slice(start, start + (count - 1) * stride + 1, stride)
            chosen = (..., *offsets)
            parts.append((numbers.move(number, lambda array, chosen=chosen: array[chosen]), tuple(key)))  # type: ignore[misc]
        return numbers.overlay(parts, self.shape)
