"""Layers that drop values at random."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Dense, Dropout
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("dropout", (6,), [Dense(units=5), Dropout(rate=0.3), Dense(units=3)], examples=4),
    Case("dropout-input", (2, 6), [Dropout(rate=0.7), Dense(units=2)], **values()),
    Case("dropout-none", (5,), [Dense(units=4), Dropout(rate=0.0), Dense(units=3)]),
    Case(
        "dropout-twice",
        (5,),
        [Dense(units=6, activation=Tanh()), Dropout(rate=0.1), Dense(units=6), Dropout(rate=0.6), Dense(units=3)],
    ),
)
