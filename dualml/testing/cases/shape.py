"""Layers that only move values."""

from __future__ import annotations

from dualml.spec.layers import Dense, Flatten, Reshape
from dualml.spec.layers.pooling import MaxPool2d
from dualml.spec.layers.resize import Resize
from dualml.spec.layers.shape import Crop, Pad, Permute, Select, Slice
from dualml.testing.cases.base import Case, values

_HEAD = Dense(units=2)

_PLAIN: tuple[Case, ...] = (
    Case("flatten", (2, 3), [Flatten(), Dense(units=3)]),
    Case("flatten-three-axes", (2, 3, 2), [Flatten(), Dense(units=2)], **values()),
    Case("flatten-flat", (4,), [Flatten(), Dense(units=3)]),
    Case("reshape", (2, 6), [Reshape(target=(3, 4)), Dense(units=2), Flatten(), Dense(units=3)]),
    Case("reshape-inferred", (12,), [Reshape(target=(2, -1, 3)), Flatten(), Dense(units=3)]),
    Case("flatten-channels-first", (2, 3, 2), [Flatten("channels_first"), Dense(units=3)]),
    Case("flatten-channels-first-sequence", (3, 2), [Flatten("channels_first"), Dense(units=3)]),
    Case("flatten-behind-pooling", (4, 5, 2), [MaxPool2d(2), Flatten(), Dense(units=3)], examples=2, scale=5.0),
    Case("flatten-channels-first-behind-pooling", (4, 5, 2), [MaxPool2d(2), Flatten("channels_first"), Dense(units=3)]),
    Case("permute", (2, 3, 4), [Permute((2, 0, 1)), _HEAD], **values()),
    Case("permute-behind-pooling", (4, 5, 2), [MaxPool2d(2), Permute((1, 2, 0)), _HEAD], **values(scale=16.0)),
    Case("slice", (5, 3), [Slice(1, 4), _HEAD], **values()),
    Case("slice-channels", (2, 5), [Slice(-4, step=2, axis=-1), _HEAD], **values()),
    Case("slice-behind-pooling", (4, 5, 4), [MaxPool2d(2), Slice(1, 3, axis=2), Slice(1, axis=1), _HEAD], **values()),
    Case("select-last", (4, 3), [Select(-1), Dense(units=3)]),
    Case("select-channel", (3, 4), [Select(1, axis=1), Dense(units=3)]),
    Case("select-behind-pooling", (4, 5, 3), [MaxPool2d(2), Select(0, axis=1), _HEAD], **values()),
    Case("select-channel-of-pooled", (4, 5, 3), [MaxPool2d(2), Select(2, axis=-1), _HEAD], **values()),
)

PAD_CASES: tuple[Case, ...] = (
    Case("pad1d", (3, 2), [Pad(2), _HEAD], **values()),
    Case("pad2d", (2, 3, 2), [Pad(((1, 0), (2, 3))), _HEAD], **values()),
    Case("pad3d-value", (2, 1, 2, 1), [Pad((1, 0, (0, 1)), value=0.3), _HEAD], **values()),
    Case("pad1d-reflect", (4, 1), [Pad(((1, 3),), padding_mode="reflect"), _HEAD], **values()),
    Case("pad2d-reflect", (3, 4, 1), [Pad((1, (0, 2)), padding_mode="reflect"), _HEAD], **values()),
    Case("pad2d-replicate", (2, 3, 1), [Pad(((3, 1), 2)), Pad(2, padding_mode="replicate"), _HEAD], **values()),
    Case("pad2d-circular", (2, 3, 1), [Pad(((2, 1), 1), padding_mode="circular"), _HEAD], **values()),
    Case("crop1d", (4, 2), [Crop(((1, 0),)), _HEAD], **values()),
    Case("crop2d", (4, 5, 2), [Crop(((1, 0), (0, 3))), _HEAD], **values()),
    Case("crop3d", (3, 3, 4, 1), [Crop((1, 0, (2, 1))), _HEAD], **values()),
)

RESIZE_CASES: tuple[Case, ...] = (
    Case("resize1d-twice", (3, 2), [Resize(scale=2), _HEAD], **values()),
    Case("resize2d-twice", (2, 3, 1), [Resize(scale=(2, 3)), _HEAD], **values(conventions="keras")),
    Case("resize3d-twice", (2, 1, 2, 1), [Resize(scale=2), _HEAD], **values()),
    Case("resize2d-floor", (4, 3, 1), [Resize((3, 5)), _HEAD], **values()),
    Case("resize2d-half-pixel", (4, 3, 1), [Resize((3, 5)), _HEAD], **values(conventions="keras")),
    Case("resize1d-scale", (7, 1), [Resize(scale=1.5), _HEAD], **values()),
    Case("resize1d-scale-of-sizes", (7, 1), [Resize(scale=1.5, step="sizes"), _HEAD], **values()),
    Case("resize1d-linear", (4, 2), [Resize(7, mode="linear"), _HEAD], **values()),
    Case("resize2d-linear", (3, 4, 1), [Resize((5, 3), mode="linear"), _HEAD], **values()),
    Case("resize2d-linear-corners", (3, 4, 1), [Resize((5, 7), mode="linear", align_corners=True), _HEAD], **values()),
    Case("resize1d-linear-corners-one", (3, 2), [Resize(1, mode="linear", align_corners=True), _HEAD], **values()),
    Case("resize1d-linear-scale", (7, 1), [Resize(scale=1.5, mode="linear"), _HEAD], **values()),
    Case(
        "resize1d-linear-scale-of-sizes",
        (7, 1),
        [Resize(scale=1.5, mode="linear"), _HEAD],
        **values(conventions="keras"),
    ),
    Case("resize3d-linear", (2, 2, 3, 1), [Resize((3, 1, 2), mode="linear"), _HEAD], **values()),
)

CASES: tuple[Case, ...] = (*_PLAIN, *PAD_CASES, *RESIZE_CASES)
