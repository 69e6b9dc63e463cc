"""Faults of layers, seen in their outputs."""

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
    use_of,
    weights_of,
    x_flat,
    x_image,
    x_steps,
)

from dualml.parity.hypotheses import (
    explain_backward,
    explain_forward,
)
from dualml.spec import activations as functions
from dualml.spec.layers import (
    Activation,
    Attention,
    AveragePool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    DepthwiseConv2d,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    Gru,
    InstanceNorm,
    LayerNorm,
    Lstm,
    MaxPool2d,
    Pad,
    Resize,
    RmsNorm,
)


def pair(meant, said, *inputs, training=False, claimed=True, mask=None, **more):
    """A side that follows its own claim, judged by another: with its claim at hand or not."""
    weights = weights_of(said)
    recorded = ran(said, weights, *inputs, training=training, mask=mask)
    given = said if claimed else None
    return explain_forward(meant, given, weights, inputs, recorded, training=training, mask=mask, unit=UNIT, **more)


def both(cause, name, meant, said, *inputs, **more):
    """The case with the deviating side's claim at hand, and without it."""
    CASES.append((cause, f"{name}, said", lambda: pair(meant, said, *inputs, **more)))
    CASES.append((cause, f"{name}, unsaid", lambda: pair(meant, said, *inputs, claimed=False, **more)))


x_even = numbers(3, 8, 8, 3)

both(
    "padding.same_stride",
    "stride 2 on an even size",
    node(Conv2d(4, 3, stride=2, padding="symmetric"), (8, 8, 3)),
    node(Conv2d(4, 3, stride=2, padding="same"), (8, 8, 3)),
    x_even,
)
both(
    "padding.same_stride",
    "depthwise",
    node(DepthwiseConv2d(3, stride=2, padding=1), (8, 8, 3)),
    node(DepthwiseConv2d(3, stride=2, padding="same"), (8, 8, 3)),
    x_even,
)
both(
    "padding.same_stride",
    "max pool",
    node(MaxPool2d(3, stride=2, padding=1), (8, 8, 3)),
    node(MaxPool2d(3, stride=2, padding="same"), (8, 8, 3)),
    x_even,
)
both(
    "padding.same_stride",
    "transposed convolution",
    node(ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1), (4, 4, 3)),
    node(ConvTranspose2d(4, 3, stride=2, padding="same", output_padding="fill"), (4, 4, 3)),
    numbers(3, 4, 4, 3),
)
both(
    "padding.same_stride",
    "causal",
    node(Conv1d(4, 3, padding="same"), (9, 3)),
    node(Conv1d(4, 3, padding="causal"), (9, 3)),
    numbers(3, 9, 3),
)
for mode in ("reflect", "replicate", "circular"):
    both(
        "padding.mode",
        mode,
        node(Conv2d(4, 3, padding=1), IMAGE),
        node(Conv2d(4, 3, padding=1, padding_mode=mode), IMAGE),
        x_image,
    )
both("padding.mode", "pad", node(Pad(1), IMAGE), node(Pad(1, padding_mode="reflect"), IMAGE), x_image)
both(
    "pool.count_padding",
    "average",
    node(AveragePool2d(3, stride=2, padding=1, count_padding=True), IMAGE),
    node(AveragePool2d(3, stride=2, padding=1, count_padding=False), IMAGE),
    x_image,
)
both(
    "pool.ceil_mode",
    "max",
    node(MaxPool2d(2, stride=2), IMAGE),
    node(MaxPool2d(2, stride=2, ceil_mode=True), IMAGE),
    x_image,
)
for layer in (BatchNorm, LayerNorm, InstanceNorm):
    scaled = {} if layer is not InstanceNorm else {"scale": True, "offset": True}
    both(
        "norm.epsilon",
        layer.kind,
        node(layer(epsilon=1e-5, **scaled), IMAGE),
        node(layer(epsilon=1e-3, **scaled), IMAGE),
        x_image,
        training=True,
    )
