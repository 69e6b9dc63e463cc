"""Stock Keras layers in the terms of the spec: dense, convolutions, norms, activations, dropout, merges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml_tensorflow.native import activations, sequences, shapes, windows
from dualml_tensorflow.native.stock import Given, Meaning, Reader, channels_first

_L = keras.layers


def _dense(given: Given) -> Meaning | None:
    layer = given.layer
    if layer.quantization_mode or layer.lora_enabled:
        return None
    settings = {"units": layer.units, "bias": layer.use_bias}
    return Meaning("dense", settings, said={"bias": "use_bias"}, fused="activation")


def _at_each_step(given: Given) -> Meaning | None:
    """``TimeDistributed`` of a dense layer is the dense layer, which acts on the last axis anyway."""
    inner = given.layer.layer
    if type(inner) is not _L.Dense or inner.activation is not keras.activations.linear or inner.quantization_mode:
        return None
    return Meaning("dense", {"units": inner.units, "bias": inner.use_bias})


def _activation(given: Given) -> Meaning | None:
    layer = given.layer
    kind = next(base for base in type(layer).__mro__ if base in activations.LAYERS)
    function = activations.LAYERS[kind](layer)
    if function is None or given.argument("mask") is not None:
        return None
    return Meaning("activation", {"function": function}, said=activations.UNSAID.get(kind, {}))


def _prelu(given: Given) -> Meaning | None:
    layer = given.layer
    shape = tuple(layer.alpha.shape)
    rank = len(shape)
    if rank == 1 or all(size > 1 for size in shape):
        slopes = "channels" if rank == 1 else "values"
        return Meaning("prelu", {"slopes": slopes}, False, said={"slopes": "shared_axes"})
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if wide in ([], [rank - 1]):
        return Meaning("prelu", {"slopes": "channels" if wide else "one"}, False)
    return Meaning("prelu", {"slopes": "channels"}, True) if wide == [0] else None


def _axes(layer: Any, rank: int) -> list[int]:
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return sorted(axis % rank for axis in axes)


def _channel_axis(layer: Any, rank: int) -> bool | None:
    """Whether the one axis of a norm is the one behind the batch rather than the last; ``None``: neither."""
    axes = _axes(layer, rank)
    if axes == [rank - 1]:
        return False
    return True if axes == [1] else None


def _batch_norm(given: Given) -> Meaning | None:
    layer = given.layer
    first = _channel_axis(layer, len(given.tensors[0].shape))
    if first is None or given.argument("mask") is not None or given.mask_of(given.tensors[0]) is not None:
        return None
    settings = {
        "epsilon": float(layer.epsilon),
        "momentum": float(layer.momentum),
        "variance": "biased",
        "scale": layer.scale,
        "offset": layer.center,
        "frozen": not layer.trainable,
    }
    said = {"epsilon": "epsilon", "momentum": "momentum", "scale": "scale", "offset": "center"}
    return Meaning("batch_norm", settings, first, said)


def _last_axes(given: Given) -> int | None:
    """Over how many of the last axes a norm goes; ``None`` if over others."""
    rank = len(given.tensors[0].shape)
    axes = _axes(given.layer, rank)
    return len(axes) if axes == list(range(rank - len(axes), rank)) else None


def _layer_norm(given: Given) -> Meaning | None:
    layer = given.layer
    axes = _last_axes(given)
    if axes is None or getattr(layer, "rms_scaling", False):
        return None
    settings = {"axes": axes, "epsilon": float(layer.epsilon), "scale": layer.scale, "offset": layer.center}
    said = {"axes": "axis", "epsilon": "epsilon", "scale": "scale", "offset": "center"}
    return Meaning("layer_norm", settings, False, said)


def _rms_norm(given: Given) -> Meaning | None:
    axes = _last_axes(given)
    if axes is None:
        return None
    settings = {"axes": axes, "epsilon": float(given.layer.epsilon), "scale": True}
    return Meaning("rms_norm", settings, False, {"axes": "axis", "epsilon": "epsilon"})


def _group_norm(given: Given) -> Meaning | None:
    layer, shape = given.layer, given.tensors[0].shape
    first = _channel_axis(layer, len(shape))
    if first is None:
        return None
    channels = shape[1 if first else -1]
    groups = channels if layer.groups == -1 else layer.groups
    settings = {"epsilon": float(layer.epsilon), "scale": layer.scale, "offset": layer.center}
    said = {"epsilon": "epsilon", "scale": "scale", "offset": "center"}
    if groups == channels:
        return Meaning("instance_norm", settings, first, said)
    return Meaning("group_norm", {"groups": groups, **settings}, first, {"groups": "groups", **said})


def _dropout(given: Given) -> Meaning | None:
    layer = given.layer
    shape = layer.noise_shape
    if shape is None:
        return Meaning("dropout", {"rate": float(layer.rate)}, random=True)
    if all(size == 1 for size in shape[1:]) and shape[0] != 1:
        return Meaning("stochastic_depth", {"rate": float(layer.rate)}, random=True)
    return None


def _spatial_dropout(given: Given) -> Meaning | None:
    first = channels_first(given.layer)
    return Meaning("spatial_dropout", {"rate": float(given.layer.rate)}, first, random=True)


def _alpha_dropout(given: Given) -> Meaning | None:
    if given.layer.noise_shape is not None:
        return None
    return Meaning("alpha_dropout", {"rate": float(given.layer.rate)}, random=True)


def _merge(kind: str, **settings: Any) -> Reader:
    def read(given: Given) -> Meaning | None:
        tensors = given.tensors
        alike = len({tuple(tensor.shape) for tensor in tensors}) == 1
        return Meaning(kind, settings) if len(tensors) > 1 and (alike or kind == "multiply") else None

    return read


def _concat(given: Given) -> Meaning | None:
    rank = len(given.tensors[0].shape)
    return Meaning("concat", {"axis": shapes.axis_setting(given.layer.axis, rank)}, said={"axis": "axis"})


READERS: Mapping[type, Reader] = {
    _L.Dense: _dense,
    _L.TimeDistributed: _at_each_step,
    **dict.fromkeys(activations.LAYERS, _activation),
    _L.PReLU: _prelu,
    _L.BatchNormalization: _batch_norm,
    _L.LayerNormalization: _layer_norm,
    _L.RMSNormalization: _rms_norm,
    _L.GroupNormalization: _group_norm,
    _L.Dropout: _dropout,
    **dict.fromkeys((_L.SpatialDropout1D, _L.SpatialDropout2D, _L.SpatialDropout3D), _spatial_dropout),
    _L.AlphaDropout: _alpha_dropout,
    _L.Add: _merge("add"),
    _L.Subtract: _merge("subtract"),
    _L.Multiply: _merge("multiply"),
    _L.Average: _merge("average"),
    _L.Maximum: _merge("maximum", ties="first"),
    _L.Minimum: _merge("minimum", ties="first"),
    _L.Concatenate: _concat,
    **windows.READERS,
    **shapes.READERS,
    **sequences.READERS,
}
"""For each stock layer what it means."""
