"""Pooling. Random inputs never tie; ties have tests of their own, as a gradient there is a convention."""

from __future__ import annotations

from dualml.spec.layers import Dense
from dualml.spec.layers.pooling import (
    AdaptiveAveragePool1d,
    AdaptiveAveragePool2d,
    AdaptiveAveragePool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AveragePool1d,
    AveragePool2d,
    AveragePool3d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from dualml.testing.cases.base import Case, values

_HEAD = Dense(units=2)

# A scale spreads values so far apart that no step of the central differences changes which of them is the largest.
MAX_CASES: tuple[Case, ...] = (
    Case("max-pool1d", (5, 2), [MaxPool1d(2), _HEAD], **values()),
    Case("max-pool1d-same", (6, 2), [MaxPool1d(3, stride=2, padding="same"), _HEAD], **values()),
    Case("max-pool1d-settings", (7, 1), [MaxPool1d(2, stride=1, padding=1, dilation=2), _HEAD], **values()),
    Case("max-pool1d-ceil", (5, 2), [MaxPool1d(2, ceil_mode=True), _HEAD], **values()),
    Case("max-pool2d", (4, 5, 2), [MaxPool2d(2), _HEAD], **values(scale=12.0)),
    Case("max-pool2d-overlapping", (4, 4, 1), [MaxPool2d((3, 2), stride=1), _HEAD], **values()),
    Case("max-pool2d-symmetric", (4, 4, 1), [MaxPool2d(3, stride=2, padding="symmetric"), _HEAD], **values(scale=12.0)),
    Case("max-pool2d-same", (4, 5, 1), [MaxPool2d(3, stride=2, padding="same"), _HEAD], **values()),
    Case("max-pool2d-sides", (3, 4, 1), [MaxPool2d(3, stride=2, padding=((2, 0), (0, 1))), _HEAD], **values(scale=4.0)),
    Case("max-pool2d-ceil", (5, 4, 1), [MaxPool2d((2, 3), padding=1, ceil_mode=True), _HEAD], **values()),
    Case("max-pool2d-dilated", (5, 4, 1), [MaxPool2d(2, stride=(2, 1), dilation=(3, 2)), _HEAD], **values(scale=4.0)),
    Case("max-pool3d", (2, 4, 3, 1), [MaxPool3d((1, 2, 2)), _HEAD], **values()),
    Case("max-pool3d-same", (2, 3, 3, 1), [MaxPool3d(2, stride=(1, 2, 2), padding="same"), _HEAD], **values()),
)

AVERAGE_CASES: tuple[Case, ...] = (
    Case("average-pool1d", (5, 2), [AveragePool1d(2), _HEAD], **values()),
    Case("average-pool1d-ceil", (5, 2), [AveragePool1d(2, ceil_mode=True), _HEAD], **values()),
    Case("average-pool1d-sides", (4, 2), [AveragePool1d(3, stride=2, padding=((0, 2),)), _HEAD], **values()),
    Case("average-pool2d", (4, 5, 2), [AveragePool2d(2), _HEAD], **values()),
    Case("average-pool2d-counted", (4, 3, 1), [AveragePool2d(3, stride=1, padding=1), _HEAD], **values()),
    Case("average-pool2d-same-counted", (4, 3, 1), [AveragePool2d(3, stride=2, padding="same"), _HEAD], **values()),
    Case(
        "average-pool2d-same",
        (4, 5, 1),
        [AveragePool2d(3, stride=2, padding="same"), _HEAD],
        **values(conventions="keras"),
    ),
    Case(
        "average-pool2d-symmetric",
        (4, 4, 1),
        [AveragePool2d(3, stride=2, padding="symmetric", count_padding=False), _HEAD],
        **values(),
    ),
    Case(
        "average-pool2d-sides",
        (3, 4, 1),
        [AveragePool2d((2, 3), stride=2, padding=((1, 0), (0, 2)), count_padding=False), _HEAD],
        **values(),
    ),
    Case("average-pool2d-ceil", (5, 4, 1), [AveragePool2d((2, 3), padding=1, ceil_mode=True), _HEAD], **values()),
    Case(
        "average-pool2d-ceil-sides",
        (4, 4, 1),
        [AveragePool2d(3, stride=2, padding=((1, 0), (0, 1)), ceil_mode=True), _HEAD],
        **values(),
    ),
    Case("average-pool3d", (2, 4, 3, 1), [AveragePool3d((1, 2, 2)), _HEAD], **values()),
    Case("average-pool3d-same", (2, 3, 3, 1), [AveragePool3d(2, padding="same"), _HEAD], **values(conventions="keras")),
)

REGION_CASES: tuple[Case, ...] = (
    Case("adaptive-average-pool1d", (7, 2), [AdaptiveAveragePool1d(3), _HEAD], **values()),
    Case("adaptive-average-pool1d-more", (3, 2), [AdaptiveAveragePool1d(5), _HEAD], **values()),
    Case("adaptive-average-pool2d", (5, 4, 1), [AdaptiveAveragePool2d((3, 2)), _HEAD], **values()),
    Case("adaptive-average-pool3d", (3, 2, 4, 1), [AdaptiveAveragePool3d((2, 1, 3)), _HEAD], **values()),
    Case("adaptive-max-pool1d", (7, 2), [AdaptiveMaxPool1d(3), _HEAD], **values()),
    Case("adaptive-max-pool2d", (5, 4, 1), [AdaptiveMaxPool2d((3, 2)), _HEAD], **values()),
    Case("adaptive-max-pool3d", (3, 2, 4, 1), [AdaptiveMaxPool3d((2, 1, 3)), _HEAD], **values()),
    Case("global-average-pool", (3, 2, 2), [GlobalAveragePool(), Dense(units=3)]),
    Case("global-average-pool-sequence", (4, 3), [GlobalAveragePool()]),
    Case("global-average-pool-kept", (3, 2, 2), [GlobalAveragePool(keep_axes=True), _HEAD], **values()),
    Case("global-average-pool-many-axes", (2, 2, 1, 3, 2), [GlobalAveragePool(keep_axes=True), _HEAD], **values()),
    Case("global-max-pool", (3, 2, 2), [GlobalMaxPool(), Dense(units=3)]),
    Case(
        "global-max-pool-even",
        (3, 2, 2),
        [GlobalMaxPool(keep_axes=True), _HEAD],
        **values(conventions="keras", scale=2.5),
    ),
    Case("global-max-pool-many-axes", (2, 2, 1, 3, 2), [GlobalMaxPool(), _HEAD], **values(scale=2.0)),
)

CASES: tuple[Case, ...] = (*MAX_CASES, *AVERAGE_CASES, *REGION_CASES)
