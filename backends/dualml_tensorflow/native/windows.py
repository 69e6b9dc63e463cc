"""Convolutions and pooling of Keras in the terms of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml_tensorflow.native.stock import Given, Meaning, Reader, channels_first

_L = keras.layers

_SLIDING = {"stride": "strides", "dilation": "dilation_rate", "padding": "padding", "bias": "use_bias"}


def _sliding(layer: Any) -> dict[str, Any]:
    """Settings that all windows with weights have."""
    return {
        "kernel_size": tuple(layer.kernel_size),
        "stride": tuple(layer.strides),
        "dilation": tuple(layer.dilation_rate),
        "bias": layer.use_bias,
    }


def _convolution(given: Given) -> Meaning | None:
    layer = given.layer
    settings = {"filters": layer.filters, **_sliding(layer), "padding": layer.padding, "padding_mode": "zeros"}
    settings["groups"] = layer.groups
    said = {**_SLIDING, "groups": "groups"}
    return Meaning(f"conv{layer.rank}d", settings, channels_first(layer), said, fused="activation")


def _depthwise(given: Given) -> Meaning | None:
    layer = given.layer
    settings = {**_sliding(layer), "padding": layer.padding, "padding_mode": "zeros"}
    settings |= {"multiplier": layer.depth_multiplier, "fans": "kernel"}
    said = {**_SLIDING, "multiplier": "depth_multiplier"}
    return Meaning(f"depthwise_conv{layer.rank}d", settings, channels_first(layer), said, fused="activation")


def _transposed(given: Given) -> Meaning | None:
    """``same`` and ``output_padding`` in Keras' meaning, as amounts where the spec's words mean something else.

    TensorFlow crops as the convolution pads that goes from the output to the input.
    """
    layer = given.layer
    first = channels_first(layer)
    shape = tuple(given.tensors[0].shape)
    output = tuple(layer.compute_output_shape(shape))
    sizes, wanted = (shape[2:], output[2:]) if first else (shape[1:-1], output[1:-1])
    settings = {"filters": layer.filters, **_sliding(layer), "groups": 1}
    if layer.output_padding is None:
        settings |= {"padding": layer.padding, "output_padding": "fill"}
    else:
        steps = zip(sizes, wanted, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
        crops, extra = [], []
        for n, o, k, stride, dilation in steps:
            full = (n - 1) * stride + dilation * (k - 1) + 1
            before = max(full - o, 0) // 2 if layer.padding == "same" else 0
            after = full - before - o
            crops.append((before, max(after, 0)))
            extra.append(max(-after, 0))
        settings |= {"padding": tuple(crops), "output_padding": tuple(extra)}
    said = {**_SLIDING, "output_padding": "output_padding"}
    return Meaning(f"conv_transpose{layer.rank}d", settings, first, said, fused="activation")


def _pool(kind: str) -> Reader:
    def read(given: Given) -> Meaning | None:
        layer = given.layer
        rank = len(given.tensors[0].shape) - 2
        settings: dict[str, Any] = {
            "size": tuple(layer.pool_size),
            "stride": tuple(layer.strides),
            "padding": layer.padding,
            "ceil_mode": False,
        }
        settings |= {"dilation": 1} if kind == "max" else {"count_padding": False}
        said = {"stride": "strides", "padding": "padding"}
        return Meaning(f"{kind}_pool{rank}d", settings, channels_first(layer), said)

    return read


def _adaptive(kind: str) -> Reader:
    def read(given: Given) -> Meaning | None:
        layer = given.layer
        rank = len(given.tensors[0].shape) - 2
        size = layer.output_size
        settings = {"size": tuple(size) if isinstance(size, (list, tuple)) else (size,) * rank}
        return Meaning(f"adaptive_{kind}_pool{rank}d", settings, channels_first(layer))

    return read


def _global(kind: str) -> Reader:
    def read(given: Given) -> Meaning | None:
        layer = given.layer
        if given.argument("mask") is not None or (
            layer.supports_masking and given.mask_of(given.tensors[0]) is not None
        ):
            return None
        settings: dict[str, Any] = {"keep_axes": layer.keepdims}
        settings |= {"ties": "even"} if kind == "max" else {}
        return Meaning(f"global_{kind}_pool", settings, channels_first(layer), {"keep_axes": "keepdims"})

    return read


def _layers(name: str, *ranks: int) -> tuple[type, ...]:
    return tuple(getattr(_L, f"{name}{rank}D") for rank in ranks if hasattr(_L, f"{name}{rank}D"))


READERS: Mapping[type, Reader] = {
    **dict.fromkeys(_layers("Conv", 1, 2, 3), _convolution),
    **dict.fromkeys(_layers("DepthwiseConv", 1, 2), _depthwise),
    _L.Conv1DTranspose: _transposed,
    _L.Conv2DTranspose: _transposed,
    **dict.fromkeys(_layers("MaxPooling", 1, 2, 3), _pool("max")),
    **dict.fromkeys(_layers("AveragePooling", 1, 2, 3), _pool("average")),
    **dict.fromkeys(_layers("AdaptiveAveragePooling", 1, 2, 3), _adaptive("average")),
    **dict.fromkeys(_layers("AdaptiveMaxPooling", 1, 2, 3), _adaptive("max")),
    **dict.fromkeys(_layers("GlobalAveragePooling", 1, 2, 3), _global("average")),
    **dict.fromkeys(_layers("GlobalMaxPooling", 1, 2, 3), _global("max")),
}
