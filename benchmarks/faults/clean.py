"""Pairs that mean the same and must be found equal, with everything in them that must never be called a fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from torch import nn

from benchmarks.faults import equal_keras, equal_torch, wrong_keras
from benchmarks.faults.data import ROWS, Array
from benchmarks.faults.fault import FAMILIES, Case
from benchmarks.faults.parts import Change, instead, setting, subclass, then
from benchmarks.faults.side import FRAMEWORKS, Framework, Side
from benchmarks.faults.tables import optimizers
from benchmarks.faults.tables.layers import ACTIVATION, DROPPED, KINDS
from benchmarks.faults.tables.loop import FROZEN
from benchmarks.faults.tables.losses import REGULARISED
from benchmarks.faults.torch_networks import SplitAttention

Sides = dict[Framework, Side]
NORM_PARTS = {"lenet": ("norm1", "norm2"), "residual": ("stem_norm", "norm1", "norm2", "shortcut_norm")}
HEAD = {"lenet": "fc2", "residual": "fc"}
SEEDS = (0, 1)


def clean_cases() -> list[Case]:
    """Every clean pair, in a fixed order."""
    return [
        *_plain(),
        *_sizes(),
        *_refactored(),
        *_numbers(),
        *_optimizers(),
        *_activations(),
        *_operations(),
    ]


def matched(family: str) -> Side:
    """Keras' side with what PyTorch does that no argument gives: the unbiased running variance."""
    changes: dict[str, Change] = {part: subclass(wrong_keras.UnbiasedVariance) for part in NORM_PARTS.get(family, ())}
    return Side(parts=changes)


def pair(
    name: str,
    family: str,
    frameworks: tuple[Framework, Framework],
    seed: int,
    sides: tuple[Side, Side] = (Side(), Side()),
    *,
    rows: int = ROWS,
    threads: int = 1,
    random: bool = False,
) -> Case:
    """A clean pair; stock Keras layers are made to mean what PyTorch's do where the frameworks differ."""
    made = []
    for framework, side in zip(frameworks, sides, strict=True):
        needed = matched(family) if framework == "keras" and frameworks[0] != frameworks[1] else Side()
        made.append((framework, needed | side))
    direction = "_".join(frameworks)
    return Case(
        f"clean/{family}/{name}/{direction}/{seed}",
        family,
        made[0],
        made[1],
        seed,
        rows=rows,
        threads=threads,
        random=random,
    )


def across(name: str, family: str, sides: Sides, seed: int, **more: Any) -> Case:
    """A clean pair of both frameworks; which one is on the left depends on the seed."""
    order: tuple[Framework, Framework] = ("torch", "keras") if seed % 2 else ("keras", "torch")
    return pair(name, family, order, seed, (sides.get(order[0], Side()), sides.get(order[1], Side())), **more)


def _plain() -> Iterator[Case]:
    for family in FAMILIES:
        for seed in range(10):
            yield across("as_it_is", family, {}, seed, threads=1 + seed % 2)
        for framework in FRAMEWORKS:
            for seed in SEEDS:
                yield pair("as_it_is", family, (framework, framework), seed, threads=1 + seed % 2)


def _sizes() -> Iterator[Case]:
    for family in FAMILIES:
        for rows in (2, 3, 17, 64):
            yield across(f"{rows}_rows", family, {}, rows, rows=rows)


def _refactored() -> Iterator[Case]:
    for family in FAMILIES:
        for framework, table in (("torch", equal_torch.REFACTORED), ("keras", equal_keras.REFACTORED)):
            for name, network in table[family].items():
                one: Framework = "torch" if framework == "torch" else "keras"
                other: Framework = "keras" if framework == "torch" else "torch"
                for seed in SEEDS:
                    written = Side(network=network)
                    yield pair(name, family, (one, one), seed, (Side(), written))
                    yield pair(name, family, (other, one), seed + 2, (Side(), written))
    for kind in (equal_torch.SplitSum, equal_torch.ReversedSum):
        for family, part in (("mlp", "hidden1"), ("lenet", "fc1"), ("transformer", "wide"), ("gru", "head")):
            summed = Side(parts={part: subclass(kind)})
            yield across(f"{kind.__name__}", family, {"torch": summed}, 0)
            yield pair(f"{kind.__name__}", family, ("torch", "torch"), 1, (Side(), summed))
    for seed in SEEDS:
        written_out = Side(parts={"attention": instead(SplitAttention)})
        yield across("attention_written_out", "transformer", {"torch": written_out}, seed)


