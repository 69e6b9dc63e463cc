"""Operations without a formula: they can be run and compared, and nothing more."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dualml.native.protocol import OPAQUE
from dualml.spec.layers import Layer, ParameterShape, Shape


class Opaque(Layer):
    """Something a native model does that no layer of a spec stands for.

    No config can name it, and the reference cannot evaluate it: only the native model itself can, by
    ``NativeModel.call``.
    """

    kind = OPAQUE
    fewest_inputs: ClassVar[int] = 0
    most_inputs: ClassVar[int | None] = None

    output: tuple[int, ...] = Field(strict=False)
    """Shape of one example's output."""
    native: str = ""
    """What the framework calls it."""
    arrays: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Shape of each array it holds, by role."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return self.output

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        return tuple(ParameterShape(role, shape, None, 1, 1) for role, shape in self.arrays.items())

    def examples_independent(self) -> bool:
        return False
