"""Layers that make masks."""

from __future__ import annotations

from dualml.spec.layers import Add, Dense, PaddingMask
from dualml.spec.model import Input
from dualml.testing.cases.base import Case, values

_TOKENS = Input(shape=(4,), dtype="integer")

CASES: tuple[Case, ...] = (
    Case("padding-mask", _TOKENS, [PaddingMask(), Dense(units=2)], integers=2, **values()),
    Case("padding-mask-index", _TOKENS, [PaddingMask(2), Dense(units=2)], integers=4, **values()),
    Case(
        "padding-mask-beside-values",
        {"tokens": _TOKENS, "values": (4,)},
        [PaddingMask(name="kept", inputs="tokens"), Add(inputs=["values", "kept"]), Dense(units=2)],
        integers=2,
        **values(),
    ),
)
