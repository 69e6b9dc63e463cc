"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualml.spec.layers import Bidirectional, Gru, Layer, Lstm, PaddingMask, SimpleRnn
from dualml.spec.model import Input
from dualml.testing.cases.base import Case, values

_MASKED = {"tokens": Input(shape=(4,), dtype="integer"), "values": (4, 2)}


def _case(name: str, *layers: Layer, **settings: Any) -> Case:
    return Case(name, (3, 2), layers, **values(**settings))


def _masked(name: str, *layers: Layer, **settings: Any) -> Case:
    """With a mask that has holes: half of the ids are padding."""
    given: Sequence[Layer] = [PaddingMask(name="kept", inputs="tokens"), *layers]
    return Case(name, _MASKED, given, integers=2, **values(**settings))


CASES: tuple[Case, ...] = (
    _case("simple-rnn-torch", SimpleRnn(2)),
    _case("simple-rnn-keras", SimpleRnn(2, return_sequences=True), conventions="keras"),
    _case("simple-rnn-relu", SimpleRnn(2, nonlinearity="relu", return_sequences=True, reverse=True)),
    _case("simple-rnn-no-bias", SimpleRnn(2, bias="none"), conventions="keras"),
    _masked("simple-rnn-masked", SimpleRnn(2, inputs="values", mask="kept", return_sequences=True)),
    _case("lstm-torch", Lstm(2)),
    _case("lstm-torch-sequences", Lstm(2, return_sequences=True)),
    _case("lstm-keras", Lstm(2), conventions="keras"),
    _case("lstm-keras-reverse", Lstm(2, return_sequences=True, reverse=True), conventions="keras"),
    _case("lstm-single-reverse", Lstm(2, bias="single", reverse=True)),
    _case("lstm-no-bias", Lstm(2, bias="none")),
    _case("lstm-stacked", Lstm(2, return_sequences=True), Lstm(1)),
    _masked("lstm-masked-last", Lstm(2, inputs="values", mask="kept")),
    _masked("lstm-masked-zeros", Lstm(2, inputs="values", mask="kept", return_sequences=True)),
    _masked(
        "lstm-masked-previous-reverse",
        Lstm(2, inputs="values", mask="kept", return_sequences=True, reverse=True),
        conventions="keras",
    ),
    _masked(
        "lstm-masked-then-all-steps",
        Lstm(2, inputs="values", mask="kept", return_sequences=True),
        Lstm(1),
        conventions="keras",
    ),
    _masked(
        "lstm-masked-last-zeros", Lstm(2, inputs="values", mask="kept", masked_output="zeros"), conventions="keras"
    ),
    _case("gru-torch", Gru(2, return_sequences=True)),
    _case("gru-keras", Gru(2, return_sequences=True), conventions="keras"),
    _case("gru-keras-reverse", Gru(2, reverse=True), conventions="keras"),
    _case("gru-single", Gru(2, bias="single")),
    _case("gru-no-bias", Gru(2, bias="none")),
    _case("gru-reset-before", Gru(2, reset_after=False, return_sequences=True, reverse=True)),
    _case("gru-reset-before-double", Gru(2, reset_after=False, bias="double")),
    _case("gru-reset-before-no-bias", Gru(2, reset_after=False, bias="none")),
    _masked("gru-masked", Gru(2, inputs="values", mask="kept", return_sequences=True), conventions="keras"),
    _masked("gru-masked-double", Gru(2, inputs="values", mask="kept", reverse=True)),
    _masked("gru-masked-reset-before", Gru(2, inputs="values", mask="kept", reset_after=False)),
    _case("bidirectional-torch", Bidirectional(Lstm(1, return_sequences=True))),
    _case("bidirectional-keras-last", Bidirectional(Gru(1)), conventions="keras"),
    _case("bidirectional-sum", Bidirectional(SimpleRnn(2), merge="sum")),
    _case("bidirectional-multiply", Bidirectional(SimpleRnn(1, return_sequences=True), merge="multiply")),
    _case("bidirectional-average", Bidirectional(SimpleRnn(1), merge="average"), conventions="keras"),
    _masked(
        "bidirectional-masked",
        Bidirectional(Lstm(1, mask="kept", return_sequences=True), inputs="values"),
        conventions="keras",
    ),
)
