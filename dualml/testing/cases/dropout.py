"""Layers that drop values at random."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Dense, Dropout, Residual
from dualml.spec.layers.dropout import AlphaDropout, SpatialDropout, StochasticDepth
from dualml.spec.layers.pooling import MaxPool2d
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
    Case("spatial-dropout1d", (3, 4), [SpatialDropout(rate=0.4), Dense(units=2)], **values()),
    Case("spatial-dropout2d", (4, 4, 3), [MaxPool2d(2), SpatialDropout(rate=0.4), Dense(units=2)], **values()),
    Case("spatial-dropout3d", (2, 1, 2, 3), [SpatialDropout(rate=0.3), Dense(units=2)], **values()),
    Case(
        "stochastic-depth",
        (4,),
        [Residual((Dense(units=4, activation=Tanh()), StochasticDepth(rate=0.4))), Dense(units=3)],
        examples=5,
    ),
    Case("stochastic-depth-image", (4, 4, 2), [MaxPool2d(2), StochasticDepth(rate=0.7), Dense(units=2)], **values()),
    Case("alpha-dropout", (4,), [Dense(units=4), AlphaDropout(rate=0.3), Dense(units=3)]),
    Case("alpha-dropout-image", (4, 4, 2), [MaxPool2d(2), AlphaDropout(rate=0.6), Dense(units=2)], **values()),
)
