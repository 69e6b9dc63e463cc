"""The dense layer."""

from __future__ import annotations

from dualml.spec.layers import Dense
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("dense", (4,), [Dense(units=3)]),
    Case("dense-square", (3,), [Dense(units=3)]),
    Case("dense-no-bias", (4,), [Dense(units=3, bias=False)]),
    Case("dense-one-unit", (1,), [Dense(units=1)], **values()),
    Case("dense-over-last-axis", (2, 4), [Dense(units=3)], **values()),
)
