"""Layers that only move values, and resizing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualml.export.onnx.convolution import copied
from dualml.export.onnx.writer import Emit, Site, Value
from dualml.spec.layers.shape import axis_of


def same(site: Site) -> Value:
    """Layers that change nothing in inference."""
    return site.value()


def _reshape(site: Site) -> Value:
    return Value(site.reshaped(site.input(), site.node.shape))


def _flatten(site: Site) -> Value:
    channels = "first" if site.settings.order == "channels_first" else "last"
    return Value(site.reshaped(site.input(channels=channels), site.node.shape))  # type: ignore[arg-type]


def _permute(site: Site) -> Value:
    return Value(site.op("Transpose", site.input(), perm=[0, *(axis + 1 for axis in site.settings.axes)]))


def _pad(site: Site) -> Value:
    settings, shape = site.settings, site.node.input_shapes[0]
    pads = settings.pads(shape)
    if settings.padding_mode != "zeros":
        return Value(copied(site, site.input(), shape[:-1], pads, settings.padding_mode, 1))
    ends = [0, *(before for before, _ in pads), 0, 0, *(after for _, after in pads), 0]
    return Value(site.op("Pad", site.input(), site.whole(ends), site.number(settings.value)))


def _crop(site: Site) -> Value:
    shape, x = site.node.input_shapes[0], site.input()
    for axis, (size, (before, after)) in enumerate(zip(shape, site.settings.crops(shape), strict=False), start=1):
        if before or after:
            x = site.sliced(x, axis, before, size - after)
    return Value(x)


def _slice(site: Site) -> Value:
    settings, shape = site.settings, site.node.input_shapes[0]
    kept = settings.positions(shape)
    return Value(site.sliced(site.input(), axis_of(settings.axis, shape) + 1, kept.start, kept.stop, kept.step))


def _select(site: Site) -> Value:
    settings, shape = site.settings, site.node.input_shapes[0]
    return Value(site.gathered(site.input(), settings.position(shape), axis_of(settings.axis, shape) + 1))


def _resize(site: Site) -> Value:
    """``(1 - w) x[low] + w x[high]`` along each axis: positions and weights are exact, and constants of the file."""
    x, shape = site.input(), site.node.input_shapes[0]
    for axis, sources in reversed(list(enumerate(site.settings.sources(shape), start=1))):
        low = site.gathered(x, sources.low, axis)
        if not sources.weight.any():
            x = low
            continue
        column = np.ones(len(shape) - axis + 1, dtype=np.int64)
        column[0] = -1
        weight = sources.weight.reshape(column)
        high = site.gathered(x, sources.high, axis)
        x = site.op("Add", site.op("Mul", low, site.number(1.0 - weight)), site.op("Mul", high, site.number(weight)))
    return Value(x)


EMITTERS: Mapping[str, Emit] = {
    "flatten": _flatten,
    "reshape": _reshape,
    "permute": _permute,
    "pad": _pad,
    "crop": _crop,
    "slice": _slice,
    "select": _select,
    "resize": _resize,
    **dict.fromkeys(("dropout", "spatial_dropout", "stochastic_depth", "alpha_dropout"), same),
}
"""By ``Node.operation``."""
