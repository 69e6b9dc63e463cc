"""Pooling, with stock Keras layers where their windows, their divisors and their ties are the spec's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers.pooling import AxisWindows
from dualml_tensorflow.layers.base import Make

Table = list[list[int]]
"""Positions of the values of each window along one axis; -1 where there is none."""


class _Windowed(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """Windows along each spatial axis, given by the positions they have.

    Attributes:
        tables: One for each spatial axis.
    """

    def __init__(self, tables: list[Table], **settings: Any) -> None:
        super().__init__(**settings)
        self.tables = [np.array(table, dtype=np.int64) for table in tables]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As many values as windows."""
        return (input_shape[0], *(len(table) for table in self.tables), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "tables": [table.tolist() for table in self.tables]}


@keras.saving.register_keras_serializable(package="dualml")
class WindowMax(_Windowed):
    """The largest value of each window; of equal ones the first in row-major order gets the gradient.

    Why not stock: ``keras.layers.MaxPooling*`` has no dilation, no padding of its own choice and in three dimensions no
    float64; ``keras.layers.AdaptiveMaxPooling2D`` gives the gradient to another one of equal values, and where an axis
    is pooled to a single value its gradient is memory that was never written: it also pools windows one longer than
    the axis, and TensorFlow leaves the gradient of a max pooling without any output as it finds it (2.21, CPU).
    """

    def call(self, inputs: Any) -> Any:
        """One axis after the other from the last, so that of a row's largest values the first row's wins."""
        values = inputs
        for axis, table in reversed(list(enumerate(self.tables, start=1))):
            inside = table >= 0
            first, last = inside.argmax(axis=1), table.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
            largest = None
            for place in range(table.shape[1]):  # where a window has no value it sees its nearest one once more
                columns = np.clip(place, first, last)
                part = tf.gather(values, table[np.arange(len(table)), columns], axis=axis)
                # At a tie tf.maximum passes the gradient to its first argument.
                largest = part if largest is None else tf.maximum(largest, part)
            values = largest
        return values


@keras.saving.register_keras_serializable(package="dualml")
class WindowMean(_Windowed):
    """The sum of each window divided by a number of its own along each axis.

    Why not stock: ``keras.layers.AveragePooling*`` never counts padding, pads in one way only and has in three
    dimensions no float64, nor has ``keras.layers.AdaptiveAveragePooling3D``.

    Attributes:
        divisors: One vector for each spatial axis.
    """

    def __init__(self, tables: list[Table], divisors: list[list[int]], **settings: Any) -> None:
        super().__init__(tables, **settings)
        self.divisors = [np.array(divisor) for divisor in divisors]

    def call(self, inputs: Any) -> Any:
        """One axis after the other."""
        values = inputs
        for axis, (table, divisor) in enumerate(zip(self.tables, self.divisors, strict=True), start=1):
            shape = [1] * len(inputs.shape)
            shape[axis] = -1
            total = None
            for place in range(table.shape[1]):
                positions = table[:, place]
                part = tf.gather(values, np.maximum(positions, 0), axis=axis)
                if (positions < 0).any():
                    part = tf.where((positions >= 0).reshape(shape), part, tf.zeros((), part.dtype))
                total = part if total is None else total + part
            values = total / tf.constant(divisor.reshape(shape), values.dtype)
        return values

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "divisors": [divisor.tolist() for divisor in self.divisors]}


class _Padded:
    """A max pooling whose input is first padded with minus infinity.

    Why not stock: it pads only as ``same`` does, and a padding layer before it would put zeros, which win over negative
    values.

    Attributes:
        amounts: Values put before and after each spatial axis.
    """

    def __init__(self, amounts: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.amounts = [tuple(pair) for pair in amounts]

    def call(self, inputs: Any) -> Any:
        """Pad, then pool."""
        padded = tf.pad(inputs, [(0, 0), *self.amounts, (0, 0)], constant_values=tf.cast(-np.inf, inputs.dtype))
        return super().call(padded)  # type: ignore[misc]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the padded input."""
        sizes = [size + sum(pair) for size, pair in zip(input_shape[1:-1], self.amounts, strict=True)]
        return super().compute_output_shape((input_shape[0], *sizes, input_shape[-1]))  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "amounts": self.amounts}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="dualml")
