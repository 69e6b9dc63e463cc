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
        return check_activation(self.function, inputs[0])


def check_activation(function: ActivationFunction, shape: Shape) -> Shape:
    """The shape, if an activation can be applied to it.

    Raises:
        ValueError: It has an axis that the shape does not have.
    """
    check = getattr(function, "check", None)
    if check is not None:
        check(shape)
    return shape