def _numbers() -> Iterator[Case]:
    """Saturated softmax, tiny gradients, ties, and biases whose gradient is zero."""

    def port(name: str, factor: float) -> Side:
        return Side(port={name: lambda array: factor * array})

    def coarse(array: Array) -> Array:
        return np.round(2 * array) / 2

    for family in FAMILIES:
        head = HEAD.get(family, "head")
        for seed in SEEDS:
            loud = port(f"{head}.kernel", 100.0)
            yield across("saturated_softmax", family, {"torch": loud, "keras": loud}, seed)
            quiet = port(f"{head}.kernel", 1e-7)
            yield across("tiny_gradients", family, {"torch": quiet, "keras": quiet}, seed)
    # Whole numbers as inputs and halves as weights: activations are exactly zero, and maxima equal, in many places.
    tied = {
        "mlp": Side(port={"hidden1.kernel": coarse, "hidden1.bias": np.zeros_like}, inputs=np.round),
        "lenet": Side(
            port={
                "conv1.kernel": coarse,
                "conv1.bias": np.zeros_like,
                "norm1.moving_mean": np.zeros_like,
                "norm1.beta": np.zeros_like,
            },
            inputs=np.round,
        ),
        "transformer": Side(port={"wide.kernel": coarse, "wide.bias": np.zeros_like}),
    }
    for family, side in tied.items():
        for seed in range(4):
            yield across("ties", family, {"torch": side, "keras": side}, seed)
    for seed in range(4):
        biased: Sides = {
            "torch": Side(parts={"conv1": setting(bias=True), "conv2": setting(bias=True)}),
            "keras": Side(parts={"conv1": setting(use_bias=True), "conv2": setting(use_bias=True)}),
        }
        yield across("bias_before_batch_norm", "residual", biased, seed)


def _optimizers() -> Iterator[Case]:
    """Those whose formulas agree across frameworks, and the others within one."""
    for family in FAMILIES:
        for name, sides in (
            ("momentum", optimizers.MOMENTUM.sides()),
            ("nesterov", optimizers.MOMENTUM.sides(nesterov=True)),
            # Without momentum, decay in the gradient and decay of the weights are the same update.
            ("decay_without_momentum", optimizers.SGD.sides(weight_decay=0.1)),
        ):
            for seed in SEEDS:
                yield across(name, family, sides, seed)
    for number, family in enumerate(FAMILIES):
        rules = (optimizers.ADAM, optimizers.ADAMW, optimizers.RMSPROP, optimizers.ADAGRAD)
        for place, rule in enumerate(rules):
            framework = FRAMEWORKS[(number + place) % 2]
            side = rule.sides()[framework]
            yield pair(rule.torch.__name__.lower(), family, (framework, framework), place, (side, side))


def _activations() -> Iterator[Case]:
    for number, (name, (torch_kind, keras_kind)) in enumerate(KINDS.items()):
        for family in (FAMILIES[number % 6], FAMILIES[(number + 3) % 6]):
            part = ACTIVATION[family]
            sides: Sides = {"torch": Side(parts={part: torch_kind}), "keras": Side(parts={part: keras_kind})}
            yield across(f"activation_{name}", family, sides, number)


def _operations() -> Iterator[Case]:
    def both(part: str, torch_kind: Any, keras_kind: Any) -> Sides:
        return {"torch": Side(parts={part: torch_kind}), "keras": Side(parts={part: keras_kind})}

    for family, part in DROPPED.items():
        sides = both(part, instead(nn.Dropout, 0.5), instead(layers.Dropout, 0.5))
        yield across("dropout", family, sides, 0, random=True)
    for seed in SEEDS:
        options: dict[str, tuple[str, ...]] = {"mlp": ("twice",), "transformer": ("pre_norm", "windowed")}
        for family, names in options.items():
            for name in names:
                same = Side(options={name: True})
                yield across(name, family, {"torch": same, "keras": same}, seed)
        for name, torch_kind, keras_kind in (
            (
                "average_without_padding",
                instead(nn.AvgPool2d, 3, 1, padding=1, count_include_pad=False),
                instead(layers.AveragePooling2D, 3, 1, padding="same"),
            ),
            ("pool_leaves_some_out", instead(nn.MaxPool2d, 5), instead(layers.MaxPooling2D, 5)),
            ("nearest", instead(nn.Upsample, scale_factor=2), instead(layers.UpSampling2D, 2)),
            (
                "conv_transpose",
                instead(nn.ConvTranspose2d, 4, 4, 3, padding=1),
                instead(layers.Conv2DTranspose, 4, 3, padding="same"),
            ),
            (
                "depthwise",
                instead(nn.Conv2d, 4, 4, 3, padding=1, groups=4),
                instead(layers.DepthwiseConv2D, 3, padding="same"),
            ),
            ("group_norm", instead(nn.GroupNorm, 2, 4), instead(layers.GroupNormalization, 2, epsilon=1e-5)),
        ):
            yield across(name, "residual", both("extra", torch_kind, keras_kind), seed)

    def untrained(layer: Any) -> None:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)

    def not_trainable(layer: Any) -> None:
        layer.trainable = False

    for number, (family, part) in enumerate(FROZEN.items()):
        yield across(
            "frozen_on_both_sides", family, both(part, then(None, untrained), then(None, not_trainable)), number
        )
        penalised = Side(parts={REGULARISED[family]: setting(kernel_regularizer=keras.regularizers.L2(0.02))})
        yield pair("regularised", family, ("keras", "keras"), number, (penalised, penalised))
