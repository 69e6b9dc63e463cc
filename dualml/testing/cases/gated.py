"""Gates."""

from __future__ import annotations

from dualml.spec.activations import HardSigmoid, Silu
from dualml.spec.layers import Dense
from dualml.spec.layers.gated import Glu, Prelu, SqueezeExcite
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("glu", (4,), [Dense(units=6), Glu()]),
    Case("glu-sequence", (3, 4), [Glu(), Dense(units=2)], **values()),
    Case("glu-image", (2, 3, 4), [Glu(), Dense(units=2)], **values()),
    Case("glu-axis", (2, 3), [Glu(axis=0), Dense(units=2)], **values()),
    Case("prelu", (3, 4), [Prelu(), Dense(units=2)], **values(scale=2.0)),
    Case("prelu-channels", (2, 3, 2), [Prelu("channels"), Dense(units=2)], **values()),
    Case("prelu-channels-sequence", (3, 2), [Prelu("channels")], **values()),
    Case("prelu-channels-flat", (4,), [Prelu("channels"), Dense(units=3)]),
    Case("prelu-values", (2, 2, 3), [Prelu(), Dense(units=2)], **values(conventions="keras")),
    Case("squeeze-excite", (2, 3, 4), [SqueezeExcite(ratio=2), Dense(units=2)], **values()),
    Case(
        "squeeze-excite-settings",
        (3, 2),
        [Dense(units=3), SqueezeExcite(units=2, activation=Silu(), gate=HardSigmoid())],
        **values(),
    ),
)
