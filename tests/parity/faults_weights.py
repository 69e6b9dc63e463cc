"""Weights that were carried over wrongly, seen by themselves and in outputs."""

from __future__ import annotations

import numpy as np
from hypothesis_support import (
    CASES,
    IMAGE,
    UNIT,
    case,
    node,
    numbers,
    passed,
    ran,
    weights_of,
    x_flat,
    x_image,
    x_steps,
)

from dualml.parity.hypotheses import (
    Use,
    explain_backward,
    explain_forward,
    explain_tying,
    explain_weights,
)
from dualml.parity.hypotheses.rearranged import head_rearrangements, rearrangements
from dualml.spec.graph_builder import build_graph
from dualml.spec.layers import (
    Attention,
    Conv2d,
    ConvTranspose2d,
    Dense,
    DepthwiseConv2d,
    Embedding,
    Gru,
    Lstm,
    TiedDense,
)
from dualml.spec.model import Input, Model


def rearranged(meant, x, item, **more):
    """A side whose weights stand in another order, its output judged."""
    weights = weights_of(meant)
    roles = {weight.role: weights[weight.name] for weight in meant.weights}
    moved = item.apply(roles)
    other = {weight.name: np.asarray(moved[weight.role]) for weight in meant.weights}
    return explain_forward(meant, None, weights, [x], ran(meant, other, x), training=False, unit=UNIT, **more)


def copied_wrongly(meant, item, role, **more):
    """A weight that stands in another order, judged by itself."""
    weights = weights_of(meant)
    roles = {weight.role: weights[weight.name] for weight in meant.weights}
    moved = item.apply(roles)
    more = {"companions": (roles, moved), **more}
    return explain_weights(roles[role], np.asarray(moved[role]), role, meant.operation, meant, unit=UNIT, **more)


def ways(meant, cause, said="", **more):
    roles = {weight.role: array for weight, array in zip(meant.weights, weights_of(meant).values(), strict=True)}
    found = list(rearrangements(meant.operation, roles, **more))
    if meant.operation == "attention":
        found += head_rearrangements(meant.settings.heads)
    return next(item for item in found if item.cause == cause and said in item.said)


def layouts(cause, name, meant, x, said="", role="kernel", flattened=None):
    item = ways(meant, cause, said, flattened=flattened)
    CASES.append((cause, f"{name}, forward", lambda: rearranged(meant, x, item, flattened=flattened)))
    CASES.append((cause, f"{name}, weights", lambda: copied_wrongly(meant, item, role, flattened=flattened)))


layouts("layout.dense_transposed", "square", node(Dense(8), (8,)), x_flat)
layouts("layout.flatten_order", "rows", node(Dense(8), (24,)), numbers(5, 24), "channels, height", flattened=(2, 4, 3))
layouts("layout.conv_flipped", "mirrored", node(Conv2d(4, 3), IMAGE), x_image)
layouts("layout.conv_axes", "height and width", node(Conv2d(4, 3), IMAGE), x_image, "spatial axes")
layouts(
    "layout.conv_axes", "inputs and outputs", node(Conv2d(3, 3), IMAGE), x_image, "(height, width, outputs, inputs)"
)
layouts(
    "layout.conv_axes", "reshaped", node(Conv2d(4, 3), IMAGE), x_image, "reshaped as if its axes were (outputs, inputs"
)
layouts("layout.depthwise_order", "multiplier", node(DepthwiseConv2d(3, multiplier=2, bias=False), IMAGE), x_image)
layouts(
    "layout.conv_transpose",
    "inputs and outputs",
    node(ConvTranspose2d(3, 3), IMAGE),
    x_image,
    "(height, width, outputs",
)
layouts("layout.gate_order", "gru", node(Gru(4), (6, 5)), x_steps, "r, z, n")
layouts("layout.gate_order", "lstm", node(Lstm(4), (6, 5)), x_steps, "i, f, o, g")
layouts("layout.rnn_bias", "one lost", node(Gru(4), (6, 5)), x_steps, "input bias left out", role="bias")
layouts(
    "layout.qkv_packing",
    "heads interleaved",
    node(Attention(2), (6, 8)),
    numbers(3, 6, 8),
    "query, key and value",
    "query_kernel",
)


@case("layout.qkv_packing", "key and value exchanged")
def _():
    meant = node(Attention(2), (6, 8))
    item = ways(meant, "layout.qkv_packing", "query, value, key")
    return rearranged(meant, numbers(3, 6, 8), item)


@case("layout.rnn_bias", "both in one")
def _():
    meant = node(Lstm(4), (6, 5))
    weights = {weight.role: array for weight, array in zip(meant.weights, weights_of(meant).values(), strict=True)}
    total = weights["bias"] + weights["recurrent_bias"]
    return explain_weights(weights["bias"], total, "bias", "lstm", unit=UNIT, companions=(weights, {"bias": total}))


@case("weights.not_copied", "drawn anew")
def _():
    return explain_weights(numbers(8, 6), numbers(8, 6, seed=9), "kernel", "dense", unit=UNIT)


@case("weights.not_copied", "still zeros")
def _():
    return explain_weights(numbers(6), np.zeros(6), "bias", "dense", unit=UNIT)


@case("weights.buffers_not_copied", "still ones")
def _():
    return explain_weights(numbers(6, low=0.5), np.ones(6), "running_variance", "batch_norm", unit=UNIT)


for name, rounding in (
    ("float16", lambda a: a.astype(np.float16).astype(np.float64)),
    ("bfloat16", lambda a: (a.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)),
    ("float32", lambda a: a.astype(np.float32).astype(np.float64)),
):
    half = numbers(8, 6)
    if name == "bfloat16":  # values whose truncation is their rounding
        half = half.astype(np.float32).view(np.uint32)
        half = ((half & 0xFFFF0000) | 0x00000100).view(np.float32).astype(np.float64)
    CASES.append(
        (
            "weights.low_precision",
            name,
            lambda array=half, rounding=rounding: explain_weights(array, rounding(array), "kernel", "dense", unit=UNIT),
        )
    )


def language_model(tied):
    last = TiedDense("table", name="out") if tied else Dense(9, bias=False, name="out")
    layers = [Embedding(9, 4, name="table"), last]
    return build_graph(
        Model(inputs={"ids": Input(shape=(6,), dtype="integer")}, layers=layers), "float64", ["identity"]
    )


@case("weights.tied_untied", "two arrays for one")
def _():
    return explain_tying(language_model(True), language_model(False), [("table", "table"), ("out", "out")])


@case("weights.tied_untied", "the gradient of one use")
def _():
    graph = language_model(True)
    weights = {"table.table": numbers(9, 4)}
    first, last = graph.nodes
    ids, slopes = np.arange(18).reshape(3, 6) % 9, (numbers(3, 6, 4), numbers(3, 6, 9))
    hidden, role = numbers(3, 6, 4, seed=4), last.parameters[0].role
    uses = [
        Use(first, None, weights, [ids], slopes[0], "table"),
        Use(last, None, weights, [hidden], slopes[1], role),
    ]
    recorded = passed(first, weights, ids, slopes[0], "table")
    return explain_backward(recorded, uses, unit=UNIT)
