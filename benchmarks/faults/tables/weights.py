"""Weights that a port by hand gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from keras import layers
from torch import nn

from benchmarks.faults.data import Array
from benchmarks.faults.fault import WEIGHTS, Fault
from benchmarks.faults.parts import instead, setting
from benchmarks.faults.port import Mistake, gates_swapped
from benchmarks.faults.side import Framework, Side

SHOWN = (*WEIGHTS, "forward")
"""A port that is wrong shows in the weights themselves; a wrong use of right weights in the layer."""


def faults() -> list[Fault]:
    """All of them."""
    return [*_dense(), *_convolutions(), *_recurrent(), *_attention(), *_values(), *_buffers(), *_tied()]


def _port(name: str, mistake: Mistake) -> Side:
    return Side(port={name: mistake})


def _dense() -> Iterator[Fault]:
    def turned(array: Array) -> Array:
        return array.T

    square = {"mlp": ("hidden2", None), "lenet": ("late", 10), "residual": ("late", 6)}
    square |= {"lstm": ("extra", 8), "gru": ("extra", 8), "transformer": ("extra", 8)}
    for family, (part, size) in square.items():
        base: dict[Framework, Side] = {}
        if size is not None:
            base = {
                "torch": Side(parts={part: instead(nn.Linear, size, size)}),
                "keras": Side(parts={part: instead(layers.Dense, size)}),
            }
        wrong = _port(f"{part}.kernel", turned)
        yield Fault("layout.dense_transposed", family, part, (part,), SHOWN, wrong, wrong, base)


def _convolutions() -> Iterator[Fault]:
    where = {"lenet": ("conv1", "conv2"), "residual": ("stem", "conv1", "conv2")}
    for family, parts in where.items():
        for part in parts:
            yield Fault(
                "layout.conv_axes",
                family,
                f"{part}_rows_for_columns",
                (part,),
                SHOWN,
                _port(f"{part}.kernel", lambda array: array.transpose(0, 1, 3, 2)),
                _port(f"{part}.kernel", lambda array: array.transpose(1, 0, 2, 3)),
            )
            yield Fault(
                "layout.conv_flipped",
                family,
                part,
                (part,),
                SHOWN,
                _port(f"{part}.kernel", lambda array: array[:, :, ::-1, ::-1]),
                _port(f"{part}.kernel", lambda array: array[::-1, ::-1]),
            )
    for family, part in (("lenet", "conv1"), ("residual", "stem"), ("residual", "conv2")):
        yield Fault(
            "layout.conv_axes",
            family,
            f"{part}_inputs_for_outputs",
            (part,),
            SHOWN,
            _port(f"{part}.kernel", lambda array: array.transpose(1, 0, 2, 3)),
            _port(f"{part}.kernel", lambda array: array.transpose(0, 1, 3, 2)),
        )

    def last_first(array: Array) -> Array:  # PyTorch's (10, channels x height x width) filled with Keras' order
        return array.reshape(10, 6, 2, 2).transpose(0, 2, 3, 1).reshape(array.shape)

    def first_last(array: Array) -> Array:  # Keras' (height x width x channels, 10) filled with PyTorch's order
        return array.reshape(2, 2, 6, 10).transpose(2, 0, 1, 3).reshape(array.shape)

    yield Fault(
        "layout.flatten_order",
        "lenet",
        "fc1",
        ("fc1", "flatten"),
        SHOWN,
        _port("fc1.kernel", last_first),
        _port("fc1.kernel", first_last),
    )

    doubled: dict[str, dict[Framework, Side]] = {
        "lenet": {
            "torch": Side(parts={"extra": _depthwise(), "conv2": instead(nn.Conv2d, 8, 6, 3)}),
            "keras": Side(parts={"extra": instead(layers.DepthwiseConv2D, 3, padding="same", depth_multiplier=2)}),
        },
        "residual": {
            "torch": Side(
                parts={
                    "extra": _depthwise(),
                    "conv1": instead(nn.Conv2d, 8, 6, 3, stride=2, padding=1, bias=False),
                    "shortcut": instead(nn.Conv2d, 8, 6, 1, stride=2, bias=False),
                }
            ),
            "keras": Side(parts={"extra": instead(layers.DepthwiseConv2D, 3, padding="same", depth_multiplier=2)}),
        },
    }
    for family, base in doubled.items():
        yield Fault(
            "layout.depthwise_order",
            family,
            "multiplier_2",
            ("extra",),
            SHOWN,
            _port(
                "extra.kernel", lambda array: array.reshape(4, 2, 1, 3, 3).transpose(1, 0, 2, 3, 4).reshape(array.shape)
            ),
            _port("extra.kernel", lambda array: array.reshape(3, 3, 2, 4).transpose(0, 1, 3, 2)),
            base,
        )
        transposed: dict[Framework, Side] = {
            "torch": Side(parts={"extra": instead(nn.ConvTranspose2d, 4, 4, 3, padding=1)}),
            "keras": Side(parts={"extra": instead(layers.Conv2DTranspose, 4, 3, padding="same")}),
        }
        yield Fault(
            "layout.conv_transpose",
            family,
            "inputs_for_outputs",
            ("extra",),
            SHOWN,
            _port("extra.kernel", lambda array: array.transpose(1, 0, 2, 3)),
            _port("extra.kernel", lambda array: array.transpose(0, 1, 3, 2)),
            transposed,
            also=("layout.conv_axes",),
        )
        yield Fault(
            "layout.conv_transpose",
            family,
            "flipped",
            ("extra",),
            SHOWN,
            _port("extra.kernel", lambda array: array[:, :, ::-1, ::-1]),
            _port("extra.kernel", lambda array: array[::-1, ::-1]),
            transposed,
            also=("layout.conv_flipped",),
        )


def _depthwise() -> Any:
    return instead(nn.Conv2d, 4, 8, 3, padding=1, groups=4)


def _recurrent() -> Iterator[Fault]:
    def cell_first(axis: int) -> Mistake:
        def mixed(array: Array) -> Array:
            one, two, three, four = np.split(array, 4, axis=axis)
            return np.concatenate([one, three, two, four], axis=axis)

        return mixed

    roles = ("kernel", "recurrent_kernel", "bias")
    yield Fault(
        "layout.gate_order",
        "lstm",
        "i_g_f_o",
        ("rnn",),
        SHOWN,
        Side(port={f"rnn.{role}": cell_first(0) for role in roles}),
        Side(port={f"rnn.{role}": cell_first(-1) for role in roles}),
    )
    yield Fault(
        "layout.gate_order",
        "gru",
        "reset_for_update",
        ("rnn",),
        SHOWN,
        Side(port={f"rnn.{role}": lambda array: gates_swapped(array.T).T for role in (*roles, "recurrent_bias")}),
        Side(port={f"rnn.{role}": gates_swapped for role in roles}),
    )

    def doubled(model: Any) -> None:
        with torch.no_grad():
            model.rnn.bias_hh_l0.copy_(model.rnn.bias_ih_l0)

    def both_trained(model: Any) -> None:
        model.rnn.bias_hh_l0.requires_grad_(True)

    yield Fault("layout.rnn_bias", "lstm", "in_both_biases", ("rnn",), SHOWN, Side(finish=doubled))
    yield Fault(
        "layout.rnn_bias", "lstm", "both_trained", ("rnn",), ("init", "backward", "update"), Side(finish=both_trained)
    )
    yield Fault(
        "layout.rnn_bias",
        "gru",
        "summed_into_the_first",
        ("rnn",),
        SHOWN,
        keras=_port("rnn.bias", lambda array: np.stack([array[0] + array[1], np.zeros_like(array[0])])),
    )
    yield Fault(
        "layout.rnn_bias",
        "gru",
        "recurrent_bias_left_out",
        ("rnn",),
        SHOWN,
        _port("rnn.recurrent_bias", np.zeros_like),
        also=("weights.not_copied",),
    )


def _attention() -> Iterator[Fault]:
    def order(*blocks: int) -> Side:
        def packed(array: Array) -> Array:
            parts = np.split(array, 3, axis=0)
            return np.concatenate([parts[block] for block in blocks], axis=0)

        return Side(port={"attention.in_proj": packed, "attention.in_proj_bias": packed})

    def exchanged(one: str, two: str) -> Side:
        def swap(model: Any) -> None:
            attention = model.get_layer("attention")
            first, second = getattr(attention, f"_{one}_dense"), getattr(attention, f"_{two}_dense")
            for left, right in zip(first.weights, second.weights, strict=True):
                kept = np.array(left)
                left.assign(right)
                right.assign(kept)

        return Side(finish=swap)

    def heads_inside(array: Array) -> Array:
        return array.reshape(array.shape[0], array.shape[2], array.shape[1]).transpose(0, 2, 1)

    def interleaved(array: Array) -> Array:
        return array.reshape(2, 3, 4, -1).transpose(1, 0, 2, 3).reshape(array.shape)

    part = ("attention",)
    yield Fault(
        "layout.qkv_packing", "transformer", "key_query_value", part, SHOWN, order(1, 0, 2), exchanged("query", "key")
    )
    yield Fault(
        "layout.qkv_packing", "transformer", "query_value_key", part, SHOWN, order(0, 2, 1), exchanged("key", "value")
    )
    yield Fault(
        "layout.qkv_packing",
        "transformer",
        "heads_inside",
        part,
        SHOWN,
        _port("attention.in_proj", interleaved),
        Side(port={f"attention.{role}/kernel": heads_inside for role in ("query", "key", "value")}),
    )


FIRST = {"mlp": "hidden1", "lenet": "conv2", "residual": "stem", "lstm": "rnn", "gru": "head", "transformer": "wide"}
"""In each family a layer that a port might forget."""


def _values() -> Iterator[Fault]:
    def anew(array: Array) -> Array:
        drawn: Array = np.random.default_rng(5).normal(size=array.shape) * array.std()
        return drawn

    def halved(array: Array) -> Array:
        return array.astype(np.float16).astype(np.float64)

    def brain(array: Array) -> Array:
        bits = array.astype(np.float32).view(np.uint32)
        rounded: Array = ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)
        return rounded

    ways: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("weights.not_copied", "drawn_anew", anew),
        ("weights.low_precision", "float16", halved),
        ("weights.low_precision", "bfloat16", brain),
    )
    for cause, name, act in ways:
        for family, part in FIRST.items():
            wrong = _port(f"{part}.kernel", act)
            yield Fault(cause, family, name, (part,), SHOWN, wrong, wrong)
    for family, part in {"mlp": "head", "lenet": "fc2", "lstm": "head", "transformer": "narrow"}.items():
        wrong = _port(f"{part}.bias", np.zeros_like)
        yield Fault("weights.not_copied", family, "bias_left_at_zero", (part,), SHOWN, wrong, wrong)


def _buffers() -> Iterator[Fault]:
    for family, part in (("lenet", "norm1"), ("lenet", "norm2"), ("residual", "stem_norm"), ("residual", "norm2")):
        both = Side(port={f"{part}.moving_mean": np.zeros_like, f"{part}.moving_variance": np.ones_like})
        yield Fault("weights.buffers_not_copied", family, part, (part,), SHOWN, both, both)
        one = _port(f"{part}.moving_variance", np.ones_like)
        yield Fault("weights.buffers_not_copied", family, f"{part}_variance", (part,), SHOWN, one, one)


def _tied() -> Iterator[Fault]:
    def base() -> Side:
        return Side(options={"twice": True})

    wrong = Side(options={"twice": False, "copies": True})
    yield Fault(
        "weights.tied_untied",
        "mlp",
        "hidden_layer_copied",
        ("hidden2", "hidden2_copy"),
        ("init", "backward", "update"),
        wrong,
        wrong,
        {"torch": base(), "keras": base()},
    )
    # A padding row that was written over: the layer's own row 0 is zero in PyTorch.
    for family, part in (("lstm", "embedding"), ("gru", "embedding"), ("transformer", "tokens")):
        yield Fault(
            "embedding.padding_index",
            family,
            "padding_idx_0",
            (part,),
            ("init", "backward"),
            torch=Side(parts={part: setting(padding_idx=0)}),
        )
