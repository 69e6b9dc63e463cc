"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced
from dualml.spec.layers.sliding import source_positions

_SPATIAL, _WINDOW = "hwd", "ijk"


def convolution(call: Call, x: Traced, *, kernel: Traced, bias: Traced | None = None) -> Traced:
    """``y[p, o] = b[o] + sum_{q, c} x[stride p + dilation q, c] K[q, c, o]`` within each group."""
    return _correlate(call, x, kernel, call.node.settings.groups, bias)


def depthwise(call: Call, x: Traced, *, kernel: Traced, bias: Traced | None = None) -> Traced:
    """A convolution with a group for each channel; the kernel's channels are its groups."""
    *sizes, channels, multiplier = kernel.shape
    whole = ops.reshape(kernel, (*sizes, 1, channels * multiplier))
    return _correlate(call, x, whole, channels, bias)


def transposed(call: Call, x: Traced, *, kernel: Traced, bias: Traced | None = None) -> Traced:
    """``full[stride p + dilation q, o] = sum x[p, c] K[q, o, c]``, cropped, the empty sums at the end included."""
    settings = call.node.settings
    rank, groups = settings.rank, settings.groups
    # Zeros behind the input make room for output_padding, so that with the bias all of it stays one sum.
    beyond = [-(-extra // stride) for extra, stride in zip(settings.extra, settings.strides, strict=True)]
    if any(beyond):
        x = ops.pad(x, [(0, 0), *((0, more) for more in beyond), (0, 0)])
    *sizes, outputs, channels = kernel.shape
    parts = ops.reshape(x, (*x.shape[:-1], groups, channels // groups))
    weights = ops.reshape(kernel, (*sizes, outputs, groups, channels // groups))
    spatial, window = _SPATIAL[:rank], _WINDOW[:rank]
    windows = ops.einsum(f"b{spatial}gc,{window}ogc->b{spatial}go{window}", parts, weights)
    full = [
        (n - 1) * s + covered for n, s, covered in zip(x.shape[1:-1], settings.strides, settings.spans, strict=True)
    ]
    axes = range(1, rank + 1)
    y = ops.fold(windows, (len(x), *full, groups, outputs), axes, settings.strides, settings.dilations)
    kept = [slice(before, before + n) for (before, _), n in zip(settings.crops, call.node.shape, strict=False)]
    y = ops.reshape(y[(slice(None), *kept)], (len(x), *call.node.shape))
    return y if bias is None else y + bias


def _correlate(call: Call, x: Traced, kernel: Traced, groups: int, bias: Traced | None) -> Traced:
    settings = call.node.settings
    *sizes, channels, filters = kernel.shape
    x = _padded(call, x)
    parts = ops.reshape(x, (*x.shape[:-1], groups, channels))
    weights = ops.reshape(kernel, (*sizes, channels, groups, filters // groups))
    patches = ops.windows(parts, range(1, settings.rank + 1), sizes, settings.strides, settings.dilations)
    spatial, window = _SPATIAL[: settings.rank], _WINDOW[: settings.rank]
    y = ops.einsum(f"b{spatial}gc{window},{window}cgo->b{spatial}go", patches, weights)
    y = ops.reshape(y, (len(x), *call.node.shape))
    return y if bias is None else y + bias


def _padded(call: Call, x: Traced) -> Traced:
    settings = call.node.settings
    pads = settings.pads(call.node.input_shapes[0])
    if settings.padding_mode == "zeros":
        return ops.pad(x, [(0, 0), *pads, (0, 0)]) if any(map(any, pads)) else x
    for axis, pair in enumerate(pads, start=1):
        if any(pair):
            x = ops.take(x, source_positions(x.shape[axis], pair, settings.padding_mode), axis)
    return x


_CONVOLUTION, _DEPTHWISE, _TRANSPOSED = Formula(convolution), Formula(depthwise), Formula(transposed)

OPERATIONS: Mapping[str, Operation] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONVOLUTION),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), _DEPTHWISE),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _TRANSPOSED),
}
"""By ``Node.operation``."""
