"""Pooling, channels first."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dualml.export.onnx.convolution import flat
from dualml.export.onnx.writer import Emit, Site, Value
from dualml.spec.layers.pooling import Windows


def _padded(site: Site, x: str, windows: Windows, filling: float) -> tuple[str, list[int]]:
    """The input and what the pool itself pads: less than a window of it, or nothing.

    ONNX Runtime refuses pools that pad by a whole window, which dilated windows and ``ceil_mode`` may do.
    """
    reach = flat(windows.reach)
    if all(pad < size for pad, size in zip(reach, windows.sizes * 2, strict=True)):
        return x, reach
    rank = len(windows.sizes)
    pads = [0, 0, *reach[:rank], 0, 0, *reach[rank:]]
    return site.op("Pad", x, site.whole(pads), site.number(filling)), [0] * (2 * rank)


def _windows(site: Site) -> Windows:
    found: Windows = site.settings.windows(site.node.input_shapes[0])
    return found


def _max_pool(site: Site) -> Value:
    windows = _windows(site)
    x, pads = _padded(site, site.input(channels="first"), windows, -np.inf)
    y = site.op(
        "MaxPool", x, kernel_shape=windows.sizes, strides=windows.strides, dilations=windows.dilations, pads=pads
    )
    return Value(y, "first")


def _average_pool(site: Site) -> Value:
    """The pool divides by the input's values in a window, by all places of it, or is put right by a factor."""
    windows = _windows(site)
    x, pads = _padded(site, site.input(channels="first"), windows, 0.0)
    whole, divisors = math.prod(windows.sizes), windows.divisors
    excluded = any(pads) and bool(np.array_equal(divisors, windows.present))
    y = site.op(
        "AveragePool",
        x,
        kernel_shape=windows.sizes,
        strides=windows.strides,
        pads=pads,
        count_include_pad=int(not excluded),
    )
    if not excluded and not np.all(divisors == whole):
        y = site.op("Mul", y, site.number(whole / divisors))
    return Value(y, "first")


def _adaptive(site: Site, reduction: str) -> Value:
    """One axis after the other: the largest value or the mean of each of its spans."""
    x, shape = site.input(), site.node.input_shapes[0]
    for axis, spans in enumerate(site.settings.spans(shape), start=1):
        if spans == tuple((place, place + 1) for place in range(shape[axis - 1])):
            continue
        if len(spans) == 1:
            x = site.op(reduction, x, site.whole([axis]), keepdims=1)
            continue
        parts = [
            site.op(reduction, site.sliced(x, axis, start, stop), site.whole([axis]), keepdims=1)
            for start, stop in spans
        ]
        x = site.op("Concat", *parts, axis=axis)
    return Value(x)


def _adaptive_average(site: Site) -> Value:
    return _adaptive(site, "ReduceMean")


def _adaptive_max(site: Site) -> Value:
    return _adaptive(site, "ReduceMax")


def _global(site: Site, reduction: str) -> Value:
    channels, rank = site.value().channels, len(site.node.input_shapes[0])
    axes = [site.axis(axis, channels) for axis in range(rank - 1)]
    keep = site.settings.keep_axes
    y = site.op(reduction, site.input(channels=channels), site.whole(axes), keepdims=int(keep))
    return Value(y, channels if keep else "last")


def _global_average(site: Site) -> Value:
    return _global(site, "ReduceMean")


def _global_max(site: Site) -> Value:
    return _global(site, "ReduceMax")


EMITTERS: Mapping[str, Emit] = {
    **{f"max_pool{rank}d": _max_pool for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": _average_pool for rank in (1, 2, 3)},
    **{f"adaptive_average_pool{rank}d": _adaptive_average for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": _adaptive_max for rank in (1, 2, 3)},
    "global_average_pool": _global_average,
    "global_max_pool": _global_max,
}
"""By ``Node.operation``."""
