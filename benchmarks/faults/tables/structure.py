"""Faults of softmax, the order of operations, and the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import layers

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.data import Array
from benchmarks.faults.fault import FAMILIES, Fault
from benchmarks.faults.parts import instead, setting
from benchmarks.faults.side import Side


def faults() -> list[Fault]:
    """All of them."""
    return [*_softmax(), *_order(), *_inputs()]


def _softmax() -> Iterator[Fault]:
    def likelihood() -> Any:
        return wrong_torch.likelihood

    from_probabilities = Side(options={"softmax": True}, loss=likelihood)
    keras_probabilities = Side(options={"softmax": True}, loss=lambda: wrong_keras.likelihood)
    yield Fault(
        "softmax.axis",
        "mlp",
        "over_the_batch",
        ("softmax",),
        torch=Side(parts={"softmax": setting(dim=0)}),
        keras=Side(parts={"softmax": instead(layers.Softmax, axis=0)}),
        base={"torch": from_probabilities, "keras": keras_probabilities},
    )
    twice = Side(options={"softmax": True})
    yield Fault("softmax.double", "mlp", "softmax_before_logits_loss", ("softmax",), ("forward", "loss"), twice, twice)


def _order() -> Iterator[Fault]:
    late = Side(options={"add_after_relu": True})
    yield Fault("graph.residual_order", "residual", "added_behind_the_relu", ("add", "relu2"), torch=late, keras=late)
    first = Side(options={"pre_norm": True})
    yield Fault(
        "graph.residual_order",
        "transformer",
        "normalised_before",
        ("norm1", "attention"),
        torch=first,
        keras=first,
    )


def _inputs() -> Iterator[Fault]:
    def scaled(inputs: Array) -> Array:
        return (inputs / 255.0).astype(inputs.dtype)

    def shifted(inputs: Array) -> Array:
        return ((inputs - 0.1307) / 0.3081).astype(inputs.dtype)

    def mirrored(inputs: Array) -> Array:
        return np.ascontiguousarray(inputs[..., ::-1])

    def renumbered(inputs: Array) -> Array:
        return (inputs + 1) % 20

    for family in FAMILIES:
        # The order of words in a sequence is what the channels of an image are to a picture.
        ways = [("last_axis_reversed", mirrored)]
        if family in ("lstm", "gru", "transformer"):
            ways.append(("other_vocabulary", renumbered))
        else:
            ways += [("divided_by_255", scaled), ("normalised", shifted)]
        for name, act in ways:
            wrong = Side(inputs=act)
            yield Fault("input.preprocessing", family, name, (), ("input",), wrong, wrong)

        def other_rows(inputs: Array) -> Array:
            return inputs[np.random.default_rng(3).permutation(len(inputs))]

        wrong = Side(inputs=other_rows)
        yield Fault("data.order", family, "rows_shuffled", (), ("input",), wrong, wrong)
