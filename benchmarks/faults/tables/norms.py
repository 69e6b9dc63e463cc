"""Faults of batch and layer normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.fault import FORWARD, Fault
from benchmarks.faults.parts import setting, subclass, then
from benchmarks.faults.side import Side

NORMS = {
    "lenet": ("norm1", "norm2"),
    "residual": ("stem_norm", "norm1", "shortcut_norm"),
    "transformer": ("norm1", "norm2"),
}
BATCH_NORMS = {family: NORMS[family] for family in ("lenet", "residual")}
EPSILONS = (1e-3, 1e-4, 1.1e-5, 1.001e-5, 1.00001e-5)
MOMENTA = (0.01, 0.11, 0.1001)


def faults() -> list[Fault]:
    """All of them."""
    return [*_epsilon(), *_momentum(), *_variance(), *_axis(), *_mode()]


def _epsilon() -> Iterator[Fault]:
    for family, parts in NORMS.items():
        for part in parts:
            for epsilon in EPSILONS if part == parts[0] else EPSILONS[:1]:
                yield Fault(
                    "norm.epsilon",
                    family,
                    f"{part}_{epsilon:g}",
                    (part,),
                    torch=Side(parts={part: setting(eps=epsilon)}),
                    keras=Side(parts={part: setting(epsilon=epsilon)}),
                    magnitude=abs(epsilon / 1e-5 - 1),
                    curve="norm.epsilon, relative",
                )
    for family, parts in BATCH_NORMS.items():
        yield Fault(
            "norm.epsilon",
            family,
            "hidden_in_a_subclass",
            parts[:1],
            torch=Side(parts={parts[0]: subclass(wrong_torch.HiddenEpsilon)}),
            keras=Side(parts={parts[0]: subclass(wrong_keras.HiddenEpsilon)}),
        )


def _momentum() -> Iterator[Fault]:
    for family, parts in BATCH_NORMS.items():
        for momentum in MOMENTA:
            yield Fault(
                "norm.momentum",
                family,
                f"{parts[0]}_{momentum:g}",
                parts[:1],
                ("buffers",),
                torch=Side(parts={parts[0]: setting(momentum=momentum)}),
                keras=Side(parts={parts[0]: setting(momentum=1 - momentum)}),
                magnitude=abs(momentum / 0.1 - 1),
                curve="norm.momentum, relative",
            )
        # The mistake everybody makes: the number copied, the meaning reversed.
        yield Fault(
            "norm.momentum",
            family,
            "meaning_reversed",
            parts[-1:],
            ("buffers",),
            torch=Side(parts={parts[-1]: setting(momentum=0.9)}),
            keras=Side(parts={parts[-1]: setting(momentum=0.1)}),
        )


def _variance() -> Iterator[Fault]:
    for family, parts in BATCH_NORMS.items():
        yield Fault("norm.unbiased_variance", family, "stock_layers", (), ("buffers",), Side(), Side(), natural=True)
        yield Fault(
            "norm.unbiased_variance",
            family,
            "in_a_subclass",
            parts[:1],
            ("buffers",),
            torch=Side(parts={parts[0]: subclass(wrong_torch.BiasedVariance)}),
            keras=Side(parts={parts[0]: subclass(wrong_keras.UnbiasedVariance)}),
            same=True,
        )


def _axis() -> Iterator[Fault]:
    # The image is 6 x 6 with 6 channels here, so every axis fits.
    for part in ("norm1", "shortcut_norm"):
        yield Fault(
            "norm.axis",
            "residual",
            part,
            (part,),
            torch=Side(parts={part: subclass(wrong_torch.AcrossRows)}),
            keras=Side(parts={part: setting(axis=1)}),
        )
    yield Fault(
        "norm.axis",
        "transformer",
        "over_positions",
        ("norm1",),
        torch=Side(parts={"norm1": subclass(wrong_torch.AcrossPositions)}),
        keras=Side(parts={"norm1": setting(axis=1)}),
    )


def _mode() -> Iterator[Fault]:
    def untrained(layer: Any) -> None:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)

    def frozen(layer: Any) -> None:
        layer.trainable = False

    for family, parts in BATCH_NORMS.items():
        part = parts[0]
        yield Fault(
            "norm.frozen_mode",
            family,
            "stock_layers",
            (part,),
            FORWARD,
            Side(parts={part: then(None, untrained)}),
            Side(parts={part: then(None, frozen)}),
            natural=True,
        )
        yield Fault(
            "norm.frozen_mode",
            family,
            "in_a_subclass",
            (part,),
            torch=Side(parts={part: subclass(wrong_torch.Frozen)}),
            keras=Side(parts={part: subclass(wrong_keras.Frozen)}),
            also=("mode.train_eval",),
        )
        yield Fault(
            "mode.train_eval",
            family,
            "always_training",
            (part,),
            torch=Side(parts={part: subclass(wrong_torch.AlwaysTraining)}),
            keras=Side(parts={part: subclass(wrong_keras.AlwaysTraining)}),
        )
