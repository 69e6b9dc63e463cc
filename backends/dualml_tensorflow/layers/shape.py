"""Layers that only move values, and resizing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers.shape import axis_of
from dualml.spec.layers.sliding import source_positions
from dualml_tensorflow.layers.base import Make


@keras.saving.register_keras_serializable(package="dualml")
class FlattenChannelsFirst(keras.layers.Flatten):  # type: ignore[misc] # keras is untyped
    """A flatten of values with channels last that lets them vary slowest.

    Why not stock: ``keras.layers.Flatten`` lets channels vary fastest, whatever its ``data_format`` is.
    """

    def call(self, inputs: Any) -> Any:
        """Channels to the front, then one axis."""
        rank = len(inputs.shape)
        return super().call(tf.transpose(inputs, (0, rank - 1, *range(1, rank - 1))))


@keras.saving.register_keras_serializable(package="dualml")
class Take(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """Given positions along each axis, as many times as they are named.

    Why not stock: Keras has no layer that pads with an input's own values, and one that resizes to nearest values by
    whole factors only.

    Attributes:
        positions: For each spatial axis.
    """

    def __init__(self, positions: list[list[int]], **settings: Any) -> None:
        super().__init__(**settings)
        self.positions = positions

    def call(self, inputs: Any) -> Any:
        """One axis after the other."""
        values = inputs
        for axis, positions in enumerate(self.positions, start=1):
            values = tf.gather(values, np.array(positions, dtype=np.int64), axis=axis)
        return values

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As many values as positions."""
        return (input_shape[0], *(len(positions) for positions in self.positions), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "positions": self.positions}


