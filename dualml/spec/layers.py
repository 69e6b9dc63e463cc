"""The layers a spec can name: their settings, the shape they produce and the parameters they hold.

Shapes are those of one example, without the batch axis, channels last. Formulas are stated for one
example; ``dualml.reference`` evaluates the same formulas in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, StringConstraints

from dualml.spec.activations import ActivationFunction
from dualml.spec.base import Keyed, OneKey
from dualml.spec.initializers import Initializer

Shape = tuple[int, ...]
"""Sizes of one example's axes."""

LayerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A layer's name: also an attribute in PyTorch and a layer name in Keras."""

PositiveInt = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class ParameterShape:
    """A parameter a layer holds, in the neutral layout.

    Attributes:
        role: Name within the layer, for example ``kernel``.
        shape: Neutral shape; a dense kernel is ``(inputs, units)``.
        initializer: How its first values are drawn.
        fan_in: Number of inputs that feed one output.
        fan_out: Number of outputs that one input feeds.
    """

    role: str
    shape: Shape
    initializer: Any
    fan_in: int
    fan_out: int


class Layer(Keyed):
    """What every layer has."""

    siblings = frozenset({"name", "inputs"})
    fewest_inputs: ClassVar[int] = 1
    most_inputs: ClassVar[int | None] = 1

    name: LayerName | None = None
    """Name of the layer, unique in the model; left out, it is the kind and a running number: ``dense_1``."""
    inputs: str | list[str] | None = None
    """Which layers feed it, by name (``input`` is the model's input); left out, the layer before it."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        """Shape of one example's output.

        Raises:
            ValueError: The inputs do not fit; the message says what must hold and what was found.
        """
        raise NotImplementedError

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        """The parameters the layer holds for these input shapes."""
        return ()


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


class Activation(Layer):
    """An activation function as a layer of its own: ``activation: relu``."""

    kind = "activation"

    function: ActivationFunction = Field(kw_only=False)
    """Which function."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


class Flatten(Layer):
    """All axes of an example as one, in row-major order of the channels-last layout."""

    kind = "flatten"

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (math.prod(inputs[0]),)


class Reshape(Layer):
    """The same values under another shape, in row-major order; one size may be -1."""

    kind = "reshape"

    target: tuple[int, ...] = Field(strict=False, min_length=1, kw_only=False)
    """Shape of one example after it."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        size = math.prod(inputs[0])
        if any(axis < 1 and axis != -1 for axis in self.target) or self.target.count(-1) > 1:
            raise ValueError(f"target must hold sizes of 1 or more and at most one -1, got {list(self.target)}")
        known = math.prod(axis for axis in self.target if axis != -1)
        if size % known or (-1 not in self.target and known != size):
            raise ValueError(
                f"an input of shape {list(inputs[0])} has {size} values, which do not fit the target "
                f"{list(self.target)}; use -1 for one size to let it follow"
            )
        return tuple(size // known if axis == -1 else axis for axis in self.target)


class Dropout(Layer):
    """In training ``y = x m / (1 - rate)`` with a random mask ``m`` of zeros and ones; else ``y = x``.

    (Srivastava et al., JMLR 15, 2014, in the "inverted" form both frameworks use.)
    """

    kind = "dropout"

    rate: float = Field(ge=0, lt=1, kw_only=False)
    """Probability that a value is dropped."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


class Add(Layer):
    """Sum of its inputs, all of one shape, added from the first to the last."""

    kind = "add"
    fewest_inputs = 2
    most_inputs = None

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(set(inputs)) > 1:
            raise ValueError(f"all inputs must have one shape, got {', '.join(str(list(shape)) for shape in inputs)}")
        return inputs[0]


class Concat(Layer):
    """Its inputs joined along one axis."""

    kind = "concat"
    fewest_inputs = 2
    most_inputs = None

    axis: int = Field(default=-1, kw_only=False)
    """Axis of one example (the batch is not counted); negative ones count from the end."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        rank = len(inputs[0])
        if not -rank <= self.axis < rank:
            raise ValueError(f"axis must be in [{-rank}, {rank - 1}] for inputs of rank {rank}, got {self.axis}")
        axis = self.axis % rank
        rest = {shape[:axis] + shape[axis + 1 :] for shape in inputs if len(shape) == rank}
        if len(rest) > 1 or any(len(shape) != rank for shape in inputs):
            raise ValueError(
                f"inputs must agree in every axis but {self.axis}, "
                f"got {', '.join(str(list(shape)) for shape in inputs)}"
            )
        return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


LAYERS: tuple[type[Layer], ...] = (Dense, Activation, Flatten, Reshape, Dropout, Add, Concat)
"""Every layer, in the order of the documentation."""

AnyLayer: TypeAlias = Annotated[Layer, OneKey(*LAYERS)]
"""The type of an entry of ``model.layers``."""
