"""Layers that drop values at random in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make, Masked


@keras.saving.register_keras_serializable(package="dualml")
class MaskedDropout(keras.layers.Dropout, Masked):  # type: ignore[misc] # keras is untyped
    """Dropout whose mask may be given: ``y = x m / (1 - rate)``; without one it is its stock base class.

    Why not stock: ``keras.layers.Dropout`` always draws its own mask, which no other framework can repeat.

    Attributes:
        mask: Which values to keep, a shape that broadcasts with the inputs, dtype bool; ``None``: draw, as the base
            class does.
    """

    def __init__(self, rate: float, **settings: Any) -> None:
        super().__init__(rate, **settings)
        self.mask: Any = None

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Values of the inputs' shape and dtype; in inference the inputs themselves."""
        if not training or self.mask is None:
            return super().call(inputs, training=training)
        return inputs * tf.cast(self.mask, inputs.dtype) / (1.0 - self.rate)


def dropout(node: Node, precision: str, native_randomness: bool) -> Any:
    """``keras.layers.Dropout`` with its own masks, or ``MaskedDropout`` with given ones."""
    kind = keras.layers.Dropout if native_randomness else MaskedDropout
    # Without a seed Keras takes one from Python's global random state; Network.seed sets the real one.
    return kind(node.settings.rate, seed=0, name=node.name, dtype=precision)


LAYERS: Mapping[str, Make] = {"dropout": dropout}
