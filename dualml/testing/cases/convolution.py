"""Convolutions: every setting in one dimension or another, each convention of padding where they differ."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dense,
    DepthwiseConv1d,
    DepthwiseConv2d,
    Flatten,
    SeparableConv1d,
    SeparableConv2d,
)
from dualml.testing.cases.base import Case, values

CONV_CASES: tuple[Case, ...] = (
    Case("conv1d", (6, 2), [Conv1d(3, 2)], **values()),
    Case("conv1d-strided-dilated", (9, 2), [Conv1d(2, 3, stride=2, dilation=2, padding="same")], **values()),
    Case("conv1d-causal", (5, 2), [Conv1d(3, 2, dilation=2, padding="causal")], **values()),
    Case("conv1d-causal-strided", (6, 2), [Conv1d(2, 3, stride=2, padding="causal")], **values()),
    Case("conv1d-groups", (5, 4), [Conv1d(6, 2, groups=2, bias=False)], **values()),
    Case("conv2d", (3, 4, 2), [Conv2d(3, (2, 3))], **values()),
    Case("conv2d-square", (3, 3, 3), [Conv2d(3, 3, padding="same")], **values()),
    Case("conv2d-even-window", (3, 4, 2), [Conv2d(2, 2, padding="same", activation=Tanh())], **values()),
    Case("conv2d-same-strided", (4, 6, 1), [Conv2d(2, 3, stride=2, padding="same")], **values()),
    Case("conv2d-symmetric-strided", (4, 6, 1), [Conv2d(2, 3, stride=2, padding="symmetric")], **values()),
    Case("conv2d-amounts", (3, 4, 2), [Conv2d(2, 2, padding=((1, 2), 1), stride=(1, 2))], **values()),
    Case("conv2d-one-amount", (3, 3, 1), [Conv2d(2, 2, padding=2, stride=3)], **values()),
    Case("conv2d-dilated", (5, 4, 1), [Conv2d(2, 2, dilation=(3, 2), padding="same")], **values()),
    Case("conv2d-strided-dilated", (5, 6, 1), [Conv2d(2, 2, dilation=(2, 1), stride=(1, 2))], **values()),
    Case("conv2d-groups", (3, 3, 4), [Conv2d(4, 2, groups=2, stride=2, padding="same")], **values()),
    Case("conv2d-reflect", (3, 4, 1), [Conv2d(2, 3, padding=(2, (1, 3)), padding_mode="reflect")], **values()),
    Case("conv2d-replicate", (2, 3, 1), [Conv2d(2, 3, padding=2, padding_mode="replicate")], **values()),
    Case("conv2d-circular", (2, 3, 1), [Conv2d(2, 3, padding=((0, 2), 1), padding_mode="circular")], **values()),
    Case("conv2d-pointwise", (2, 3, 3), [Conv2d(2, 1)], **values()),
    Case("conv3d", (2, 3, 3, 2), [Conv3d(2, 2)], examples=2, **values()),
    Case(
        "conv3d-settings",
        (3, 2, 3, 2),
        [Conv3d(2, (2, 1, 2), stride=2, dilation=(1, 1, 2), groups=2, padding=((1, 0), 0, 1))],
        examples=2,
        **values(),
    ),
    Case("conv-flatten-dense", (4, 3, 2), [Conv2d(2, 2, activation=Tanh()), Flatten(), Dense(3)]),
)
"""Over all channels or groups of them."""

DEPTHWISE_CASES: tuple[Case, ...] = (
    Case("depthwise1d", (5, 3), [DepthwiseConv1d(2, multiplier=2)], **values()),
    Case("depthwise1d-causal", (5, 2), [DepthwiseConv1d(2, dilation=2, padding="causal", bias=False)], **values()),
    Case("depthwise2d", (3, 4, 2), [DepthwiseConv2d((2, 3), padding="same")], **values()),
    Case("depthwise2d-multiplier", (3, 3, 2), [DepthwiseConv2d(2, multiplier=3)], conventions="keras", **values()),
    Case("depthwise2d-strided", (4, 4, 2), [DepthwiseConv2d(3, stride=2, padding="same")], **values()),
    Case("depthwise2d-strides", (4, 5, 2), [DepthwiseConv2d(2, stride=(1, 2), padding="symmetric")], **values()),
    Case("depthwise2d-dilated", (4, 5, 2), [DepthwiseConv2d(2, stride=2, dilation=2, padding=1)], **values()),
    Case("depthwise2d-reflect", (3, 3, 2), [DepthwiseConv2d(3, padding=1, padding_mode="reflect")], **values()),
    Case("separable1d", (5, 2), [SeparableConv1d(3, 2, padding="causal", activation=Tanh())], **values()),
    Case("separable2d", (3, 4, 2), [SeparableConv2d(3, 2, multiplier=2, stride=2, padding="same")], **values()),
)
"""Every channel by itself, and with a pointwise convolution behind it."""

TRANSPOSED_CASES: tuple[Case, ...] = (
    Case("transpose1d", (3, 2), [ConvTranspose1d(3, 2)], **values()),
    Case("transpose1d-short-window", (3, 2), [ConvTranspose1d(2, 2, stride=3)], **values()),
    Case("transpose1d-fill", (3, 2), [ConvTranspose1d(2, 2, stride=3, output_padding="fill")], **values()),
    Case("transpose1d-dilated", (3, 2), [ConvTranspose1d(2, 2, stride=2, dilation=3, output_padding=2)], **values()),
    Case("transpose1d-groups", (3, 4), [ConvTranspose1d(6, 2, groups=2)], **values()),
    Case("transpose2d", (2, 3, 2), [ConvTranspose2d(3, (2, 3), stride=2)], **values()),
    Case("transpose2d-same", (2, 3, 1), [ConvTranspose2d(2, 3, stride=2, padding="same")], **values()),
    Case("transpose2d-same-even", (2, 2, 1), [ConvTranspose2d(1, 4, stride=2, padding="same")], **values()),
    Case("transpose2d-same-short", (2, 2, 2), [ConvTranspose2d(1, 2, stride=(3, 1), padding="same")], **values()),
    Case(
        "transpose2d-symmetric",
        (2, 3, 1),
        [ConvTranspose2d(2, 3, stride=2, padding="symmetric", output_padding=1)],
        **values(),
    ),
    Case("transpose2d-amounts", (2, 3, 2), [ConvTranspose2d(1, 3, padding=((1, 0), (0, 2)))], **values()),
    Case(
        "transpose2d-settings",
        (2, 3, 4),
        [ConvTranspose2d(2, 2, stride=(1, 2), dilation=(2, 1), groups=2, output_padding=(1, 0), bias=False)],
        **values(),
    ),
)
"""Transposed, with every way to say the output's size."""

CASES: tuple[Case, ...] = (*CONV_CASES, *DEPTHWISE_CASES, *TRANSPOSED_CASES)
