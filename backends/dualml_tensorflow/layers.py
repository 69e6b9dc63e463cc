"""Layers: one native Keras layer for each operation of a graph. Shapes, names and settings come from the node.

Every layer is told its dtype and data format, so neither ``keras.config.floatx()`` nor ``keras.json`` matters.
Initial values come from the core, so kernels start at zeros here: Keras' own initializers would draw numbers that
nobody uses and move Python's global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from dualml.spec import layers as spec
from dualml.spec.graph import Node
from dualml_tensorflow.activations import ACTIVATIONS


@keras.saving.register_keras_serializable(package="dualml")
class MaskedDropout(keras.layers.Dropout):  # type: ignore[misc] # keras is untyped
    """Dropout whose mask may be given: ``y = x m / (1 - rate)``; without one it is its stock base class.

    Why not stock: ``keras.layers.Dropout`` always draws its own mask, which no other framework can repeat.

    Attributes:
        mask: Which values to keep, shape of the inputs, dtype bool; ``None``: draw, as the base class does.
    """

    def __init__(self, rate: float, **settings: Any) -> None:
        super().__init__(rate, **settings)
        self.mask: Any = None

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Values of the inputs' shape and dtype; in inference the inputs themselves."""
        if not training or self.mask is None:
            return super().call(inputs, training=training)
        return inputs * tf.cast(self.mask, inputs.dtype) / (1.0 - self.rate)


@contextmanager
def given_masks(model: Any, masks: Mapping[str, Any]) -> Iterator[None]:
    """Within it, the dropout layers of a model use these masks.

    A traced function reads the masks while it is traced, so they must be among its arguments.

    Args:
        model: The Keras model.
        masks: Tensors by layer name, dtype bool.
    """
    layers = [(model.get_layer(name), mask) for name, mask in masks.items()]
    for layer, mask in layers:
        layer.mask = mask
    try:
        yield
    finally:
        for layer, _ in layers:
            layer.mask = None


def _dense(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    settings: spec.Dense = node.settings
    return keras.layers.Dense(
        settings.units,
        use_bias=settings.bias,
        kernel_initializer="zeros",
        bias_initializer="zeros",
        name=node.name,
        dtype=precision,
    )


def _activation(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    function = node.settings.function
    return ACTIVATIONS[function.kind](function, precision, node.name)


def _flatten(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    return keras.layers.Flatten(data_format="channels_last", name=node.name, dtype=precision)


def _reshape(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    return keras.layers.Reshape(node.shape, name=node.name, dtype=precision)


def _dropout(node: Node, precision: str, native_randomness: bool) -> Any:
    kind = keras.layers.Dropout if native_randomness else MaskedDropout
    # Without a seed Keras takes one from Python's global random state; Network.seed sets the real one.
    return kind(node.settings.rate, seed=0, name=node.name, dtype=precision)


def _add(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    return keras.layers.Add(name=node.name, dtype=precision)


def _concat(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    rank = len(node.shape)
    axis = node.settings.axis % rank + 1  # Keras counts the batch axis
    return keras.layers.Concatenate(axis=axis, name=node.name, dtype=precision)


LAYERS: Mapping[str, Callable[[Node, str, bool], Any]] = {
    spec.Dense.kind: _dense,
    spec.Activation.kind: _activation,
    spec.Flatten.kind: _flatten,
    spec.Reshape.kind: _reshape,
    spec.Dropout.kind: _dropout,
    spec.Add.kind: _add,
    spec.Concat.kind: _concat,
}
"""For each operation, a function ``(node, precision, native randomness)`` that makes the layer."""