@keras.saving.register_keras_serializable(package="dualml")
class Slice(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """A part of one axis; Keras has no layer for it.

    Attributes:
        axis: Counted with the examples'.
        kept: First position, position to stop before, and distance between positions.
    """

    def __init__(self, axis: int, kept: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis, self.kept = axis, tuple(kept)

    def call(self, inputs: Any) -> Any:
        """The values there."""
        return inputs[(slice(None),) * self.axis + (slice(*self.kept),)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's with less of one axis."""
        return (*input_shape[: self.axis], len(range(*self.kept)), *input_shape[self.axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "axis": self.axis, "kept": self.kept}


@keras.saving.register_keras_serializable(package="dualml")
class Select(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """One position of an axis; Keras has no layer for it.

    Attributes:
        axis: Counted with the examples'.
        index: The position.
    """

    def __init__(self, axis: int, index: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis, self.index = axis, index

    def call(self, inputs: Any) -> Any:
        """The values there."""
        return inputs[(slice(None),) * self.axis + (self.index,)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's without the axis."""
        return (*input_shape[: self.axis], *input_shape[self.axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "axis": self.axis, "index": self.index}


@keras.saving.register_keras_serializable(package="dualml")
class ConstantPadding(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """A constant around the spatial axes; ``keras.layers.ZeroPadding*`` puts zeros only.

    Attributes:
        padding: A pair for each spatial axis.
        value: What is put there.
    """

    def __init__(self, padding: Any, value: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.padding, self.value = [tuple(pair) for pair in padding], value

    def call(self, inputs: Any) -> Any:
        """Values with more around them."""
        value = tf.constant(self.value, inputs.dtype)
        return tf.pad(inputs, [(0, 0), *self.padding, (0, 0)], constant_values=value)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """More of each spatial axis."""
        sizes = [size + sum(pair) for size, pair in zip(input_shape[1:-1], self.padding, strict=True)]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "padding": self.padding, "value": self.value}


@keras.saving.register_keras_serializable(package="dualml")
class LinearResize(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """Spatial axes stretched or shrunk: ``(1 - weight) x[low] + weight x[low + 1]`` along each.

    Why not stock: ``keras.layers.UpSampling2D`` and ``keras.layers.Resizing`` compute in float32 whatever the dtype is,
    know one alignment and two axes only.

    Attributes:
        low: Positions along each spatial axis.
        weights: Distances from them.
    """

    def __init__(self, low: list[list[int]], weights: list[list[float]], **settings: Any) -> None:
        super().__init__(**settings)
        self.low, self.weights_along = low, weights

    def call(self, inputs: Any) -> Any:
        """One axis after the other, from the last."""
        values = inputs
        for axis in range(len(self.low), 0, -1):
            low = np.array(self.low[axis - 1], dtype=np.int64)
            shape = [1] * len(inputs.shape)
            shape[axis] = -1
            weight = tf.constant(np.array(self.weights_along[axis - 1]).reshape(shape), values.dtype)
            high = np.minimum(low + 1, values.shape[axis] - 1)
            values = tf.gather(values, low, axis=axis) * (1 - weight) + tf.gather(values, high, axis=axis) * weight
        return values

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As many values as positions."""
        return (input_shape[0], *(len(low) for low in self.low), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "low": self.low, "weights": self.weights_along}


def flatten(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Flatten``, or its kin that lets channels vary slowest."""
    kind = FlattenChannelsFirst if node.settings.order == "channels_first" else keras.layers.Flatten
    return kind(data_format="channels_last", name=node.name, dtype=precision)


def reshape(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Reshape``."""
    return keras.layers.Reshape(node.shape, name=node.name, dtype=precision)


def permute(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Permute``, which counts an example's axes from 1."""
    return keras.layers.Permute(tuple(axis + 1 for axis in node.settings.axes), name=node.name, dtype=precision)


def pad(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.ZeroPadding*``, ``ConstantPadding`` or ``Take``."""
    settings, shape = node.settings, node.input_shapes[0]
    pads = settings.pads(shape)
    named = {"name": node.name, "dtype": precision}
    if settings.padding_mode != "zeros":
        positions = [
            source_positions(size, pair, settings.padding_mode).tolist()
            for size, pair in zip(shape, pads, strict=False)
        ]
        return Take(positions, **named)
    if settings.value:
        return ConstantPadding(pads, float(settings.value), **named)
    return _spatial("ZeroPadding", pads, **named)


def crop(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Cropping*``."""
    return _spatial("Cropping", node.settings.crops(node.input_shapes[0]), name=node.name, dtype=precision)


def _spatial(kind: str, pairs: Any, **settings: Any) -> Any:
    """A stock layer that takes a pair for each spatial axis, the only one by itself."""
    rank = len(pairs)
    amounts = pairs[0] if rank == 1 else pairs
    placed = {} if (kind, rank) == ("Cropping", 1) else {"data_format": "channels_last"}  # Cropping1D has one format
    return getattr(keras.layers, f"{kind}{rank}D")(amounts, **placed, **settings)


def slice_(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``Slice``."""
    settings, shape = node.settings, node.input_shapes[0]
    kept = settings.positions(shape)
    bounds = (kept.start, kept.stop, kept.step)
    return Slice(axis_of(settings.axis, shape) + 1, bounds, name=node.name, dtype=precision)


def select(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``Select``."""
    settings, shape = node.settings, node.input_shapes[0]
    return Select(axis_of(settings.axis, shape) + 1, settings.position(shape), name=node.name, dtype=precision)


def resize(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.UpSampling*`` for copies by whole factors, else ``Take`` or ``LinearResize``."""
    shape, named = node.input_shapes[0], {"name": node.name, "dtype": precision}
    sources = node.settings.sources(shape)
    if node.settings.mode == "linear":
        return LinearResize(
            [source.low.tolist() for source in sources], [source.weight.tolist() for source in sources], **named
        )
    rank = len(sources)
    factors = tuple(o // n for n, o in zip(shape[:-1], node.shape[:-1], strict=True))
    repeats = all(
        factor and np.array_equal(source.low, np.repeat(np.arange(n), factor))
        for n, source, factor in zip(shape, sources, factors, strict=False)
    )
    if not repeats:
        return Take([source.low.tolist() for source in sources], **named)
    if rank == 1:
        return keras.layers.UpSampling1D(factors[0], **named)
    return getattr(keras.layers, f"UpSampling{rank}D")(
        factors, data_format="channels_last", **({"interpolation": "nearest"} if rank == 2 else {}), **named
    )


LAYERS: Mapping[str, Make] = {
    "flatten": flatten,
    "reshape": reshape,
    "permute": permute,
    "pad": pad,
    "crop": crop,
    "slice": slice_,
    "select": select,
    "resize": resize,
}
