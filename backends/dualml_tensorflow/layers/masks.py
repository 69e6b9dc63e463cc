"""Layers that make masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make, Source


@keras.saving.register_keras_serializable(package="dualml")
class PaddingMask(keras.layers.Layer, Source):  # type: ignore[misc] # keras is untyped
    """1 where an id is not ``index``, else 0.

    Why not stock: ``keras.layers.Embedding(mask_zero=True)`` and ``keras.layers.Masking`` attach their mask to the
    tensor; later layers and the loss then read it without being asked to.

    Attributes:
        index: The id that stands for padding.
    """

    def __init__(self, index: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.index = index

    def call(self, inputs: Any) -> Any:
        """A mask of the inputs' shape, in the layer's dtype."""
        return self.seen(tf.cast(tf.not_equal(inputs, tf.cast(self.index, inputs.dtype)), self.compute_dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "index": self.index}


def padding_mask(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``PaddingMask`` in the model's precision."""
    return PaddingMask(node.settings.index, name=node.name, dtype=precision)


LAYERS: Mapping[str, Make] = {"padding_mask": padding_mask}
