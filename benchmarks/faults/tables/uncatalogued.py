"""Faults that no cause id stands for: they must end as ``unknown``, at the right place."""

from __future__ import annotations

from typing import Any

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.fault import FORWARD, LOSS, UPDATE, Fault
from benchmarks.faults.parts import setting, subclass
from benchmarks.faults.side import Side


def faults() -> list[Fault]:
    """All of them."""

    def made(family: str, name: str, part: str, torch: Any, keras: Any, phases: tuple[str, ...] = FORWARD) -> Fault:
        return Fault(
            "unknown",
            family,
            name,
            (part,),
            phases,
            Side(parts={part: subclass(torch)}) if torch else None,
            Side(parts={part: subclass(keras)}) if keras else None,
        )

    torch_, keras_ = wrong_torch, wrong_keras
    return [
        made("mlp", "divided_by_more", "act1", torch_.DivideByMore, keras_.DivideByMore),
        made("residual", "divided_by_more", "relu2", torch_.DivideByMore, keras_.DivideByMore),
        made("mlp", "dense_too_loud", "hidden2", torch_.Louder, keras_.Louder),
        made("transformer", "dense_too_loud", "narrow", torch_.Louder, keras_.Louder),
        made("lenet", "channel_lost", "conv2", torch_.LosesLast, keras_.LosesLast),
        made("lenet", "output_rolled", "conv1", torch_.Rotated, None),
        made("lenet", "half_the_gradient", "relu3", torch_.HalfTransparent, keras_.HalfTransparent, ("backward",)),
        made("transformer", "half_the_gradient", "act", torch_.HalfTransparent, keras_.HalfTransparent, ("backward",)),
        made("transformer", "mean_deviation", "norm2", torch_.MeanDeviation, None),
        made("transformer", "mean_over_one_more", "mean", None, keras_.Shifted),
        made("lstm", "embedding_quantised", "embedding", torch_.Quantised, None),
        made("gru", "first_position_left_out", "rnn", torch_.ForgetsFirst, keras_.ForgetsFirst),
        made("residual", "shortcut_scaled", "add", None, keras_.ScaledAdd),
        Fault(
            "unknown",
            "mlp",
            "losses_squared",
            (),
            LOSS,
            Side(loss=lambda: torch_.squared_losses),
            Side(loss=lambda: keras_.squared_losses),
        ),
        Fault("unknown", "lstm", "entropy_added", (), LOSS, Side(loss=lambda: torch_.negative_entropy_added)),
        *(
            Fault(
                "unknown",
                family,
                "one_sided_update",
                (),
                UPDATE,
                Side(optimizer=lambda parameters: torch_.OneSided(parameters, lr=0.05)),
                Side(optimizer=lambda: keras_.OneSided(0.05)),
            )
            for family in ("mlp", "gru")
        ),
        Fault(
            "unknown",
            "lenet",
            "dilated",
            ("conv1",),
            torch=Side(parts={"conv1": setting(dilation=2, padding=2)}),
            keras=Side(parts={"conv1": setting(dilation_rate=2)}),
        ),
    ]
