"""Layers that only move values."""

from __future__ import annotations

from dualml.spec.layers import Dense, Flatten, Reshape
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("flatten", (2, 3), [Flatten(), Dense(units=3)]),
    Case("flatten-three-axes", (2, 3, 2), [Flatten(), Dense(units=2)], **values()),
    Case("flatten-flat", (4,), [Flatten(), Dense(units=3)]),
    Case("reshape", (2, 6), [Reshape(target=(3, 4)), Dense(units=2), Flatten(), Dense(units=3)]),
    Case("reshape-inferred", (12,), [Reshape(target=(2, -1, 3)), Flatten(), Dense(units=3)]),
)
