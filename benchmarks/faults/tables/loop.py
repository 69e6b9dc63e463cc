"""Faults of the training loop: clipping, schedules, accumulation, frozen parameters, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import torch

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.fault import FAMILIES, LOSS, UPDATE, Fault
from benchmarks.faults.parts import then
from benchmarks.faults.side import Side

FROZEN = {
    "mlp": "hidden1",
    "lenet": "conv1",
    "residual": "conv2",
    "lstm": "head",
    "gru": "embedding",
    "transformer": "wide",
}


def faults() -> list[Fault]:
    """All of them."""
    return [*_clipping(), *_schedules(), *_accumulation(), *_frozen(), *_batches()]


def _sgd(**settings: Any) -> Side:
    return Side(optimizer=lambda: keras.optimizers.SGD(learning_rate=0.05, **settings))


def _clipping() -> Iterator[Fault]:
    """Clipping is part of the optimizer in Keras only."""
    for family in FAMILIES:
        yield Fault(
            "clipping.scope",
            family,
            "each_for_all",
            (),
            UPDATE,
            keras=_sgd(clipnorm=0.05),
            base={"keras": _sgd(global_clipnorm=0.05)},
            same=True,
        )
        for value in (0.1, 0.0501) if family == "mlp" else (0.1,):
            yield Fault(
                "clipping.value",
                family,
                f"{value:g}",
                (),
                UPDATE,
                keras=_sgd(global_clipnorm=value),
                base={"keras": _sgd(global_clipnorm=0.05)},
                same=True,
                magnitude=abs(value / 0.05 - 1),
                curve="clipping.value, relative",
            )
    yield Fault(
        "clipping.scope",
        "mlp",
        "in_a_subclass",
        (),
        UPDATE,
        torch=Side(optimizer=lambda parameters: wrong_torch.Clipped(parameters, lr=0.05)),
        also=("clipping.value", "unknown"),
    )


def _schedules() -> Iterator[Fault]:
    def falling(start: int) -> Side:
        def make() -> Any:
            schedule = keras.optimizers.schedules.PiecewiseConstantDecay([start], [0.05, 0.005])
            return keras.optimizers.SGD(schedule)

        return Side(optimizer=make)

    def decaying(first: int) -> Side:
        class Offset(keras.optimizers.schedules.ExponentialDecay):  # type: ignore[misc]
            """Begins at another update."""

            def __call__(self, step: Any) -> Any:
                return super().__call__(step + first)

        return Side(optimizer=lambda: keras.optimizers.SGD(Offset(0.05, decay_steps=1, decay_rate=0.5)))

    for family in FAMILIES:
        yield Fault(
            "schedule.offset",
            family,
            "boundary_one_later",
            (),
            UPDATE,
            keras=falling(1),
            base={"keras": falling(0)},
            steps=(2,),
            same=True,
        )
        yield Fault(
            "schedule.offset",
            family,
            "starts_at_1",
            (),
            UPDATE,
            keras=decaying(1),
            base={"keras": decaying(0)},
            same=True,
            also=("optimizer.lr",),
        )


def _accumulation() -> Iterator[Fault]:
    for family in FAMILIES:
        yield Fault(
            "gradients.accumulated",
            family,
            "not_zeroed",
            (),
            UPDATE,
            torch=Side(optimizer=lambda parameters: wrong_torch.Accumulating(parameters, lr=0.05)),
            keras=_sgd(gradient_accumulation_steps=2),
            steps=(1, 2),
        )


def _frozen() -> Iterator[Fault]:
    def untrained(layer: Any) -> None:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)

    def not_trainable(layer: Any) -> None:
        layer.trainable = False

    def without_last(parameters: Any) -> Any:
        return torch.optim.SGD(list(parameters)[:-1], lr=0.05)

    for family, part in FROZEN.items():
        yield Fault(
            "parameters.frozen",
            family,
            part,
            (part,),
            ("init", "backward", "update"),
            torch=Side(parts={part: then(None, untrained)}),
            keras=Side(parts={part: then(None, not_trainable)}),
        )
        yield Fault(
            "parameters.frozen",
            family,
            "forgotten_by_the_optimizer",
            ("head", "fc", "fc2"),
            ("init", "backward", "update"),
            torch=Side(optimizer=without_last),
        )


def _batches() -> Iterator[Fault]:
    for family in FAMILIES:
        yield Fault(
            "data.last_batch",
            family,
            "divided_by_a_full_batch",
            (),
            LOSS,
            Side(loss=lambda: wrong_torch.fixed_count),
            Side(loss=lambda: wrong_keras.fixed_count),
            also=("loss.reduction",),
        )
