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


@dataclass(frozen=True)
class BufferShape:
    """An array a layer holds that is not trained but changes in training: running statistics.

    Attributes:
        role: Name within the layer, for example ``running_mean``.
        shape: Neutral shape.
        value: What every number of it is at first.
    """

    role: str
    shape: Shape
    value: float


class Layer(Keyed):
    """What every layer has."""

    siblings = frozenset({"name", "inputs"})
    fewest_inputs: ClassVar[int] = 1
    most_inputs: ClassVar[int | None] = 1
    references: ClassVar[tuple[str, ...]] = ()
    """Settings that name further layers it reads, after its ``inputs``: an attention's mask."""
    takes_integers: ClassVar[bool] = False
    """Whether its first input is whole numbers (class numbers, token ids) rather than values."""

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

    def buffers(self, inputs: tuple[Shape, ...]) -> tuple[BufferShape, ...]:
        """What it remembers of the examples it has seen in training."""
        return ()

    def tied(self) -> dict[str, tuple[str, str]]:
        """Parameters of other layers it uses as its own: role here to (layer's name, role there)."""
        return {}

    def integers_below(self) -> int | None:
        """What the whole numbers it reads must be below; ``None``: no limit, or it reads none."""
        return None

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape | None:
        """Shape, for one example, of the mask of kept values it needs in training; ``None`` if it draws nothing.

        A layer with a mask has a setting ``rate``, the probability that a value is dropped.
        """
        return None

    def examples_independent(self) -> bool:
        """Whether, in training, an example's output depends on that example alone."""
        return True

    def fewest_examples(self, inputs: tuple[Shape, ...]) -> int:
        """How many examples a forward pass in training must have."""
        return 1


class Composite(Layer):
    """A layer that stands for several: the graph holds what it expands to, so no backend ever sees it."""

    input_names: ClassVar[tuple[str, ...]] = ("input",)
    """What the layers inside call its inputs, in their order."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        """The layers it stands for; the last one's output is its output.

        Names given inside are seen inside only; in the graph they follow this layer's own name: ``block_1_dense_1``.

        Args:
            inputs: Shapes of one example's inputs.

        Raises:
            ValueError: The inputs do not fit.
        """
        raise NotImplementedError


def same_shapes(inputs: tuple[Shape, ...]) -> Shape:
    """The one shape that all inputs have.

    Raises:
        ValueError: They differ.
    """
    if len(set(inputs)) > 1:
        raise ValueError(f"all inputs must have one shape, got {', '.join(str(list(shape)) for shape in inputs)}")
    return inputs[0]
