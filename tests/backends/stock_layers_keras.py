"""Every layer's stock counterpart in Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from stock_support import IDS, PAIR, ROUNDED, SINGLE, Row

from dualml.spec import layers as spec

KL: Any = keras.layers
BOTH = {"inputs": list(PAIR)}


def heads_in_keras(weights: Mapping[str, Any], heads: int = 2) -> dict[str, Any]:
    """The weights of ``keras.layers.MultiHeadAttention``, whose kernels have an axis for heads."""
    found = {}
    for part in ("query", "key", "value"):
        kernel = weights[f"{part}_kernel"]
        found[f"{part} kernel"] = kernel.reshape(len(kernel), heads, -1)
        found[f"{part} bias"] = weights[f"{part}_bias"].reshape(heads, -1)
    kernel = weights["output_kernel"]
    return {
        **found,
        "output kernel": kernel.reshape(heads, -1, kernel.shape[-1]),
        "output bias": weights["output_bias"],
    }


def heads(dtype: str) -> Any:
    """``keras.layers.MultiHeadAttention`` whose heads have 4 values, so that its float32 scale is exact."""
    return KL.MultiHeadAttention(2, 4, dtype=dtype)


def attending(layer: Any, values: list[Any]) -> Any:
    """Self-attention."""
    return layer(values[0], values[0])


KERAS = [
    Row(spec.Dense(3), (4,), lambda dtype: KL.Dense(3, dtype=dtype)),
    Row(spec.Conv1d(6, 3), (9, 4), lambda dtype: KL.Conv1D(6, 3, dtype=dtype)),
    Row(spec.Conv2d(6, (3, 2)), (7, 6, 4), lambda dtype: KL.Conv2D(6, (3, 2), dtype=dtype)),
    Row(spec.Conv3d(6, 2), (4, 5, 3, 4), lambda dtype: KL.Conv3D(6, 2, dtype=dtype)),
    Row(
        spec.Conv1d(6, 3, dilation=2, padding="causal"),
        (9, 4),
        lambda dtype: KL.Conv1D(6, 3, dilation_rate=2, padding="causal", dtype=dtype),
    ),
    Row(
        spec.Conv2d(6, 3, stride=2, padding="same"),
        (8, 7, 4),
        lambda dtype: KL.Conv2D(6, 3, strides=2, padding="same", dtype=dtype),
    ),
    Row(spec.Conv2d(6, 3, groups=2), (7, 6, 4), lambda dtype: KL.Conv2D(6, 3, groups=2, dtype=dtype)),
    Row(
        spec.Conv2d(6, 3, dilation=2, padding="same"),
        (7, 6, 4),
        lambda dtype: KL.Conv2D(6, 3, dilation_rate=2, padding="same", dtype=dtype),
    ),
    Row(spec.DepthwiseConv1d(3), (8, 4), lambda dtype: KL.DepthwiseConv1D(3, dtype=dtype)),
    Row(spec.DepthwiseConv2d(3), (8, 7, 4), lambda dtype: KL.DepthwiseConv2D(3, dtype=dtype)),
    Row(
        spec.DepthwiseConv1d(3, multiplier=2, stride=2, padding="same"),
        (8, 4),
        lambda dtype: KL.DepthwiseConv1D(3, depth_multiplier=2, strides=2, padding="same", dtype=dtype),
    ),
    Row(
        spec.DepthwiseConv2d(3, multiplier=2),
        (8, 7, 4),
        lambda dtype: KL.DepthwiseConv2D(3, depth_multiplier=2, dtype=dtype),
    ),
    Row(spec.ConvTranspose1d(6, 2), (5, 4), lambda dtype: KL.Conv1DTranspose(6, 2, dtype=dtype)),
    Row(spec.ConvTranspose2d(6, 3), (5, 4, 4), lambda dtype: KL.Conv2DTranspose(6, 3, dtype=dtype)),
    Row(spec.ConvTranspose1d(6, 2, stride=3), (5, 4), lambda dtype: KL.Conv1DTranspose(6, 2, strides=3, dtype=dtype)),
    Row(
        spec.ConvTranspose2d(6, 3, stride=2, padding="same"),
        (5, 4, 4),
        lambda dtype: KL.Conv2DTranspose(6, 3, strides=2, padding="same", dtype=dtype),
    ),
    Row(
        spec.ConvTranspose2d(6, 3, stride=2, output_padding=1),
        (5, 4, 4),
        lambda dtype: KL.Conv2DTranspose(6, 3, strides=2, output_padding=1, dtype=dtype),
    ),
    Row(spec.Activation("tanh"), (4,), lambda dtype: KL.Activation("tanh", dtype=dtype)),
    Row(spec.Flatten(), (3, 4, 2), lambda dtype: KL.Flatten(dtype=dtype)),
    Row(spec.Reshape((2, 3)), (6,), lambda dtype: KL.Reshape((2, 3), dtype=dtype)),
    Row(spec.Dropout(0.3), (40,), lambda dtype: KL.Dropout(0.3, dtype=dtype), drawn=True),
    Row(spec.SpatialDropout(0.3), (3, 4, 9), lambda dtype: KL.SpatialDropout2D(0.3, dtype=dtype), drawn=True),
    Row(spec.AlphaDropout(0.3), (40,), lambda dtype: KL.AlphaDropout(0.3, dtype=dtype), drawn=True),
    *(
        Row(kind(**BOTH), PAIR, lambda dtype, kind=kind: getattr(KL, kind.__name__)(dtype=dtype), lambda f, x: f(x))
        for kind in (spec.Add, spec.Subtract, spec.Multiply, spec.Average, spec.Maximum, spec.Minimum)
    ),
    Row(spec.Concat(**BOTH), PAIR, lambda dtype: KL.Concatenate(dtype=dtype), lambda layer, values: layer(values)),
    Row(spec.Embedding(7, 4), IDS, lambda dtype: KL.Embedding(7, 4, dtype=dtype)),
    Row(spec.Attention(2), (5, 8), heads, attending, pack=heads_in_keras, own=True, close=8 * ROUNDED),
    Row(spec.LayerNorm(), (4, 5), lambda dtype: KL.LayerNormalization(dtype=dtype)),
    Row(spec.RmsNorm(), (4, 5), lambda dtype: KL.RMSNormalization(dtype=dtype)),
    Row(spec.UnitNorm(), (4, 5), lambda dtype: KL.UnitNormalization(dtype=dtype)),
    Row(spec.BatchNorm(), (4, 3, 5), lambda dtype: KL.BatchNormalization(dtype=dtype)),
    Row(spec.GroupNorm(2), (3, 4, 6), lambda dtype: KL.GroupNormalization(groups=2, dtype=dtype)),
    Row(spec.InstanceNorm(), (3, 4, 5), lambda dtype: KL.GroupNormalization(groups=-1, dtype=dtype)),
    Row(spec.SimpleRnn(3), (5, 4), lambda dtype: KL.SimpleRNN(3, dtype=dtype)),
    Row(spec.Lstm(3), (5, 4), lambda dtype: KL.LSTM(3, dtype=dtype)),
    Row(spec.Gru(3), (5, 4), lambda dtype: KL.GRU(3, dtype=dtype)),
    Row(spec.Gru(3, reset_after=False), (5, 4), lambda dtype: KL.GRU(3, reset_after=False, dtype=dtype)),
    Row(
        spec.SimpleRnn(3, return_sequences=True),
        (5, 4),
        lambda dtype: KL.SimpleRNN(3, return_sequences=True, dtype=dtype),
    ),
    Row(spec.Lstm(3, return_sequences=True), (5, 4), lambda dtype: KL.LSTM(3, return_sequences=True, dtype=dtype)),
    Row(spec.Gru(3, return_sequences=True), (5, 4), lambda dtype: KL.GRU(3, return_sequences=True, dtype=dtype)),
    *(
        Row(kind(2), shape, lambda dtype, stock=stock: stock(2, dtype=dtype))
        for kind, stock, shape in (
            (spec.MaxPool1d, KL.MaxPooling1D, (5, 2)),
            (spec.MaxPool2d, KL.MaxPooling2D, (5, 6, 2)),
            (spec.AveragePool1d, KL.AveragePooling1D, (5, 2)),
            (spec.AveragePool2d, KL.AveragePooling2D, (5, 6, 2)),
        )
    ),
    Row(
        spec.AveragePool3d(2),
        (4, 2, 3, 1),
        lambda dtype: KL.AveragePooling3D(2, dtype=dtype),
        own=True,
        close=3e-7,
        precisions=SINGLE,
    ),
    *(  # TensorFlow has no float64 kernel for these
        Row(kind(2), (4, 2, 3, 1), lambda dtype, stock=stock: stock(2, dtype=dtype), own=True, precisions=SINGLE)
        for kind, stock in (
            (spec.MaxPool3d, KL.MaxPooling3D),
            (spec.AdaptiveAveragePool3d, KL.AdaptiveAveragePooling3D),
            (spec.AdaptiveMaxPool3d, KL.AdaptiveMaxPooling3D),
        )
    ),
    Row(
        spec.MaxPool2d(3, stride=2, padding="same"), (6, 7, 2), lambda dtype: KL.MaxPooling2D(3, 2, "same", dtype=dtype)
    ),
    Row(spec.MaxPool2d(2, ceil_mode=True), (5, 6, 1), lambda dtype: KL.MaxPooling2D(padding="same", dtype=dtype)),
    Row(
        spec.AveragePool2d(3, stride=2, padding="same"),
        (6, 7, 2),
        lambda dtype: KL.AveragePooling2D(3, 2, "same", dtype=dtype),
    ),
    Row(
        spec.AveragePool2d(2, ceil_mode=True),
        (5, 6, 1),
        lambda dtype: KL.AveragePooling2D(2, padding="same", dtype=dtype),
    ),
    *(
        Row(kind(size), shape, lambda dtype, stock=stock, size=size: stock(size, dtype=dtype), own=True, close=ROUNDED)
        for kind, stock, size, shape in (
            (spec.AdaptiveAveragePool1d, KL.AdaptiveAveragePooling1D, 3, (7, 2)),
            (spec.AdaptiveAveragePool2d, KL.AdaptiveAveragePooling2D, (3, 5), (7, 8, 2)),
            (spec.AdaptiveMaxPool1d, KL.AdaptiveMaxPooling1D, 3, (7, 2)),
            (spec.AdaptiveMaxPool2d, KL.AdaptiveMaxPooling2D, (3, 5), (7, 8, 2)),
        )
    ),
    Row(spec.GlobalAveragePool(), (4, 5, 3), lambda dtype: KL.GlobalAveragePooling2D(dtype=dtype)),
    Row(spec.GlobalMaxPool(), (4, 5, 3), lambda dtype: KL.GlobalMaxPooling2D(dtype=dtype)),
    Row(spec.GlobalMaxPool(keep_axes=True), (4, 3), lambda dtype: KL.GlobalMaxPooling1D(keepdims=True, dtype=dtype)),
    Row(spec.Permute((2, 0, 1)), (3, 4, 2), lambda dtype: KL.Permute((3, 1, 2), dtype=dtype)),
    Row(spec.Pad(1), (3, 4, 2), lambda dtype: KL.ZeroPadding2D(1, dtype=dtype)),
    Row(spec.Pad(((1, 2), (3, 0))), (3, 4, 2), lambda dtype: KL.ZeroPadding2D(((1, 2), (3, 0)), dtype=dtype)),
    Row(spec.Pad(((1, 2),)), (3, 2), lambda dtype: KL.ZeroPadding1D((1, 2), dtype=dtype)),
    Row(spec.Crop(((1, 0), (0, 2))), (3, 4, 2), lambda dtype: KL.Cropping2D(((1, 0), (0, 2)), dtype=dtype)),
    Row(spec.Crop(1), (3, 2), lambda dtype: KL.Cropping1D(1, dtype=dtype)),
    Row(spec.Resize(scale=2), (3, 4, 2), lambda dtype: KL.UpSampling2D(2, dtype=dtype)),
    Row(spec.Resize(scale=3), (3, 2), lambda dtype: KL.UpSampling1D(3, dtype=dtype)),
    Row(spec.Glu(), (3, 4), lambda _: keras.activations.glu, own=True),
    Row(spec.Prelu(), (3, 4, 2), lambda dtype: KL.PReLU(dtype=dtype), own=True),
]
"""With ``conventions: keras``."""
