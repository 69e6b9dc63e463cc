"""Gates: a learned slope, one half of a value opening the other, and squeeze-and-excite."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from dualml.spec.activations import ActivationFunction, Relu, Sigmoid
from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Composite, Layer, ParameterShape, PositiveInt, Shape
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.merge import Multiply
from dualml.spec.layers.pooling import GlobalAveragePool
from dualml.spec.layers.shape import axis_of


class Glu(Layer):
    """``a sigmoid(b)``: the two halves of one axis, ``a`` the first (Dauphin et al., arXiv:1612.08083).

    The same order in ``torch.nn.GLU`` and ``keras.activations.glu``.
    """

    kind = "glu"

    axis: int = Field(default=-1, kw_only=False)
    """Axis of one example (the batch is not counted); negative ones count from the end."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        axis = axis_of(self.axis, inputs[0])
        size = inputs[0][axis]
        if size % 2:
            raise ValueError(
                f"axis {self.axis} must have an even number of values to be cut in halves, got {size} in an input of "
                f"shape {list(inputs[0])}; double the units of the layer before"
            )
        return (*inputs[0][:axis], size // 2, *inputs[0][axis + 1 :])


class Prelu(Layer):
    """``x`` where ``x > 0``, else ``a x`` with a trained slope ``a`` (He et al., arXiv:1502.01852).

    At 0 the derivative is ``a``, that of the branch for negative values, as in PyTorch.
    Differs from ``keras.layers.PReLU``, ``relu(x) - a relu(-x)``, whose derivative at 0 is 0.
    """

    kind = "prelu"

    slopes: Literal["one", "channels", "values"] | None = Field(default=None, kw_only=False)
    """How many slopes: one, one for each channel, or one for each value of an example. PyTorch's default is one,
    Keras' one for each value."""
    slope_initializer: Initializer | None = None
    """How ``a`` is drawn: 0.25 in PyTorch, 0 in Keras."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        shape = {"one": (1,), "channels": inputs[0][-1:]}.get(str(self.slopes), inputs[0])
        fan = math.prod(shape)
        return (ParameterShape("slope", shape, self.slope_initializer, fan, fan),)


class SqueezeExcite(Composite):
    """``x s`` with a factor for each channel, ``s = g(f(mean(x) K_1 + b_1) K_2 + b_2)`` (Hu et al., arXiv:1709.01507).

    The mean is over all positions; ``K_1`` is ``(channels, units)``. The layers inside are ``pool``, ``reduce``,
    ``expand`` and ``scale``.
    """

    kind = "squeeze_excite"

    ratio: Annotated[int, Field(gt=0)] = Field(default=16, kw_only=False)
    """Channels for each unit of the middle: ``units = max(channels // ratio, 1)``."""
    units: PositiveInt | None = None
    """Number of units in the middle; left out, it follows from ``ratio``."""
    activation: ActivationFunction = Relu()
    """Function ``f``."""
    gate: ActivationFunction = Sigmoid()
    """Function ``g``."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        if len(inputs[0]) < 2:
            raise ValueError(f"its input must have positions and channels, so 2 axes or more, got {list(inputs[0])}")
        channels = inputs[0][-1]
        middle = self.units or max(channels // self.ratio, 1)
        return (
            GlobalAveragePool(name="pool"),
            Dense(middle, activation=self.activation, name="reduce"),
            Dense(channels, activation=self.gate, name="expand"),
            Multiply(inputs=["input", "expand"], name="scale"),
        )
