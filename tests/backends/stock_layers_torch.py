"""Every layer's stock counterpart in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stock_support import IDS, PAIR, ROUNDED, Row
from torch import nn
from torch.nn import functional

from dualml.spec import layers as spec

BOTH = {"inputs": list(PAIR)}


def joined(values: list[Any], axis: int) -> Any:
    """``torch.cat``."""
    return torch.cat(values, axis)


def heads_in_torch(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of ``torch.nn.MultiheadAttention``, which packs three projections in one."""
    parts = ("query", "key", "value")
    return {
        "in_proj_weight": np.concatenate([weights[f"{part}_kernel"].T for part in parts]),
        "in_proj_bias": np.concatenate([weights[f"{part}_bias"] for part in parts]),
        "out_proj.weight": weights["output_kernel"].T.copy(),
        "out_proj.bias": weights["output_bias"],
    }


def attending_in_torch(layer: Any, values: list[Any]) -> Any:
    """Self-attention of batches."""
    return layer(values[0], values[0], values[0], need_weights=False)[0]


def last_step(layer: Any, values: list[Any]) -> Any:
    """The last output of a recurrent module."""
    return layer(values[0])[0][:, -1]


def all_steps(layer: Any, values: list[Any]) -> Any:
    """Every output of a recurrent module."""
    return layer(values[0])[0]


def batch_first(kind: Any) -> Any:
    """A recurrent module; PyTorch counts steps first by default, which is no other computation."""
    return lambda: kind(4, 3, batch_first=True)