both(
    "norm.epsilon",
    "group_norm",
    node(GroupNorm(2, epsilon=1e-5), (5, 4)),
    node(GroupNorm(2, epsilon=1e-3), (5, 4)),
    numbers(4, 5, 4),
)
both("norm.epsilon", "rms_norm", node(RmsNorm(epsilon=1e-6), (8,)), node(RmsNorm(epsilon=2.0**-52), (8,)), x_flat)
both(
    "norm.epsilon",
    "in inference, an epsilon nobody has",
    node(BatchNorm(epsilon=1e-5), IMAGE),
    node(BatchNorm(epsilon=3e-2), IMAGE),
    x_image,
)
both(
    "norm.axis",
    "axes of layer_norm",
    node(LayerNorm(scale=False, offset=False), IMAGE),
    node(LayerNorm(axes=3, scale=False, offset=False), IMAGE),
    x_image,
)
both(
    "norm.axis",
    "groups",
    node(GroupNorm(2), (5, 4)),
    node(GroupNorm(4), (5, 4)),
    numbers(4, 5, 4),
)


@case("norm.axis", "batch norm over the height")
def _():
    meant = node(BatchNorm(), (3, 7, 3))
    weights, x = weights_of(meant), numbers(4, 3, 7, 3)
    recorded = ran(meant, weights, x.swapaxes(1, 3), training=True).swapaxes(1, 3)
    return explain_forward(meant, None, weights, [x], recorded, training=True, unit=UNIT)


both(
    "norm.frozen_mode",
    "in training",
    node(BatchNorm(), IMAGE),
    node(BatchNorm(frozen=True), IMAGE),
    x_image,
    training=True,
)


@case("norm.unbiased_variance", "normalised by it")
def _():
    meant = node(LayerNorm(scale=False, offset=False, epsilon=1e-12), (8,))
    middle = x_flat - x_flat.mean(axis=-1, keepdims=True)
    recorded = middle / np.sqrt((middle**2).sum(axis=-1, keepdims=True) / 7 + 1e-12)
    return explain_forward(meant, None, {}, [x_flat], recorded, training=False, unit=UNIT)


@case("mode.train_eval", "batch statistics in inference")
def _():
    meant = node(BatchNorm(), IMAGE)
    weights = weights_of(meant)
    recorded = ran(meant, weights, x_image, training=True)
    return explain_forward(meant, meant, weights, [x_image], recorded, training=False, unit=UNIT)


def activation(function):
    return node(Activation(function), (8,))


both(
    "activation.gelu_approximation",
    "tanh",
    activation(functions.Gelu("none")),
    activation(functions.Gelu("tanh")),
    x_flat,
)
both("activation.slope", "leaky", activation(functions.LeakyRelu(0.01)), activation(functions.LeakyRelu(0.3)), x_flat)
both(
    "activation.slope",
    "an odd one",
    activation(functions.LeakyRelu(0.01)),
    activation(functions.LeakyRelu(0.07)),
    x_flat,
)
both("activation.slope", "none", activation(functions.Relu()), activation(functions.LeakyRelu(0.2)), x_flat)
both("activation.alpha", "elu", activation(functions.Elu(1.0)), activation(functions.Elu(0.35)), x_flat)
both("activation.alpha", "celu", activation(functions.Celu(1.0)), activation(functions.Celu(0.5)), x_flat)
both(
    "activation.alpha",
    "softplus",
    activation(functions.Softplus(beta=1.0, threshold="none")),
    activation(functions.Softplus(beta=2.0, threshold="none")),
    x_flat,
)
for one, two in (("relu", "gelu"), ("silu", "mish"), ("tanh", "sigmoid"), ("elu", "selu"), ("linear", "relu")):
    by_kind = {item.kind: item for item in functions.ACTIVATIONS}
    both("activation.kind", f"{two} for {one}", activation(by_kind[one]()), activation(by_kind[two]()), x_flat)


@case("activation.hard_sigmoid", "the older one")
def _():
    recorded = np.clip(0.2 * (4 * x_flat) + 0.5, 0.0, 1.0)
    meant = activation(functions.HardSigmoid())
    return explain_forward(meant, None, {}, [4 * x_flat], recorded, training=False, unit=UNIT)


both(
    "softmax.axis",
    "over positions",
    node(Activation(functions.Softmax(-1)), (6, 5)),
    node(Activation(functions.Softmax(0)), (6, 5)),
    x_steps,
)


@case("softmax.double", "in a layer")
def _():
    meant = activation(functions.Softmax())
    once = ran(meant, {}, x_flat)
    return explain_forward(meant, None, {}, [x_flat], ran(meant, {}, once), training=False, unit=UNIT)


