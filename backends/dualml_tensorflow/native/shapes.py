"""Keras layers that only move values, and resizing, in the terms of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from dualml_tensorflow.native.stock import Given, Meaning, Reader, channels_first

_L = keras.layers


def axis_setting(axis: int, rank: int) -> int:
    """A setting ``axis`` of an axis of an array of ``rank`` axes; see ``Call.settings``."""
    place = axis % rank
    return place - 1 if place else -rank


def _flatten(given: Given) -> Meaning | None:
    if channels_first(given.layer):
        return None  # its values are transposed first
    return Meaning("flatten", {})


def _reshape(_: Given) -> Meaning | None:
    return Meaning("reshape", {})


def _permute(given: Given) -> Meaning | None:
    return Meaning("permute", {"axes": [0, *given.layer.dims]})


def _pairs(amounts: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """A pair for each axis of what Keras keeps: pairs, or the one pair of a single axis."""
    if rank == 1 and not isinstance(amounts[0], Sequence):
        return ((int(amounts[0]), int(amounts[1])),)
    return tuple((int(before), int(after)) for before, after in amounts)


def _pad(given: Given) -> Meaning | None:
    pairs = _pairs(given.layer.padding, len(given.tensors[0].shape) - 2)
    settings = {"padding": pairs, "padding_mode": "zeros", "value": 0.0}
    return Meaning("pad", settings, channels_first(given.layer), {"padding": "padding"})


def _crop(given: Given) -> Meaning | None:
    pairs = _pairs(given.layer.cropping, len(given.tensors[0].shape) - 2)
    return Meaning("crop", {"cropping": pairs}, channels_first(given.layer), {"cropping": "cropping"})


def _upsample(given: Given) -> Meaning | None:
    layer = given.layer
    interpolation = getattr(layer, "interpolation", "nearest")
    rank = len(given.tensors[0].shape) - 2
    factors = layer.size if isinstance(layer.size, (list, tuple)) else (layer.size,) * rank
    return _resized(interpolation, {"scale": tuple(map(float, factors)), "size": None}, layer)


def _resizing(given: Given) -> Meaning | None:
    layer = given.layer
    if getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False):
        return None
    if getattr(layer, "antialias", False) or len(given.tensors[0].shape) != 4:
        return None
    return _resized(layer.interpolation, {"size": (layer.height, layer.width), "scale": None}, layer)


def _resized(interpolation: str, to: dict[str, Any], layer: Any) -> Meaning | None:
    modes = {"nearest": "nearest", "bilinear": "linear"}
    if interpolation not in modes:
        return None
    settings = {**to, "mode": modes[interpolation], "align_corners": False, "rounding": "half_pixel", "step": "sizes"}
    return Meaning("resize", settings, channels_first(layer), {"mode": "interpolation"})


READERS: Mapping[type, Reader] = {
    _L.Flatten: _flatten,
    _L.Reshape: _reshape,
    _L.Permute: _permute,
    **dict.fromkeys((_L.ZeroPadding1D, _L.ZeroPadding2D, _L.ZeroPadding3D), _pad),
    **dict.fromkeys((_L.Cropping1D, _L.Cropping2D, _L.Cropping3D), _crop),
    **dict.fromkeys((_L.UpSampling1D, _L.UpSampling2D, _L.UpSampling3D), _upsample),
    _L.Resizing: _resizing,
}
