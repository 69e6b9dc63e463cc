"""What every layer of a spec has: its settings, the shape it produces and the parameters it holds.

Shapes are those of one example, without the batch axis, channels last. Formulas are stated for one
example; ``dualml.reference`` evaluates the same formulas in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from dualml.spec.base import Keyed

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
