"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from dualml.spec.layers import Attention, Dense, PaddingMask
from dualml.spec.layers.attention import Rotary
from dualml.spec.model import Input
from dualml.testing.cases.base import Case, values

_TOKENS = Input(shape=(3,), dtype="integer")


def _case(name: str, *, mask: bool = False, memory: Any = None, head: bool = False, **settings: Any) -> Case:
    """Attention over three positions of four numbers; with ``memory`` over another input."""
    inputs: dict[str, Any] = {"x": (3, 4)}
    if memory is not None:
        inputs["memory"] = memory
    sources = list(inputs)
    layers: list[Any] = []
    if mask:
        inputs["tokens"] = _TOKENS if memory is None else Input(shape=(memory[0],), dtype="integer")
        layers.append(PaddingMask(name="kept", inputs="tokens"))
        settings["mask"] = "kept"
    layers.append(Attention(inputs=sources, name="attend", **settings))
    if head:
        layers.append(Dense(units=2))
    return Case(name, inputs, layers, integers=2, **values())


CASES: tuple[Case, ...] = (
    Case("attention", (3, 4), [Attention(2), Dense(units=3)]),
    _case("attention-one-head-no-bias", heads=1, bias=False),
    _case("attention-size-units", heads=2, size=3, units=2),
    _case("attention-causal", heads=2, causal=True),
    # Ids of 0 are padding: with ids below 2 some examples have it first, so that with causal some rows read nothing.
    _case("attention-mask", heads=2, mask=True),
    _case("attention-mask-causal", heads=2, mask=True, causal=True),
    _case("attention-grouped", heads=4, kv_heads=2, size=1),
    _case("attention-multi-query-causal", heads=2, kv_heads=1, causal=True),
    _case("attention-cross", heads=2, memory=(2, 3)),
    _case("attention-cross-causal", heads=2, memory=(4, 3), causal=True, bias=False),
    _case("attention-cross-mask", heads=2, memory=(5, 2), mask=True),
    _case("attention-dropout", heads=2, rate=0.4, head=True),
    _case("attention-dropout-all", heads=2, kv_heads=1, rate=0.3, mask=True, causal=True),
    _case("attention-rotary", heads=2, rotary=Rotary(base=10000.0)),
    _case("attention-rotary-interleaved", heads=1, rotary=Rotary(base=7.3, interleaved=True), causal=True),
    _case("attention-rotary-grouped", heads=2, size=4, kv_heads=1, rotary=Rotary(base=11.1)),
)
