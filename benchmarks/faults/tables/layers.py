"""Faults of padding, pooling, activations, softmax, dropout, resizing, recurrent layers and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
from keras import layers
from torch import nn

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.fault import Fault
from benchmarks.faults.parts import instead, setting, subclass, then
from benchmarks.faults.side import Framework, Side
from benchmarks.faults.torch_networks import EMBEDDED, SplitAttention


def faults() -> list[Fault]:
    """All of them."""
    return [*_padding(), *_pooling(), *_activations(), *_dropout(), *_resize(), *_recurrent(), *_attention()]


ACTIVATION = {
    "mlp": "act1",
    "lenet": "relu3",
    "residual": "relu1",
    "lstm": "act",
    "gru": "act",
    "transformer": "act",
}
"""In each family an activation, or a place for one."""


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _both(part: str, torch: Any, keras_: Any) -> dict[Framework, Side]:
    return {"torch": Side(parts={part: torch}), "keras": Side(parts={part: keras_})}


def _padding() -> Iterator[Fault]:
    yield Fault(
        "padding.same_stride",
        "residual",
        "conv1",
        ("conv1", "pad1"),
        torch=Side(parts={"conv1": subclass(wrong_torch.SamePadded)}),
        keras=Side(parts={"pad1": _nothing, "conv1": setting(padding="same")}),
    )
    for family, part in (("lenet", "conv1"), ("residual", "stem"), ("residual", "conv2")):
        for mode in ("reflect", "circular", "replicate"):
            yield Fault(
                "padding.mode",
                family,
                f"{part}_{mode}",
                (part,),
                torch=Side(parts={part: setting(padding_mode=mode)}),
                keras=Side(parts={part: subclass(wrong_keras.Reflecting)}) if mode == "reflect" else None,
            )


def _pooling() -> Iterator[Fault]:
    for family in ("lenet", "residual"):
        yield Fault(
            "pool.count_padding",
            family,
            "average_3",
            ("extra",),
            torch=Side(parts={"extra": instead(nn.AvgPool2d, 3, 1, padding=1)}),
            base=_both(
                "extra",
                instead(nn.AvgPool2d, 3, 1, padding=1, count_include_pad=False),
                instead(layers.AveragePooling2D, 3, 1, padding="same"),
            ),
        )
    for name, torch_pool, keras_pool in (
        ("maximum", nn.MaxPool2d, layers.MaxPooling2D),
        ("average", nn.AvgPool2d, layers.AveragePooling2D),
    ):
        yield Fault(
            "pool.ceil_mode",
            "residual",
            name,
            ("extra",),
            torch=Side(parts={"extra": instead(torch_pool, 5, ceil_mode=True)}),
            base=_both("extra", instead(torch_pool, 5), instead(keras_pool, 5)),
        )


Pair = tuple[Any, Any]
GELU: Pair = (instead(nn.GELU), instead(layers.Activation, "gelu"))
GELU_TANH: Pair = (
    instead(nn.GELU, approximate="tanh"),
    instead(layers.Activation, partial(keras.activations.gelu, approximate=True)),
)
HARD_SIGMOID: Pair = (instead(nn.Hardsigmoid), instead(layers.Activation, "hard_sigmoid"))
KINDS: dict[str, Pair] = {
    "relu": (instead(nn.ReLU), instead(layers.ReLU)),
    "silu": (instead(nn.SiLU), instead(layers.Activation, "silu")),
    "tanh": (instead(nn.Tanh), instead(layers.Activation, "tanh")),
    "sigmoid": (instead(nn.Sigmoid), instead(layers.Activation, "sigmoid")),
    "softplus": (instead(nn.Softplus), instead(layers.Activation, "softplus")),
    "softsign": (instead(nn.Softsign), instead(layers.Activation, "softsign")),
    "selu": (instead(nn.SELU), instead(layers.Activation, "selu")),
    "mish": (instead(nn.Mish), instead(layers.Activation, "mish")),
}
MISTAKEN = {
    "mlp": ("silu", "mish"),
    "lenet": ("relu", "softplus"),
    "residual": ("relu", "selu"),
    "lstm": ("tanh", "softsign"),
    "gru": ("sigmoid", "tanh"),
    "transformer": ("relu", "silu"),
}


def _swap(cause: str, family: str, name: str, right: Pair, wrong: Pair, **more: Any) -> Fault:
    part = ACTIVATION[family]
    return Fault(
        cause,
        family,
        name,
        (part,),
        torch=Side(parts={part: wrong[0]}) if wrong[0] else None,
        keras=Side(parts={part: wrong[1]}) if wrong[1] else None,
        base=_both(part, *right),
        **more,
    )


def _activations() -> Iterator[Fault]:
    def slope(value: float) -> Pair:
        return instead(nn.LeakyReLU, value), instead(layers.LeakyReLU, negative_slope=value)

    def alpha(value: float) -> Pair:
        return instead(nn.ELU, alpha=value), instead(layers.ELU, alpha=value)

    curve: tuple[tuple[str, Callable[[float], Pair], float, tuple[float, ...]], ...] = (
        ("activation.slope", slope, 0.25, (0.01, 0.3, 0.26, 0.2501, 0.250001)),
        ("activation.alpha", alpha, 1.0, (0.5, 1.1, 1.01, 1.0001, 1.000001)),
    )
    for family in ACTIVATION:
        # Keras' exact GELU and LeakyReLU take constants in float32 (5e-9 in float64): GELU within one framework.
        yield _swap("activation.gelu_approximation", family, "tanh", GELU, GELU_TANH, same=True)
        for cause, make, right, wrongs in curve:
            for wrong in wrongs if family in ("mlp", "transformer") else wrongs[:2]:
                yield _swap(
                    cause,
                    family,
                    f"{wrong:g}",
                    make(right),
                    make(wrong),
                    magnitude=abs(wrong / right - 1),
                    curve=f"{cause}, relative",
                )
        old = instead(wrong_torch.OldHardSigmoid), instead(wrong_keras.OldHardSigmoid)
        yield _swap("activation.hard_sigmoid", family, "keras_2", HARD_SIGMOID, old, same=True)
        yield _swap(
            "activation.kind",
            family,
            "_for_".join(MISTAKEN[family]),
            KINDS[MISTAKEN[family][1]],
            KINDS[MISTAKEN[family][0]],
        )


DROPPED = {"mlp": "extra", "lenet": "late", "residual": "late", "lstm": "extra", "gru": "extra", "transformer": "extra"}


def _dropout() -> Iterator[Fault]:
    for family, part in DROPPED.items():
        base = _both(part, instead(nn.Dropout, 0.5), instead(layers.Dropout, 0.5))
        for rate in (0.25, 0.4) if family == "mlp" else (0.25,):
            yield Fault(
                "dropout.rate",
                family,
                f"{rate:g}",
                (part,),
                torch=Side(parts={part: instead(nn.Dropout, rate)}),
                keras=Side(parts={part: instead(layers.Dropout, rate)}),
                base=base,
                random=True,
            )
        for cause, torch_kind, keras_kind in (
            ("dropout.scale", wrong_torch.Unscaled, wrong_keras.Unscaled),
            ("dropout.active_in_eval", wrong_torch.AlwaysDropping, wrong_keras.AlwaysDropping),
        ):
            yield Fault(
                cause,
                family,
                "in_a_subclass",
                (part,),
                torch=Side(parts={part: instead(torch_kind, 0.5)}),
                keras=Side(parts={part: instead(keras_kind, 0.5)}),
                base=base,
                random=True,
            )


def _resize() -> Iterator[Fault]:
    # Keras' bilinear resizing is done in float32 whatever the model is in, and has no align_corners.
    def bilinear(**settings: Any) -> Side:
        return Side(parts={"extra": instead(nn.Upsample, size=(15, 15), mode="bilinear", **settings)})

    yield Fault(
        "resize.alignment",
        "residual",
        "align_corners",
        ("extra",),
        torch=bilinear(align_corners=True),
        base={"torch": bilinear(align_corners=False)},
        same=True,
    )
    yield Fault(
        "resize.alignment",
        "residual",
        "nearest_exact",
        ("extra",),
        torch=Side(parts={"extra": instead(nn.Upsample, size=(15, 15), mode="nearest")}),
        base=_both(
            "extra",
            instead(nn.Upsample, size=(15, 15), mode="nearest-exact"),
            instead(layers.Resizing, 15, 15, interpolation="nearest"),
        ),
    )


def _recurrent() -> Iterator[Fault]:
    yield Fault(
        "rnn.reset_after",
        "gru",
        "before",
        ("rnn",),
        ("init", "forward"),
        keras=Side(parts={"rnn": setting(reset_after=False)}),
    )
    for family in ("lstm", "gru"):
        yield Fault(
            "rnn.layout", family, "batch_for_time", ("rnn",), torch=Side(parts={"rnn": setting(batch_first=False)})
        )


def _attention() -> Iterator[Fault]:
    windowed = Side(options={"windowed": True})
    inverted = Side(options={"inverted": True})
    yield Fault(
        "attention.mask_polarity",
        "transformer",
        "window",
        ("attention",),
        torch=inverted,
        keras=inverted,
        base={"torch": windowed, "keras": windowed},
    )

    def rescaled(value: float) -> Callable[[Any], None]:
        def act(layer: Any) -> None:
            layer._inverse_sqrt_key_dim = value

        return act

    for name, value in (("whole_width", EMBEDDED**-0.5), ("no_root", 0.25), ("none", 1.0), ("thousandth", 0.5005)):
        yield Fault(
            "attention.scale",
            "transformer",
            name,
            ("attention",),
            torch=Side(parts={"attention": instead(SplitAttention, scale=value)}),
            keras=Side(parts={"attention": then(None, rescaled(value))}),
            base={"torch": Side(parts={"attention": instead(SplitAttention)})},
            magnitude=abs(value / 0.5 - 1),
            curve="attention.scale, relative",
        )
