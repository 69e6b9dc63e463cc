"""An activation as a layer of its own."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.activations import ActivationFunction
from dualml.spec.layers.base import Layer, Shape


class Activation(Layer):
    """An activation function as a layer of its own: ``activation: relu``."""

    kind = "activation"

    function: ActivationFunction = Field(kw_only=False)
    """Which function."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]