TORCH = [
    Row(spec.Dense(3), (4,), lambda: nn.Linear(4, 3)),
    Row(spec.Conv1d(6, 3), (9, 4), lambda: nn.Conv1d(4, 6, 3)),
    Row(spec.Conv2d(6, (3, 2)), (7, 6, 4), lambda: nn.Conv2d(4, 6, (3, 2))),
    Row(spec.Conv3d(6, 2), (4, 5, 3, 4), lambda: nn.Conv3d(4, 6, 2)),
    Row(
        spec.Conv2d(6, 3, stride=2, padding="symmetric", bias=False),
        (8, 8, 4),
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
    ),
    Row(spec.Conv2d(6, 4, padding="symmetric"), (8, 8, 4), lambda: nn.Conv2d(4, 6, 4, padding=2)),
    Row(
        spec.Conv2d(6, 3, padding="same"),
        (8, 8, 4),
        lambda: nn.Conv2d(4, 6, 3, padding="same"),
        close=8 * ROUNDED,  # the adapter pads beforehand, so the backward pass may add in another order
    ),
    Row(
        spec.Conv2d(6, 3, groups=2, dilation=2, stride=2, padding=1),
        (8, 7, 4),
        lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, stride=2, padding=1),
    ),
    *(
        Row(
            spec.Conv2d(6, 3, padding=2, padding_mode=mode),
            (8, 7, 4),
            lambda mode=mode: nn.Conv2d(4, 6, 3, padding=2, padding_mode=mode),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    Row(spec.DepthwiseConv1d(3), (8, 4), lambda: nn.Conv1d(4, 4, 3, groups=4)),
    Row(spec.DepthwiseConv2d(3), (8, 7, 4), lambda: nn.Conv2d(4, 4, 3, groups=4)),
    Row(spec.DepthwiseConv1d(3, multiplier=2), (8, 4), lambda: nn.Conv1d(4, 8, 3, groups=4)),
    Row(spec.DepthwiseConv2d(3, multiplier=2), (8, 7, 4), lambda: nn.Conv2d(4, 8, 3, groups=4)),
    Row(spec.ConvTranspose1d(6, 2), (5, 4), lambda: nn.ConvTranspose1d(4, 6, 2)),
    Row(spec.ConvTranspose2d(6, 3), (5, 4, 4), lambda: nn.ConvTranspose2d(4, 6, 3)),
    Row(spec.ConvTranspose1d(6, 2, stride=3), (5, 4), lambda: nn.ConvTranspose1d(4, 6, 2, stride=3)),
    Row(spec.ConvTranspose2d(6, 3, stride=2), (5, 4, 4), lambda: nn.ConvTranspose2d(4, 6, 3, stride=2)),
    Row(
        spec.ConvTranspose2d(6, 3, stride=2, dilation=2, groups=2, padding=1, output_padding=1),
        (5, 4, 4),
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2, groups=2, padding=1, output_padding=1),
    ),
    Row(spec.Activation("gelu"), (4,), nn.GELU),
    Row(spec.Flatten("channels_first"), (3, 4, 2), nn.Flatten),
    Row(spec.Flatten(), (3, 4, 2), nn.Flatten, first=False),
    Row(spec.Reshape((2, 3)), (6,), lambda: nn.Unflatten(1, (2, 3)), first=False),
    Row(spec.Dropout(0.3), (40,), lambda: nn.Dropout(0.3), drawn=True),
    Row(spec.SpatialDropout(0.3), (3, 4, 9), lambda: nn.Dropout2d(0.3), drawn=True),
    Row(spec.SpatialDropout(0.3), (3, 9), lambda: nn.Dropout1d(0.3), drawn=True),
    Row(spec.AlphaDropout(0.3), (40,), lambda: nn.AlphaDropout(0.3), drawn=True),
    Row(spec.Add(**BOTH), PAIR, lambda: None, lambda _, values: torch.add(*values)),
    Row(spec.Subtract(**BOTH), PAIR, lambda: None, lambda _, values: torch.sub(*values)),
    Row(spec.Multiply(**BOTH), PAIR, lambda: None, lambda _, values: torch.mul(*values)),
    Row(spec.Average(**BOTH), PAIR, lambda: None, lambda _, values: torch.stack(values).mean(0)),
    Row(spec.Maximum(**BOTH), PAIR, lambda: None, lambda _, values: torch.maximum(*values)),
    Row(spec.Minimum(**BOTH), PAIR, lambda: None, lambda _, values: torch.minimum(*values)),
    Row(spec.Concat(**BOTH), PAIR, lambda: None, lambda _, values: joined(values, -1), first=False),
    Row(spec.Embedding(7, 4), IDS, lambda: nn.Embedding(7, 4), first=False),
    Row(spec.Embedding(7, 4, padding_index=3), IDS, lambda: nn.Embedding(7, 4, padding_idx=3), first=False),
    Row(
        spec.Attention(2),
        (5, 8),
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        attending_in_torch,
        first=False,
        pack=heads_in_torch,
        own=True,
        close=8 * ROUNDED,  # one product of matrices instead of three
    ),
    Row(spec.LayerNorm(), (4, 5), lambda: nn.LayerNorm(5), first=False),
    Row(spec.RmsNorm(), (4, 5), lambda: nn.RMSNorm(5), first=False),
    Row(spec.UnitNorm(), (4, 5), lambda: None, lambda _, x: functional.normalize(x[0], dim=-1), False, own=True),
    Row(spec.BatchNorm(), (4, 3, 5), lambda: nn.BatchNorm2d(5), close=ROUNDED),  # its 0.1 is 1 - 0.9 here
    Row(spec.GroupNorm(2), (3, 4, 6), lambda: nn.GroupNorm(2, 6)),
    Row(spec.InstanceNorm(), (3, 4, 5), lambda: nn.InstanceNorm2d(5)),
    Row(spec.SimpleRnn(3), (5, 4), batch_first(nn.RNN), last_step, first=False, own=True),
    Row(spec.Lstm(3), (5, 4), batch_first(nn.LSTM), last_step, first=False, own=True),
    Row(spec.Gru(3), (5, 4), batch_first(nn.GRU), last_step, first=False, own=True),
    Row(spec.SimpleRnn(3, return_sequences=True), (5, 4), batch_first(nn.RNN), all_steps, first=False, own=True),
    Row(spec.Lstm(3, return_sequences=True), (5, 4), batch_first(nn.LSTM), all_steps, first=False, own=True),
    Row(spec.Gru(3, return_sequences=True), (5, 4), batch_first(nn.GRU), all_steps, first=False, own=True),
    Row(spec.MaxPool1d(2), (5, 2), lambda: nn.MaxPool1d(2)),
    Row(spec.MaxPool2d(2), (5, 6, 2), lambda: nn.MaxPool2d(2)),
    Row(spec.MaxPool3d(2), (4, 2, 3, 1), lambda: nn.MaxPool3d(2)),
    Row(spec.MaxPool2d(3, stride=2, padding="symmetric"), (6, 7, 2), lambda: nn.MaxPool2d(3, 2, 1)),
    Row(
        spec.MaxPool2d((2, 3), padding=(0, 1), ceil_mode=True),
        (5, 5, 1),
        lambda: nn.MaxPool2d((2, 3), padding=(0, 1), ceil_mode=True),
    ),
    Row(spec.MaxPool2d(2, stride=1, dilation=2), (5, 5, 1), lambda: nn.MaxPool2d(2, 1, dilation=2)),
    Row(spec.AveragePool1d(2), (5, 2), lambda: nn.AvgPool1d(2)),
    Row(spec.AveragePool2d(2), (4, 5, 2), lambda: nn.AvgPool2d(2)),
    Row(spec.AveragePool3d(2), (4, 2, 3, 1), lambda: nn.AvgPool3d(2)),
    Row(spec.AveragePool2d(3, stride=1, padding=1), (4, 5, 2), lambda: nn.AvgPool2d(3, 1, 1)),
    Row(
        spec.AveragePool2d(3, stride=2, padding=1, ceil_mode=True),
        (6, 6, 1),
        lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    ),
    Row(spec.AveragePool3d(2, padding=1), (4, 2, 3, 1), lambda: nn.AvgPool3d(2, padding=1)),
    Row(spec.AdaptiveAveragePool1d(3), (7, 2), lambda: nn.AdaptiveAvgPool1d(3)),
    Row(spec.AdaptiveAveragePool2d((3, 5)), (7, 4, 2), lambda: nn.AdaptiveAvgPool2d((3, 5))),
    Row(spec.AdaptiveAveragePool3d(2), (3, 4, 5, 1), lambda: nn.AdaptiveAvgPool3d(2)),
    Row(spec.AdaptiveMaxPool1d(3), (7, 2), lambda: nn.AdaptiveMaxPool1d(3)),
    Row(spec.AdaptiveMaxPool2d((3, 5)), (7, 4, 2), lambda: nn.AdaptiveMaxPool2d((3, 5))),
    Row(spec.AdaptiveMaxPool3d(2), (3, 4, 5, 1), lambda: nn.AdaptiveMaxPool3d(2)),
    Row(spec.GlobalAveragePool(), (4, 3), lambda: nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()), own=True),
    Row(spec.GlobalAveragePool(keep_axes=True), (4, 5, 3), lambda: nn.AdaptiveAvgPool2d(1), own=True),
    Row(spec.GlobalMaxPool(), (4, 3), lambda: nn.Sequential(nn.AdaptiveMaxPool1d(1), nn.Flatten()), own=True),
    Row(spec.GlobalMaxPool(keep_axes=True), (4, 5, 3), lambda: nn.AdaptiveMaxPool2d(1), own=True),
    Row(spec.Permute((2, 0, 1)), (3, 4, 2), lambda: None, lambda _, x: x[0].permute(0, 3, 1, 2), False),
    Row(spec.Select(1), (3, 4), lambda: None, lambda _, x: torch.select(x[0], 1, 1), False),
    Row(spec.Slice(1), (3, 4), lambda: None, lambda _, x: x[0][:, 1:], False),
    Row(spec.Pad(1), (3, 4, 2), lambda: nn.ZeroPad2d(1)),
    Row(spec.Pad(((1, 2), (3, 0))), (3, 4, 2), lambda: nn.ZeroPad2d((3, 0, 1, 2))),
    Row(spec.Pad(1, value=0.7), (3, 2), lambda: nn.ConstantPad1d(1, 0.7)),
    Row(spec.Pad(2, padding_mode="reflect"), (3, 4, 2), lambda: nn.ReflectionPad2d(2)),
    Row(spec.Pad(2, padding_mode="replicate"), (3, 4, 2), lambda: nn.ReplicationPad2d(2)),
    Row(spec.Pad(2, padding_mode="circular"), (3, 4, 2), lambda: nn.CircularPad2d(2)),
    Row(spec.Crop(((1, 0), (0, 2))), (3, 4, 2), lambda: nn.ZeroPad2d((0, -2, -1, 0))),
    Row(spec.Resize(scale=2), (3, 4, 2), lambda: nn.Upsample(scale_factor=2), own=True),
    Row(spec.Resize((5, 7)), (3, 4, 2), lambda: nn.Upsample((5, 7)), own=True),
    Row(spec.Resize(scale=1.5), (7, 2), lambda: nn.Upsample(scale_factor=1.5), own=True),
    Row(spec.Resize(scale=1.5, mode="linear"), (7, 2), lambda: nn.Upsample(scale_factor=1.5, mode="linear"), own=True),
    Row(
        spec.Resize(scale=(1.5, 2.0), mode="linear"),
        (7, 3, 2),
        lambda: nn.Upsample(scale_factor=(1.5, 2.0), mode="bilinear"),
        own=True,
    ),
    Row(
        spec.Resize((5, 2), mode="linear", align_corners=True),
        (3, 4, 2),
        lambda: nn.Upsample((5, 2), mode="bilinear", align_corners=True),
        own=True,
    ),
    Row(spec.Glu(), (3, 4, 2), lambda: nn.GLU(1)),
    Row(spec.Prelu(), (3, 4, 2), nn.PReLU, close=ROUNDED),
    Row(spec.Prelu("channels"), (3, 4, 2), lambda: nn.PReLU(2)),
]
"""With ``conventions: torch``."""
