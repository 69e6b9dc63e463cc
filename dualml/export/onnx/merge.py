"""Layers of several inputs, and gates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dualml.export.onnx.writer import Channels, Emit, Site, Value
from dualml.protocol import Array


def _all(site: Site, channels: Channels) -> list[str]:
    return [site.input(place, channels) for place in range(len(site.node.inputs))]


def _chained(operator: str, site: Site) -> Value:
    channels = site.common
    return Value(site.chained(operator, _all(site, channels)), channels)


def _average(site: Site) -> Value:
    channels = site.common
    total = site.chained("Add", _all(site, channels))
    return Value(site.op("Div", total, site.number(len(site.node.inputs))), channels)


def _multiply(site: Site) -> Value:
    """Inputs of fewer axes get axes of size 1 before their own."""
    rank = len(site.node.shape)
    if all(len(shape) == rank for shape in site.node.input_shapes):
        return _chained("Mul", site)
    tensors = [
        tensor if len(shape) == rank else site.reshaped(tensor, ((1,) * (rank - len(shape)) + shape))
        for tensor, shape in zip(_all(site, "last"), site.node.input_shapes, strict=True)
    ]
    return Value(site.chained("Mul", tensors))


def _concat(site: Site) -> Value:
    channels = site.common
    return Value(site.op("Concat", *_all(site, channels), axis=site.axis(site.settings.axis, channels)), channels)


def _glu(site: Site) -> Value:
    channels = site.value().channels
    axis = site.axis(site.settings.axis, channels)
    half, gate = site.ops("Split", [site.input(channels=channels)], 2, axis=axis, num_outputs=2)
    return Value(site.op("Mul", half, site.op("Sigmoid", gate)), channels)


def _prelu(site: Site) -> Value:
    slopes, rank = site.settings.slopes, len(site.node.input_shapes[0])
    channels: Channels = "last" if slopes == "values" else site.value().channels

    def before_positions(slope: Array) -> Array:
        return slope.reshape(-1, *(1,) * (rank - 1))

    if slopes == "channels" and channels == "first":
        slope = site.required("slope", before_positions, "channels_first")
    else:
        slope = site.required("slope")
    x = site.input(channels=channels)
    above = site.op("Greater", x, site.number(0.0))
    return Value(site.op("Where", above, x, site.op("Mul", x, slope)), channels)


EMITTERS: Mapping[str, Emit] = {
    "add": partial(_chained, "Add"),
    "subtract": partial(_chained, "Sub"),
    "maximum": partial(_chained, "Max"),
    "minimum": partial(_chained, "Min"),
    "average": _average,
    "multiply": _multiply,
    "concat": _concat,
    "glu": _glu,
    "prelu": _prelu,
}
"""By ``Node.operation``."""
