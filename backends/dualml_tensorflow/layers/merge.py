"""Layers that merge several inputs into one output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make


class _Even:
    """A choice whose gradient, where two values tie, is half for each.

    Why not stock: ``keras.layers.Maximum`` and ``Minimum`` give it all to the first.
    """

    def _merge_function(self, inputs: Any) -> Any:
        chosen = inputs[0]
        for other in inputs[1:]:
            tied = 0.5 * chosen + 0.5 * other
            chosen = tf.where(self.wins(chosen, other), chosen, tf.where(self.wins(other, chosen), other, tied))
        return chosen

    def wins(self, left: Any, right: Any) -> Any:
        """Where the left one is chosen and does not tie."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="dualml")
class EvenMaximum(_Even, keras.layers.Maximum):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Maximum`` with shared ties; see ``_Even``."""

    def wins(self, left: Any, right: Any) -> Any:
        """Where the left one is larger."""
        return left > right


@keras.saving.register_keras_serializable(package="dualml")
class EvenMinimum(_Even, keras.layers.Minimum):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Minimum`` with shared ties; see ``_Even``."""

    def wins(self, left: Any, right: Any) -> Any:
        """Where the left one is smaller."""
        return left < right


def _stock(kind: Any) -> Make:
    def make(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
        return kind(name=node.name, dtype=precision)

    return make


def _choice(stock: Any, even: Any) -> Make:
    def make(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
        return (even if node.settings.ties == "even" else stock)(name=node.name, dtype=precision)

    return make


def concat(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Concatenate``, which counts the batch axis."""
    axis = node.settings.axis % len(node.shape) + 1
    return keras.layers.Concatenate(axis=axis, name=node.name, dtype=precision)


LAYERS: Mapping[str, Make] = {
    "add": _stock(keras.layers.Add),
    "subtract": _stock(keras.layers.Subtract),
    "average": _stock(keras.layers.Average),
    "multiply": _stock(keras.layers.Multiply),
    "maximum": _choice(keras.layers.Maximum, EvenMaximum),
    "minimum": _choice(keras.layers.Minimum, EvenMinimum),
    "concat": concat,
}