kept = np.random.default_rng(3).random((5, 8)) < 0.7

both("dropout.rate", "another", node(Dropout(0.3), (8,)), node(Dropout(0.5), (8,)), x_flat, training=True, mask=kept)


@case("dropout.scale", "left out")
def _():
    meant = node(Dropout(0.3), (8,))
    return explain_forward(meant, meant, {}, [x_flat], x_flat * kept, training=True, mask=kept, unit=UNIT)


@case("dropout.active_in_eval", "dropped in inference")
def _():
    meant = node(Dropout(0.3), (8,))
    recorded = x_flat * kept / 0.7
    return explain_forward(meant, meant, {}, [x_flat], recorded, training=False, unit=UNIT)


both(
    "resize.alignment",
    "corners",
    node(Resize(size=(9, 11), mode="linear", rounding="floor", step="sizes"), IMAGE),
    node(Resize(size=(9, 11), mode="linear", align_corners=True, rounding="floor", step="sizes"), IMAGE),
    x_image,
)
both(
    "resize.alignment",
    "nearest",
    node(Resize(size=(9, 11), rounding="floor", step="sizes"), IMAGE),
    node(Resize(size=(9, 11), rounding="half_pixel", step="sizes"), IMAGE),
    x_image,
)
both(
    "attention.mask_polarity",
    "causal left out",
    node(Attention(2, causal=True), (6, 8)),
    node(Attention(2), (6, 8)),
    numbers(3, 6, 8),
)


@case("attention.mask_polarity", "inverted")
def _():
    meant = node(Attention(2), (6, 8), mask=(6,))
    weights, x = weights_of(meant), numbers(3, 6, 8)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1]], dtype=np.float64)
    recorded = ran(meant, weights, x, 1.0 - mask)
    return explain_forward(meant, meant, weights, [x, mask], recorded, training=False, unit=UNIT)


@case("attention.scale", "left out")
def _():
    meant = node(Attention(2), (6, 8))
    weights, x = weights_of(meant), numbers(3, 6, 8)
    fourfold = {name: array * (2.0 if ".query" in name else 1.0) for name, array in weights.items()}
    recorded = ran(meant, fourfold, x)
    return explain_forward(meant, None, weights, [x], recorded, training=False, unit=UNIT)


both(
    "rnn.reset_after",
    "gru",
    node(Gru(4, bias="double"), (6, 5)),
    node(Gru(4, bias="double", reset_after=False), (6, 5)),
    x_steps,
)
both("rnn.layout", "the other direction", node(Lstm(4), (6, 5)), node(Lstm(4, reverse=True), (6, 5)), x_steps)


@case("rnn.layout", "batch and time exchanged")
def _():
    meant = node(Lstm(4, return_sequences=True), (6, 5))
    weights = weights_of(meant)
    other = node(Lstm(4, return_sequences=True), (4, 5))
    recorded = ran(other, weights, x_steps.swapaxes(0, 1)).swapaxes(0, 1)
    return explain_forward(meant, None, weights, [x_steps], recorded, training=False, unit=UNIT)


@case("embedding.padding_index", "zeros where it is read")
def _():
    meant = node(Embedding(9, 4), (6,), integer=True)
    ids, table = np.arange(18).reshape(3, 6) % 9, numbers(9, 4)
    emptied = table.copy()
    emptied[0] = 0.0
    return explain_forward(meant, None, {"table": table}, [ids], emptied[ids], training=False, unit=UNIT)


@case("embedding.padding_index", "no gradient for its row")
def _():
    meant, said = node(Embedding(9, 4), (6,), integer=True), node(Embedding(9, 4, padding_index=0), (6,), integer=True)
    ids, slope = np.arange(18).reshape(3, 6) % 9, numbers(3, 6, 4)
    weights = weights_of(said)
    recorded = passed(said, weights, ids, slope, "table")
    return explain_backward(recorded, [use_of(meant, None, weights, ids, slope, "table")], unit=UNIT)


both(
    "layout.flatten_order",
    "flatten",
    node(Flatten("channels_first"), IMAGE),
    node(Flatten("channels_last"), IMAGE),
    x_image,
)
