"""Operations that only move values, and resizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dualml.reference import ops
from dualml.reference.arithmetic import like
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced
from dualml.spec.layers.shape import axis_of
from dualml.spec.layers.sliding import source_positions


def reshape(call: Call, x: Traced) -> Traced:
    """The same values in row-major order; exact."""
    return ops.reshape(x, (-1, *call.node.shape))


def flatten(call: Call, x: Traced) -> Traced:
    """The same values in row-major order, or with the channels moved to the front; exact."""
    if call.node.settings.order == "channels_first":
        x = ops.moveaxis(x, -1, 1)
    return ops.reshape(x, (-1, *call.node.shape))


def permute(call: Call, x: Traced) -> Traced:
    """The axes in another order; exact."""
    return ops.transpose(x, (0, *(axis + 1 for axis in call.node.settings.axes)))


def pad(call: Call, x: Traced) -> Traced:
    """Values around the spatial axes: a constant, or the input's own; exact."""
    settings, shape = call.node.settings, call.node.input_shapes[0]
    pads = settings.pads(shape)
    if settings.padding_mode == "zeros":
        return ops.pad(x, [(0, 0), *pads, (0, 0)], settings.value)
    along = zip(shape, pads, strict=False)
    return _copied(x, [source_positions(size, pair, settings.padding_mode) for size, pair in along])


def crop(call: Call, x: Traced) -> Traced:
    """Less of the spatial axes; exact."""
    shape = call.node.input_shapes[0]
    crops = call.node.settings.crops(shape)
    kept = [slice(before, size - after) for size, (before, after) in zip(shape, crops, strict=False)]
    return ops.index(x, (slice(None), *kept))


def slice_(call: Call, x: Traced) -> Traced:
    """A part of one axis; exact."""
    settings, shape = call.node.settings, call.node.input_shapes[0]
    return ops.take(x, list(settings.positions(shape)), axis_of(settings.axis, shape) + 1)


def select(call: Call, x: Traced) -> Traced:
    """One position of one axis; exact."""
    settings, shape = call.node.settings, call.node.input_shapes[0]
    return ops.take(x, settings.position(shape), axis_of(settings.axis, shape) + 1)


def resize(call: Call, x: Traced) -> Traced:
    """``(1 - w) x[low] + w x[high]`` along each axis, ``w = position - low``; for nearest ``x[low]``.

    The position is written out, as an implementation rounds it and not the weight.
    """
    return _resized(call, x, lower=False)


def resize_from_below(call: Call, x: Traced) -> Traced:
    """The same, where a position that is a whole number counts as the end of an interval, not as a start."""
    return _resized(call, x, lower=True)


def _resized(call: Call, x: Traced, *, lower: bool) -> Traced:
    settings, shape = call.node.settings, call.node.input_shapes[0]
    if settings.mode == "nearest":
        return _copied(x, [sources.low for sources in settings.sources(shape)])
    for axis, sources in reversed(list(enumerate(settings.sources(shape), start=1))):
        size = shape[axis - 1]
        at_start = (sources.weight == 0) & (sources.low > 0)
        low = np.where(lower & at_start, sources.low - 1, sources.low)
        high = np.minimum(low + 1, size - 1)
        # Constants would be taken as exact until they meet a value: here every step rounds.
        origins, step = Traced(like(sources.origins, x.number)), Traced(like(sources.step, x.number))
        position = origins * step + sources.shift
        inside = (position.value > 0) & (sources.low < size - 1)
        weight = ops.where(inside, position - low, np.where(lower & at_start, 1.0, 0.0))
        column = [1] * (x.ndim - 1)
        column[axis - 1] = len(low)
        weight = ops.reshape(weight, column)
        x = ops.take(x, low, axis) * (1.0 - weight) + ops.take(x, high, axis) * weight
    return x


def _copied(x: Traced, low: Sequence[NDArray[np.intp]]) -> Traced:
    """Copies along all axes at once: the gradients of one value's copies are added in any order, not axis by axis."""
    positions, channels = x.shape[1:-1], x.shape[-1]
    places = np.ravel_multi_index(np.meshgrid(*low, indexing="ij"), positions)
    copies = ops.take(ops.reshape(x, (len(x.value), -1, channels)), places.ravel(), axis=1)
    return ops.reshape(copies, (len(x.value), *places.shape, channels))


OPERATIONS: Mapping[str, Operation] = {
    "flatten": Formula(flatten),
    "reshape": Formula(reshape),
    "permute": Formula(permute),
    "pad": Formula(pad),
    "crop": Formula(crop),
    "slice": Formula(slice_),
    "select": Formula(select),
    "resize": Formula(resize, variants=(resize_from_below,)),
}
"""By ``Node.operation``."""
