"""Embeddings of whole numbers, the projection tied to one, and embeddings of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers import embedding as spec
from dualml.spec.layers.positions import Placing
from dualml_tensorflow.layers.base import Make, Variables


@keras.saving.register_keras_serializable(package="dualml")
class PaddedEmbedding(keras.layers.Embedding):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Embedding`` with a row that this layer does not train, and rows times ``sqrt(output_dim)``.

    Why not stock: ``mask_zero`` trains row 0 as any other and attaches a mask to the output; there is no factor.

    Attributes:
        padding_index: The row without gradient, or ``None``.
        scale: Whether rows are multiplied.
    """

    def __init__(self, *sizes: int, padding_index: int | None = None, scale: bool = False, **settings: Any) -> None:
        super().__init__(*sizes, **settings)
        self.padding_index = padding_index
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        """Rows of the table, shape ``(*ids, output_dim)``."""
        rows = super().call(inputs)
        if self.padding_index is not None:
            padding = tf.equal(inputs, tf.cast(self.padding_index, inputs.dtype))[..., None]
            rows = tf.where(padding, tf.stop_gradient(rows), rows)
        return rows * math.sqrt(self.output_dim) if self.scale else rows

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "padding_index": self.padding_index, "scale": self.scale}


@keras.saving.register_keras_serializable(package="dualml")
class TiedDense(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """``y = x T^t + b`` with the table of an embedding.

    Why not stock: ``keras.layers.ReversibleEmbedding`` has no bias and makes both directions one layer, so an
    embedding would have to know that something is tied to it.

    Attributes:
        embedding: The embedding; its variable is this layer's.
    """

    def __init__(self, units: int, *, use_bias: bool, embedding: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units
        self.use_bias = use_bias
        self.embedding = embedding
        self.bias = None

    def tie(self, owner: Any) -> None:
        """Take the table of an embedding."""
        self.embedding = owner

    def build(self, input_shape: Any) -> None:
        """Make the bias."""
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Shape of the inputs, the last axis ``units``."""
        outputs = keras.ops.matmul(inputs, keras.ops.transpose(self.embedding.embeddings))
        return outputs if self.bias is None else outputs + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs' shape, the last axis ``units``."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes; within a saved model Keras finds that the embedding is the model's own."""
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias, "embedding": embedding}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TiedDense:
        """A layer from what ``get_config`` gave."""
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})


@keras.saving.register_keras_serializable(package="dualml")
class PositionEmbedding(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """Adds a trained row for each position; Keras itself has no such layer.

    Attributes:
        positions: Number of rows.
    """

    def __init__(self, positions: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.positions = positions

    def build(self, input_shape: Any) -> None:
        """Make the table."""
        self.table = self.add_weight(shape=(self.positions, input_shape[-1]), initializer="zeros", name="positions")

    def call(self, inputs: Any) -> Any:
        """Shape ``(examples, length, units)``, as the inputs."""
        return inputs + self.table[: inputs.shape[1]]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "positions": self.positions}


@keras.saving.register_keras_serializable(package="dualml")
class PositionEncoding(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """Adds sines and cosines of the position; Keras itself has no such layer.

    Attributes:
        base: Ratio of the longest wave to the shortest.
        placing: Where sines and cosines stand.
    """

    def __init__(self, base: float, placing: Placing, **settings: Any) -> None:
        super().__init__(**settings)
        self.base = base
        self.placing = placing

    def call(self, inputs: Any) -> Any:
        """Shape ``(examples, length, units)``, as the inputs."""
        encoding = spec.PositionEncoding(base=self.base, placing=self.placing).encoding(*inputs.shape[1:])
        return inputs + tf.constant(encoding, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "base": self.base, "placing": self.placing}


def embedding(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Embedding``, or ``PaddedEmbedding`` where there is padding or a factor."""
    settings = node.settings
    common = {"embeddings_initializer": "zeros", "name": node.name, "dtype": precision}
    if settings.padding_index is None and not settings.scale:
        return keras.layers.Embedding(settings.vocabulary, settings.units, mask_zero=False, **common)
    return PaddedEmbedding(
        settings.vocabulary,
        settings.units,
        padding_index=settings.padding_index,
        scale=settings.scale,
        mask_zero=False,
        **common,
    )


def tied_dense(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``TiedDense``."""
    return TiedDense(node.shape[-1], use_bias=node.settings.bias, name=node.name, dtype=precision)


def position_embedding(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``PositionEmbedding``."""
    return PositionEmbedding(node.parameters[0].shape[0], name=node.name, dtype=precision)


def position_encoding(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``PositionEncoding``."""
    return PositionEncoding(node.settings.base, node.settings.placing, name=node.name, dtype=precision)


def _table(layer: Any) -> Mapping[str, Any]:
    return {"table": layer.embeddings}


def _tied(layer: Any) -> Mapping[str, Any]:
    return {"kernel": layer.embedding.embeddings, "bias": layer.bias}


LAYERS: Mapping[str, Make] = {
    "embedding": embedding,
    "tied_dense": tied_dense,
    "position_embedding": position_embedding,
    "position_encoding": position_encoding,
}
VARIABLES: Mapping[str, Variables] = {"embedding": _table, "tied_dense": _tied}
