"""The same networks written otherwise in Keras: refactored code that must be found equal."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from benchmarks.faults.keras_networks import CLASSES, EMBEDDED, HEADS, IMAGE, LENGTH, NORM, UNITS, VOCABULARY, Positions
from benchmarks.faults.parts import Parts


def fused_mlp(part: Parts) -> keras.Model:
    """Activations inside the dense layers, in a ``Sequential``."""
    return keras.Sequential(
        [
            keras.Input((12,)),
            part("hidden1", layers.Dense, 10, activation="relu"),
            part("hidden2", layers.Dense, 10, activation="tanh"),
            part("head", layers.Dense, CLASSES),
        ]
    )


class Subclassed(keras.Model):  # type: ignore[misc]  # Keras has no types
    """The dense network as a subclass with TensorFlow's functions."""

    def __init__(self, part: Parts) -> None:
        super().__init__()
        self.hidden1 = part("hidden1", layers.Dense, 10)
        self.hidden2 = part("hidden2", layers.Dense, 10)
        self.head = part("head", layers.Dense, CLASSES)

    def call(self, inputs: Any) -> Any:
        return self.head(tf.math.tanh(self.hidden2(tf.nn.relu(self.hidden1(inputs)))))


def subclassed_mlp(part: Parts) -> keras.Model:
    """``Subclassed``, built."""
    model = Subclassed(part)
    model(ops.zeros((1, 12)))
    return model


def fused_lenet(part: Parts) -> keras.Model:
    """A ``Sequential``; the activation that can be inside a layer is."""
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            part("conv1", layers.Conv2D, 4, 3, padding="same"),
            part("norm1", layers.BatchNormalization, **NORM),
            part("relu1", layers.Activation, "relu"),
            part("pool1", layers.MaxPooling2D, 2),
            part("conv2", layers.Conv2D, 6, 3),
            part("norm2", layers.BatchNormalization, **NORM),
            part("relu2", layers.Activation, "relu"),
            part("pool2", layers.AveragePooling2D, 2),
            part("flatten", layers.Flatten),
            part("fc1", layers.Dense, 10, activation="relu"),
            part("fc2", layers.Dense, CLASSES),
        ]
    )


def operator_residual(part: Parts) -> keras.Model:
    """``+`` and ``keras.ops`` in place of merging and pooling layers."""
    inputs = keras.Input(IMAGE, name="inputs")
    x = part("stem", layers.Conv2D, 4, 3, padding="same", use_bias=False)(inputs)
    x = ops.relu(part("stem_norm", layers.BatchNormalization, **NORM)(x))
    kept = part("shortcut", layers.Conv2D, 6, 1, strides=2, use_bias=False)(x)
    kept = part("shortcut_norm", layers.BatchNormalization, **NORM)(kept)
    x = part("conv1", layers.Conv2D, 6, 3, strides=2, use_bias=False)(part("pad1", layers.ZeroPadding2D, 1)(x))
    x = ops.relu(part("norm1", layers.BatchNormalization, **NORM)(x))
    x = part("conv2", layers.Conv2D, 6, 3, padding="same", use_bias=False)(x)
    x = ops.relu(part("norm2", layers.BatchNormalization, **NORM)(x) + kept)
    return keras.Model(inputs, part("fc", layers.Dense, CLASSES)(ops.mean(x, axis=(1, 2))))


def _all_steps(part: Parts, kind: Any) -> keras.Model:
    inputs = keras.Input((LENGTH,), dtype="int32", name="inputs")
    x = part("embedding", layers.Embedding, VOCABULARY, EMBEDDED)(inputs)
    x = part("rnn", kind, UNITS, return_sequences=True)(x)
    return keras.Model(inputs, part("head", layers.Dense, CLASSES)(x[:, -1]))


def all_steps_lstm(part: Parts) -> keras.Model:
    """Every output of the LSTM, of which the last is taken."""
    return _all_steps(part, layers.LSTM)


def all_steps_gru(part: Parts) -> keras.Model:
    """The same of the GRU."""
    return _all_steps(part, layers.GRU)


def operator_transformer(part: Parts) -> keras.Model:
    """``+`` and ``keras.ops`` in place of merging and pooling layers, the activation inside."""
    inputs = keras.Input((LENGTH,), dtype="int32", name="inputs")
    x = part("tokens", layers.Embedding, VOCABULARY, EMBEDDED)(inputs)
    x = Positions(lambda: part("positions", layers.Embedding, LENGTH, EMBEDDED), name="add_positions")(x)
    x = part("norm1", layers.LayerNormalization, epsilon=1e-5)(
        x + part("attention", layers.MultiHeadAttention, HEADS, EMBEDDED // HEADS)(x, x)
    )
    wide = part("wide", layers.Dense, 16, activation="relu")(x)
    x = part("norm2", layers.LayerNormalization, epsilon=1e-5)(x + part("narrow", layers.Dense, EMBEDDED)(wide))
    return keras.Model(inputs, part("head", layers.Dense, CLASSES)(ops.mean(x, axis=1)))


REFACTORED: dict[str, dict[str, Any]] = {
    "mlp": {"fused": fused_mlp, "subclassed": subclassed_mlp},
    "lenet": {"fused": fused_lenet},
    "residual": {"operators": operator_residual},
    "lstm": {"all_steps": all_steps_lstm},
    "gru": {"all_steps": all_steps_gru},
    "transformer": {"operators": operator_transformer},
}
