"""Keras models the way their documentation writes them, for the tests of the adapter."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def lenet(seed: int = 0) -> tuple[Any, Any, Any]:
    """A functional LeNet with batch norm: model, images, classes."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((12, 12, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(6, 3, activation="relu", use_bias=False, name="conv_2")(x)
    x = layers.AveragePooling2D(2, name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.25, name="dropout")(x)
    x = layers.Dense(16, activation="gelu", name="hidden")(x)
    outputs = layers.Dense(5, name="logits")(x)
    return keras.Model(inputs, outputs), _values(4, 12, 12, 1), _classes(4, 5)


def residual(seed: int = 0) -> tuple[Any, Any, Any]:
    """A residual net, with additions by operator and by layer."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    for number in range(2):
        y = layers.BatchNormalization(name=f"norm_{number}")(x)
        y = layers.ReLU(name=f"act_{number}")(y)
        y = layers.Conv2D(6, 3, padding="same", name=f"conv_{number}")(y)
        x = x + y if number else layers.Add(name="add_0")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x)), _values(3, 8, 8, 3), _classes(3, 4)


class Subclassed(keras.Model):
    """A subclass with layers in a list, ``tf.nn``, ``keras.ops`` and operators."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [layers.Dense(8) for _ in range(2)]
        self.head = layers.Dense(3)
        self.scale = self.add_weight(shape=(8,), initializer="ones", name="scale")
        self.matrix = self.add_weight(shape=(8, 8), initializer="orthogonal", name="matrix")
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = tf.nn.relu(self.blocks[0](inputs))
        y = keras.ops.gelu(self.blocks[1](x), approximate=True)
        x = keras.ops.matmul(x, self.matrix) + y * self.scale
        x = tf.concat([x, y[:, :2]], axis=-1)
        x = self.dropout(tf.nn.leaky_relu(x, alpha=0.1), training=training)
        return keras.ops.softmax(self.head(x), axis=-1)


def subclassed(seed: int = 0) -> tuple[Any, Any, Any]:
    """The subclass, built."""
    keras.utils.set_random_seed(seed)
    model, values = Subclassed(), _values(4, 8)
    model(values)
    return model, values, _classes(4, 3)


def recurrent(seed: int = 0) -> tuple[Any, Any, Any]:
    """An LSTM classifier of padded token sequences, as Keras' guide to masking writes it."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(11, 5, mask_zero=True, name="embedding")(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(x)
    x = layers.GRU(3, name="gru")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    tokens = np.random.default_rng(1).integers(1, 11, (3, 6)).astype("int32")
    tokens[0, 4:] = 0
    tokens[2, 2:] = 0
    return model, tokens, _classes(3, 2)


def transformer(seed: int = 0) -> tuple[Any, Any, Any]:
    """An encoder block, pre-norm, with a causal attention and dropout on its weights."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((5, 8))
    y = layers.LayerNormalization(epsilon=1e-6, name="norm_1")(inputs)
    y = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")(y, y, use_causal_mask=True)
    x = inputs + y
    y = layers.LayerNormalization(name="norm_2")(x)
    y = layers.Dense(16, activation="gelu", name="wide")(y)
    y = layers.Dense(8, name="narrow")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.Dense(3, name="head")(x[:, 0])
    return keras.Model(inputs, x), _values(2, 5, 8), _classes(2, 3)


MODELS = {
    "lenet": lenet,
    "residual": residual,
    "subclassed": subclassed,
    "recurrent": recurrent,
    "transformer": transformer,
}


def loss_of(name: str) -> Any:
    """The loss of a model: from logits, but for the one that ends in softmax."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=name != "subclassed")


def _values(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _classes(examples: int, classes: int) -> Any:
    return np.random.default_rng(2).integers(0, classes, examples)
