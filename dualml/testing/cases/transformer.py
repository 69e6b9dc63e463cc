"""Transformer blocks and their feed-forward layers."""

from __future__ import annotations

from dualml.spec.activations import Gelu, Sigmoid, Silu, Tanh
from dualml.spec.layers import (
    Dense,
    Embedding,
    FeedForward,
    PaddingMask,
    PositionEmbedding,
    Rotary,
    TiedDense,
    TransformerDecoder,
    TransformerEncoder,
)
from dualml.spec.model import Input
from dualml.testing.cases.base import Case, values

_TOKENS = Input(shape=(3,), dtype="integer")

CASES: tuple[Case, ...] = (
    Case("feed-forward", (2, 3), [FeedForward(4, activation=Tanh()), Dense(units=2)]),
    Case("feed-forward-swiglu", (3,), [FeedForward(4, units=2, activation=Silu(), gated=True, bias=False)]),
    Case("feed-forward-gated-dropout", (3,), [FeedForward(5, activation=Sigmoid(), gated=True, rate=0.3)]),
    Case(
        "transformer-encoder", (3, 4), [TransformerEncoder(2, 3, activation=Gelu(), rate=0.0, epsilon=0.1)], **values()
    ),
    Case(
        "transformer-encoder-pre-norm",
        (3, 4),
        [TransformerEncoder(2, 3, activation=Tanh(), norm="pre", causal=True, epsilon=0.1, rate=0.2)],
        **values(conventions="keras"),
    ),
    Case(
        "transformer-encoder-llama",
        (3, 4),
        [
            TransformerEncoder(
                2,
                2,
                activation=Silu(),
                gated=True,
                norm="pre",
                norm_kind="rms_norm",
                bias=False,
                rotary=Rotary(),
                kv_heads=1,
                causal=True,
                rate=0.0,
            )
        ],
        **values(),
    ),
    Case(
        "transformer-encoder-mask",
        _TOKENS,
        [
            PaddingMask(name="kept"),
            Embedding(3, 2, padding_index=0, inputs="input", name="words"),
            PositionEmbedding(),
            TransformerEncoder(1, 3, activation=Tanh(), mask="kept", epsilon=0.1, attention_rate=0.3),
            TiedDense("words"),
        ],
        integers=3,
    ),
    Case(
        "transformer-decoder",
        {"x": (2, 2), "memory": (3, 3), "tokens": _TOKENS},
        [
            PaddingMask(name="kept", inputs="tokens"),
            TransformerDecoder(
                1, 2, activation=Tanh(), memory_mask="kept", inputs=["x", "memory"], rate=0.0, epsilon=0.1
            ),
        ],
        integers=2,
        **values(),
    ),
)