class PaddedMaxPooling1D(_Padded, keras.layers.MaxPooling1D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.MaxPooling1D`` behind a padding; see ``_Padded``."""


@keras.saving.register_keras_serializable(package="dualml")
class PaddedMaxPooling2D(_Padded, keras.layers.MaxPooling2D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.MaxPooling2D`` behind a padding; see ``_Padded``."""


@keras.saving.register_keras_serializable(package="dualml")
class GlobalPooling(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """The mean or the largest value over all axes between the examples' and the channels'.

    Why not stock: there is none for more than three axes, and the gradient of ``keras.layers.GlobalMaxPooling*`` is
    shared by all values that tie.

    Attributes:
        choose: ``mean``; ``first`` or ``even``: the largest, and which of those that tie gets the gradient.
        keep_axes: Whether the axes stay, with size 1.
    """

    def __init__(self, choose: str, *, keep_axes: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.choose, self.keep_axes = choose, keep_axes

    def call(self, inputs: Any) -> Any:
        """Over all positions at once."""
        shape = inputs.shape
        rows = tf.reshape(inputs, (-1, int(np.prod(shape[1:-1])), shape[-1]))
        if self.choose == "mean":
            pooled = tf.reduce_mean(rows, axis=1)
        elif self.choose == "even":
            pooled = tf.reduce_max(rows, axis=1)
        else:  # argmax is the first of equal ones
            pooled = tf.gather(tf.transpose(rows, (0, 2, 1)), tf.argmax(rows, axis=1), axis=2, batch_dims=2)
        return tf.reshape(pooled, (-1, *self.compute_output_shape(shape)[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The channels, behind axes of size 1 if they are kept."""
        kept = (1,) * (len(input_shape) - 2) if self.keep_axes else ()
        return (input_shape[0], *kept, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "choose": self.choose, "keep_axes": self.keep_axes}


_PADDED = {1: PaddedMaxPooling1D, 2: PaddedMaxPooling2D}


def _tables(axes: tuple[AxisWindows, ...]) -> list[Table]:
    return [axis.positions.tolist() for axis in axes]


def _divisors(axes: tuple[AxisWindows, ...]) -> list[list[int]]:
    return [axis.divisors.tolist() for axis in axes]


def max_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
    """``keras.layers.MaxPooling*`` where it can, its padded kin, or ``WindowMax``."""
    windows = node.settings.windows(node.input_shapes[0])
    rank = len(windows.sizes)
    named = {"name": node.name, "dtype": precision}
    if rank == 3 or set(windows.dilations) != {1}:
        return WindowMax(_tables(windows.axes), **named)
    plain = {"pool_size": windows.sizes, "strides": windows.strides, "data_format": "channels_last", **named}
    untouched = not any(map(any, windows.reach))
    if untouched or windows.same:
        return getattr(keras.layers, f"MaxPooling{rank}D")(padding="valid" if untouched else "same", **plain)
    return _PADDED[rank](windows.reach, padding="valid", **plain)


def average_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.AveragePooling*`` where its windows and divisors are the spec's, else ``WindowMean``."""
    windows = node.settings.windows(node.input_shapes[0])
    rank = len(windows.sizes)
    named = {"name": node.name, "dtype": precision}
    untouched = not any(map(any, windows.reach))
    if rank < 3 and (untouched or windows.same) and (windows.divisors == windows.present).all():
        return getattr(keras.layers, f"AveragePooling{rank}D")(
            pool_size=windows.sizes,
            strides=windows.strides,
            padding="valid" if untouched else "same",
            data_format="channels_last",
            **named,
        )
    return WindowMean(_tables(windows.axes), _divisors(windows.axes), **named)


def adaptive_average_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.AdaptiveAveragePooling*`` for one and two axes, ``WindowMean`` for three."""
    rank, named = len(node.shape) - 1, {"name": node.name, "dtype": precision}
    windows = node.settings.windows(node.input_shapes[0])
    if rank < 3:
        kind = getattr(keras.layers, f"AdaptiveAveragePooling{rank}D")
        return kind(node.shape[:-1], data_format="channels_last", **named)
    return WindowMean(_tables(windows), _divisors(windows), **named)


def adaptive_max_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``WindowMax``."""
    tables = _tables(node.settings.windows(node.input_shapes[0]))
    return WindowMax(tables, name=node.name, dtype=precision)


def _global(node: Node, precision: str, kind: str, choose: str, *, stock: bool) -> Any:
    rank, keep_axes = len(node.input_shapes[0]) - 1, node.settings.keep_axes
    named = {"name": node.name, "dtype": precision}
    if stock and rank <= 3:
        return getattr(keras.layers, f"{kind}{rank}D")(keepdims=keep_axes, data_format="channels_last", **named)
    return GlobalPooling(choose, keep_axes=keep_axes, **named)


def global_average_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.GlobalAveragePooling*`` for up to three axes."""
    return _global(node, precision, "GlobalAveragePooling", "mean", stock=True)


def global_max_pool(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.GlobalMaxPooling*`` for up to three axes where ties share the gradient."""
    ties = node.settings.ties
    return _global(node, precision, "GlobalMaxPooling", ties, stock=ties == "even")


LAYERS: Mapping[str, Make] = {
    **{f"max_pool{rank}d": max_pool for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": average_pool for rank in (1, 2, 3)},
    **{f"adaptive_average_pool{rank}d": adaptive_average_pool for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": adaptive_max_pool for rank in (1, 2, 3)},
    "global_average_pool": global_average_pool,
    "global_max_pool": global_max_pool,
}
