"""Settings said in one way, so that equal meanings are equal settings.

Padding becomes amounts, sizes become one number for each axis, and settings that have no effect on inputs of the
shape at hand get one fixed value. What the user's code says stays in the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dualml.spec.layers import Attention, Layer, Recurrent, Reshape, Resize, Select, Shape, Slice
from dualml.spec.layers.convolution import Depthwise, Sliding
from dualml.spec.layers.pooling import AveragePooling, MaxPooling
from dualml.spec.layers.sliding import Pairs
from dualml.spec.layers.transposed import TransposedConvolution

REFERENCE = "other"
"""What settings that name another layer name here; the node's inputs say which it is."""

Changes = dict[str, Any]


def settled(layer: Layer, inputs: tuple[Shape, ...]) -> Layer:
    """The same layer in the one way.

    Args:
        layer: Validated settings.
        inputs: Shapes of one example's inputs.

    Raises:
        ValueError: The settings do not fit the shapes.
    """
    changes: Changes = {}
    for kind, rule in _RULES.items():
        if isinstance(layer, kind):
            changes |= rule(layer, inputs)
    return layer.model_copy(update=changes) if changes else layer


def shaped_to(shape: Shape) -> Reshape:
    """A reshape; also to one number for each example, ``()``, which no config can say."""
    return Reshape(target=shape) if shape else Reshape(target=(1,)).model_copy(update={"target": ()})


def _padding(pairs: Pairs) -> str | Pairs:
    return pairs if any(map(any, pairs)) else "valid"


def _sliding(layer: Sliding, inputs: tuple[Shape, ...]) -> Changes:
    layer.shape(inputs[:1])
    padding = _padding(layer.pads(inputs[0]))
    return {
        "kernel_size": layer.sizes,
        "stride": layer.strides,
        "dilation": layer.dilations,
        "padding": padding,
        "padding_mode": "zeros" if padding == "valid" else layer.padding_mode,
    }


def _depthwise(layer: Depthwise, inputs: tuple[Shape, ...]) -> Changes:  # noqa: ARG001
    return {"fans": "channel"}  # it only matters where weights are drawn


def _transposed(layer: TransposedConvolution, inputs: tuple[Shape, ...]) -> Changes:
    layer.shape(inputs[:1])
    return {
        "kernel_size": layer.sizes,
        "stride": layer.strides,
        "dilation": layer.dilations,
        "padding": _padding(layer.crops),
        "output_padding": layer.extra,
    }


def _pooling(layer: MaxPooling | AveragePooling, inputs: tuple[Shape, ...]) -> Changes:
    windows = layer.windows(inputs[0])
    changes: Changes = {
        "size": windows.sizes,
        "stride": windows.strides,
        "padding": _padding(windows.pads),
        "ceil_mode": layer.ceil_mode and any(windows.overhangs),
    }
    if isinstance(layer, MaxPooling):
        return {**changes, "dilation": windows.dilations}
    return {**changes, "count_padding": layer.count_padding if any(map(any, windows.pads)) else False}


def _attention(layer: Attention, inputs: tuple[Shape, ...]) -> Changes:
    _, units = layer.shape(inputs)
    return {
        "size": layer.head_size(inputs),
        "kv_heads": layer.key_heads,
        "units": units,
        "mask": None if layer.mask is None else REFERENCE,
    }


def _recurrent(layer: Recurrent, inputs: tuple[Shape, ...]) -> Changes:  # noqa: ARG001
    if layer.mask is None:
        return {"masked_output": "zeros"}
    return {"mask": REFERENCE} if layer.return_sequences else {"mask": REFERENCE, "masked_output": "zeros"}


def _resize(layer: Resize, inputs: tuple[Shape, ...]) -> Changes:
    sizes = layer.shape(inputs[:1])[:-1]
    changes: Changes = {} if layer.mode == "nearest" else {"rounding": "half_pixel"}
    if layer.scale is not None and layer.step == "scale":
        factors = layer.scale if isinstance(layer.scale, tuple) else (layer.scale,) * len(sizes)
        if any(size != factor * whole for size, factor, whole in zip(sizes, factors, inputs[0], strict=False)):
            return changes
    return {**changes, "size": sizes, "scale": None, "step": "sizes"}


def _slice(layer: Slice, inputs: tuple[Shape, ...]) -> Changes:
    layer.shape(inputs)
    positions = layer.positions(inputs[0])
    return {
        "start": positions[0],
        "stop": positions[-1] + 1,
        "step": positions.step if len(positions) > 1 else 1,
    }


def said_position(position: int, size: int) -> int:
    """How a position of an axis is said: the last one as -1."""
    return -1 if position == size - 1 else position


def _select(layer: Select, inputs: tuple[Shape, ...]) -> Changes:
    before, after = inputs[0], layer.shape(inputs)
    position = layer.position(before)
    whole = before[layer.axis % len(before)]
    assert len(after) == len(before) - 1
    return {"index": said_position(position, whole)}


_RULES: Mapping[type[Layer], Callable[[Any, tuple[Shape, ...]], Changes]] = {
    Sliding: _sliding,
    Depthwise: _depthwise,
    TransposedConvolution: _transposed,
    MaxPooling: _pooling,
    AveragePooling: _pooling,
    Attention: _attention,
    Recurrent: _recurrent,
    Resize: _resize,
    Slice: _slice,
    Select: _select,
}
"""What each family's settings become."""
