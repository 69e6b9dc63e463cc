"""Gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers.shape import axis_of
from dualml_tensorflow.layers.base import Make, Variables


@keras.saving.register_keras_serializable(package="dualml")
class Glu(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """``keras.activations.glu`` as a layer, which ``keras.layers.Activation`` cannot give an axis.

    Attributes:
        axis: Counted with the examples'.
    """

    def __init__(self, axis: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        """The first half of the axis times the sigmoid of the second."""
        return keras.activations.glu(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Half of the axis."""
        return (*input_shape[: self.axis], input_shape[self.axis] // 2, *input_shape[self.axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable(package="dualml")
class Prelu(keras.layers.PReLU):  # type: ignore[misc] # keras is untyped
    """``x`` where ``x > 0``, else ``alpha x``.

    Why not stock: the derivative of ``relu(x) - alpha relu(-x)`` at 0 is 0, not ``alpha``, and shared slopes have
    axes of size 1.

    Attributes:
        slopes: ``one``, ``channels`` or ``values``.
    """

    def __init__(self, slopes: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.slopes = slopes

    def build(self, input_shape: Any) -> None:
        """Make the slopes."""
        shapes = {"one": (1,), "channels": input_shape[-1:], "values": input_shape[1:]}
        self.alpha = self.add_weight(shape=shapes[self.slopes], name="alpha", initializer=self.alpha_initializer)

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape."""
        return tf.where(inputs > 0, inputs, tf.convert_to_tensor(self.alpha) * inputs)

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "slopes": self.slopes}


def glu(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
    """``Glu``."""
    return Glu(axis_of(node.settings.axis, node.input_shapes[0]) + 1, name=node.name, dtype=precision)


def prelu(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``Prelu``."""
    return Prelu(node.settings.slopes, alpha_initializer="zeros", name=node.name, dtype=precision)


def _slope(layer: Any) -> Mapping[str, Any]:
    return {"slope": layer.alpha}


LAYERS: Mapping[str, Make] = {"glu": glu, "prelu": prelu}
VARIABLES: Mapping[str, Variables] = {"prelu": _slope}
