"""Faults of the loss and of regularisers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import torch
from torch import nn

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.data import Array
from benchmarks.faults.fault import FAMILIES, LOSS, Fault
from benchmarks.faults.parts import setting
from benchmarks.faults.side import Side

Sparse = keras.losses.SparseCategoricalCrossentropy


def faults() -> list[Fault]:
    """All of them."""
    return [*_cross_entropy(), *_clipping(), *_regularisers()]


def _loss(make: Any) -> Side:
    return Side(loss=make)


def _cross_entropy() -> Iterator[Fault]:
    weights = [1.0, 2.0, 0.5, 1.0, 3.0]
    for family in FAMILIES:
        torch_sum = _loss(lambda: nn.CrossEntropyLoss(reduction="sum"))
        keras_sum = _loss(lambda: Sparse(from_logits=True, reduction="sum"))
        yield Fault("loss.reduction", family, "sum", (), LOSS, torch_sum, keras_sum, also=("data.last_batch",))
        yield Fault(
            "loss.from_logits",
            family,
            "never_normalised",
            (),
            LOSS,
            _loss(nn.NLLLoss),
            _loss(lambda: Sparse(from_logits=False)),
        )
        yield Fault(
            "loss.class_weights",
            family,
            "weighted",
            (),
            LOSS,
            _loss(lambda: nn.CrossEntropyLoss(weight=torch.tensor(weights))),
            _loss(lambda: wrong_keras.weighted),
        )
        for smoothing in (0.1, 0.01, 1e-4, 1e-6) if family == "mlp" else (0.1,):
            yield Fault(
                "loss.label_smoothing",
                family,
                f"{smoothing:g}",
                (),
                LOSS,
                _loss(lambda smoothing=smoothing: nn.CrossEntropyLoss(label_smoothing=smoothing)),
                _loss(lambda: wrong_keras.smoothed) if smoothing == 0.1 else None,
                magnitude=smoothing,
                curve="loss.label_smoothing",
            )
        yield Fault(
            "loss.ignore_index",
            family,
            "class_0",
            (),
            LOSS,
            _loss(lambda: nn.CrossEntropyLoss(ignore_index=0)),
            _loss(lambda: Sparse(from_logits=True, ignore_class=0)),
        )
    for family in ("mlp", "lenet", "transformer"):
        yield Fault(
            "loss.reduction",
            family,
            "own_function",
            (),
            LOSS,
            _loss(lambda: wrong_torch.over_classes),
            _loss(lambda: wrong_keras.summed),
            also=("data.last_batch",),
        )


def _clipping() -> Iterator[Fault]:
    def confident(array: Array) -> Array:
        return 60.0 * array

    base = {
        "torch": Side(options={"softmax": True}, port={"head.kernel": confident}, loss=lambda: wrong_torch.likelihood),
        "keras": Side(options={"softmax": True}, port={"head.kernel": confident}, loss=lambda: wrong_keras.likelihood),
    }
    yield Fault(
        "loss.clipping",
        "mlp",
        "at_1e-7",
        (),
        LOSS,
        _loss(lambda: wrong_torch.clipped_likelihood),
        _loss(lambda: wrong_keras.clipped_likelihood),
        {"torch": base["torch"], "keras": base["keras"]},
    )


REGULARISED = {
    "mlp": "hidden1",
    "lenet": "fc1",
    "residual": "stem",
    "lstm": "head",
    "gru": "head",
    "transformer": "wide",
}


def _regularisers() -> Iterator[Fault]:
    """PyTorch has no regularisers: both sides are Keras'."""
    for family, part in REGULARISED.items():

        def penalised(factor: float, part: str = part, bias: float | None = None) -> Side:
            changed: dict[str, Any] = {"kernel_regularizer": keras.regularizers.L2(factor)}
            if bias is not None:
                changed["bias_regularizer"] = keras.regularizers.L2(bias)
            return Side(parts={part: setting(**changed)})

        phases = ("loss", "backward")
        base = {"keras": penalised(0.02)}
        for factor in (0.01, 0.0201, 0.020001) if family == "mlp" else (0.01,):
            yield Fault(
                "regulariser.factor",
                family,
                f"{factor:g}",
                (part,),
                phases,
                keras=penalised(factor),
                base={"keras": base["keras"]},
                same=True,
                magnitude=abs(factor / 0.02 - 1),
                curve="regulariser.factor, relative",
            )
        if family != "residual":  # its convolutions have no bias
            yield Fault(
                "regulariser.scope",
                family,
                "bias_as_well",
                (part,),
                phases,
                keras=penalised(0.02, bias=0.02),
                base={"keras": base["keras"]},
                same=True,
            )
