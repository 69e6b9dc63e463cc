"""Embeddings of ids and of positions, and projections tied to one."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Dense, Embedding, Flatten, PositionEmbedding, PositionEncoding, TiedDense
from dualml.spec.model import Input
from dualml.testing.cases.base import Case, values

_IDS = Input(shape=(4,), dtype="integer")
_SENTENCE = Embedding(5, 3, name="words")

CASES: tuple[Case, ...] = (
    Case("embedding", _IDS, [Embedding(5, 3), Dense(units=3)]),
    Case("embedding-padding", _IDS, [Embedding(3, 2, padding_index=0), Dense(units=3)], integers=3),
    Case("embedding-padding-last", _IDS, [Embedding(3, 2, padding_index=2), Flatten(), Dense(units=3)], integers=3),
    Case("embedding-scaled", _IDS, [Embedding(5, 3, scale=True), Dense(units=2)], **values()),
    Case(
        "embedding-scaled-padding",
        Input(shape=(1,), dtype="integer"),
        [Embedding(3, 2, scale=True, padding_index=1), Dense(units=2)],
        integers=3,
        examples=5,
        **values(conventions="keras"),
    ),
    Case("tied-dense", _IDS, [_SENTENCE, Dense(units=3, activation=Tanh()), TiedDense("words")]),
    Case("tied-dense-bias", _IDS, [_SENTENCE, TiedDense("words", bias=True)]),
    Case(
        "tied-dense-padding-scaled",
        _IDS,
        [Embedding(3, 2, scale=True, padding_index=0, name="words"), TiedDense("words", bias=True)],
        integers=3,
    ),
    Case("position-embedding", (3, 2), [PositionEmbedding(), Dense(units=3)]),
    Case("position-embedding-long", _IDS, [_SENTENCE, PositionEmbedding(6), Dense(units=2)], **values()),
    Case("position-encoding", (5, 4), [PositionEncoding(), Dense(units=3)]),
    Case("position-encoding-halves", (5, 6), [PositionEncoding(100.3, placing="halves"), Dense(units=3)]),
)
