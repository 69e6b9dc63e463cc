"""The dense layer."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.activations import ActivationFunction
from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Layer, ParameterShape, PositiveInt, Shape


class Dense(Layer):
    """``y = f(x K + b)`` over the last axis; ``K`` is ``(inputs, units)``, ``b`` is ``(units,)``.

    The layout of ``K`` is Keras'; ``torch.nn.Linear.weight`` is its transpose.
    """

    kind = "dense"

    units: PositiveInt = Field(kw_only=False)
    """Size of the output's last axis."""
    activation: ActivationFunction | None = None
    """Function ``f``; left out, the identity."""
    bias: bool = True
    """Whether there is a ``b``."""
    kernel_initializer: Initializer | None = None
    """How ``K`` is drawn."""
    bias_initializer: Initializer | None = None
    """How ``b`` is drawn."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*inputs[0][:-1], self.units)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        fans = (inputs[0][-1], self.units)
        kernel = ParameterShape("kernel", fans, self.kernel_initializer, *fans)
        if not self.bias:
            return (kernel,)
        return kernel, ParameterShape("bias", (self.units,), self.bias_initializer, *fans)
