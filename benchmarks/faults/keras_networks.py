"""The six networks as Keras models, functional as the Keras guides write them, channels last.

The same parts under the same names as in ``torch_networks``; settings are those that make them mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.faults.parts import Parts

CLASSES = 5
VOCABULARY, EMBEDDED, UNITS, HEADS, LENGTH = 20, 8, 8, 2, 8
IMAGE = (12, 12, 4)
NORM = {"epsilon": 1e-5, "momentum": 0.9}


def mlp(part: Parts, *, twice: bool = False, copies: bool = False, softmax: bool = False) -> keras.Model:
    """Three dense layers; ``twice`` uses the middle one twice."""
    inputs = keras.Input((12,), name="inputs")
    x = part("act1", layers.ReLU)(part("hidden1", layers.Dense, 10)(inputs))
    if (extra := part.optional("extra")) is not None:
        x = extra(x)
    hidden, act = part("hidden2", layers.Dense, 10), part("act2", layers.Activation, "tanh")
    x = act(hidden(x))
    if copies:
        x = part("act2_copy", layers.Activation, "tanh")(part("hidden2_copy", layers.Dense, 10)(x))
    elif twice:
        x = act(hidden(x))
    x = part("head", layers.Dense, CLASSES)(x)
    if softmax:
        x = part("softmax", layers.Softmax)(x)
    return keras.Model(inputs, x)


def lenet(part: Parts, *, relu_first: bool = False) -> keras.Model:
    """Two convolutions with batch norm and pooling, two dense layers; ``relu_first``: norm behind the ReLU."""
    inputs = keras.Input(IMAGE, name="inputs")
    x = part("conv1", layers.Conv2D, 4, 3, padding="same")(inputs)
    norm1, relu1 = part("norm1", layers.BatchNormalization, **NORM), part("relu1", layers.ReLU)
    x = norm1(relu1(x)) if relu_first else relu1(norm1(x))
    x = part("pool1", layers.MaxPooling2D, 2)(x)
    if (extra := part.optional("extra")) is not None:
        x = extra(x)
    x = part("conv2", layers.Conv2D, 6, 3)(x)
    x = part("norm2", layers.BatchNormalization, **NORM)(x)
    x = part("pool2", layers.AveragePooling2D, 2)(part("relu2", layers.ReLU)(x))
    x = part("fc1", layers.Dense, 10)(part("flatten", layers.Flatten)(x))
    x = part("relu3", layers.ReLU)(x)
    if (late := part.optional("late")) is not None:
        x = late(x)
    return keras.Model(inputs, part("fc2", layers.Dense, CLASSES)(x))


def residual(part: Parts, *, add_after_relu: bool = False) -> keras.Model:
    """A stem, one residual block of stride 2 with a projected shortcut, and global average pooling.

    The convolution of stride 2 is padded by a layer of its own: ``same`` would pad one side only.
    """
    inputs = keras.Input(IMAGE, name="inputs")
    x = part("stem", layers.Conv2D, 4, 3, padding="same", use_bias=False)(inputs)
    x = part("stem_relu", layers.ReLU)(part("stem_norm", layers.BatchNormalization, **NORM)(x))
    if (extra := part.optional("extra")) is not None:
        x = extra(x)
    kept = part("shortcut", layers.Conv2D, 6, 1, strides=2, use_bias=False)(x)
    kept = part("shortcut_norm", layers.BatchNormalization, **NORM)(kept)
    padding = part("pad1", layers.ZeroPadding2D, 1)
    x = padding(x) if padding is not None else x
    x = part("conv1", layers.Conv2D, 6, 3, strides=2, use_bias=False)(x)
    x = part("relu1", layers.ReLU)(part("norm1", layers.BatchNormalization, **NORM)(x))
    x = part("conv2", layers.Conv2D, 6, 3, padding="same", use_bias=False)(x)
    x = part("norm2", layers.BatchNormalization, **NORM)(x)
    add, relu = part("add", layers.Add), part("relu2", layers.ReLU)
    x = add([relu(x), kept]) if add_after_relu else relu(add([x, kept]))
    x = part("pool", layers.GlobalAveragePooling2D)(x)
    if (late := part.optional("late")) is not None:
        x = late(x)
    return keras.Model(inputs, part("fc", layers.Dense, CLASSES)(x))


def _recurrent(part: Parts, kind: Callable[..., Any]) -> keras.Model:
    inputs = keras.Input((LENGTH,), dtype="int32", name="inputs")
    x = part("embedding", layers.Embedding, VOCABULARY, EMBEDDED)(inputs)
    if (extra := part.optional("extra")) is not None:
        x = extra(x)
    x = part("rnn", kind, UNITS)(x)
    if (act := part.optional("act")) is not None:
        x = act(x)
    return keras.Model(inputs, part("head", layers.Dense, CLASSES)(x))


def lstm(part: Parts) -> keras.Model:
    """Embedding, LSTM, its last output, a dense layer."""
    return _recurrent(part, layers.LSTM)


def gru(part: Parts) -> keras.Model:
    """Embedding, GRU, its last output, a dense layer."""
    return _recurrent(part, layers.GRU)


class Positions(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Adds a learned embedding of the position, as the Keras transformer example does."""

    def __init__(self, make: Callable[[], Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.table = make()

    def call(self, inputs: Any) -> Any:
        return inputs + self.table(keras.ops.arange(LENGTH))


def transformer(part: Parts, *, pre_norm: bool = False, windowed: bool = False, inverted: bool = False) -> keras.Model:
    """Token and position embeddings, one encoder block, mean over positions, a dense layer."""
    inputs = keras.Input((LENGTH,), dtype="int32", name="inputs")
    x = part("tokens", layers.Embedding, VOCABULARY, EMBEDDED)(inputs)
    x = Positions(lambda: part("positions", layers.Embedding, LENGTH, EMBEDDED), name="add_positions")(x)
    if (extra := part.optional("extra")) is not None:
        x = extra(x)
    attention = part("attention", layers.MultiHeadAttention, HEADS, EMBEDDED // HEADS)
    norm1 = part("norm1", layers.LayerNormalization, epsilon=1e-5)
    wide, act, narrow = part("wide", layers.Dense, 16), part("act", layers.ReLU), part("narrow", layers.Dense, EMBEDDED)
    norm2 = part("norm2", layers.LayerNormalization, epsilon=1e-5)
    add1, add2 = part("add1", layers.Add), part("add2", layers.Add)
    seen = None
    if windowed:
        distance = np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH))[None]
        seen = distance > 1 if inverted else distance <= 1

    def attend(x: Any) -> Any:
        return attention(x, x, attention_mask=seen)

    if pre_norm:
        x = add1([x, attend(norm1(x))])
        x = add2([x, narrow(act(wide(norm2(x))))])
    else:
        x = norm1(add1([x, attend(x)]))
        x = norm2(add2([x, narrow(act(wide(x)))]))
    x = part("mean", layers.GlobalAveragePooling1D)(x)
    return keras.Model(inputs, part("head", layers.Dense, CLASSES)(x))


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "mlp": mlp,
    "lenet": lenet,
    "residual": residual,
    "lstm": lstm,
    "gru": gru,
    "transformer": transformer,
}
