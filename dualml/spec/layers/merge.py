"""Layers that merge several inputs into one output."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape, same_shapes


class _Merge(Layer):
    """What layers have that merge inputs of one shape."""

    fewest_inputs = 2
    most_inputs: ClassVar[int | None] = None

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return same_shapes(inputs)


class Add(_Merge):
    """Sum of its inputs, all of one shape, added from the first to the last."""

    kind = "add"


class Subtract(_Merge):
    """Its first input less its second, of one shape."""

    kind = "subtract"
    most_inputs = 2


class Average(_Merge):
    """Mean of its inputs, all of one shape."""

    kind = "average"


class Multiply(Layer):
    """Product of its inputs, multiplied from the first to the last; an axis of size 1 counts for any size.

    As in NumPy, an input of fewer axes has axes of size 1 put before its own: a gate of shape ``(channels,)``
    multiplies every position of ``(height, width, channels)``.
    """

    kind = "multiply"
    fewest_inputs = 2
    most_inputs = None

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        rank = max(map(len, inputs))
        padded = [(1,) * (rank - len(shape)) + shape for shape in inputs]
        found = tuple(max(sizes) for sizes in zip(*padded, strict=True))
        if any(size not in (1, whole) for shape in padded for size, whole in zip(shape, found, strict=True)):
            raise ValueError(
                "inputs must agree in every axis, counted from the last, or have size 1 there; "
                f"got {', '.join(str(list(shape)) for shape in inputs)}"
            )
        return found


class _Choice(_Merge):
    """What layers have that choose one of their inputs, value by value."""

    ties: Literal["even", "first"] | None = None
    """Where the gradient of two equal values goes: half to each (PyTorch), or to the one that comes first (Keras)."""


class Maximum(_Choice):
    """The largest of its inputs, all of one shape, value by value: ``max(max(a, b), c)``."""

    kind = "maximum"


class Minimum(_Choice):
    """The smallest of its inputs, all of one shape, value by value: ``min(min(a, b), c)``."""

    kind = "minimum"


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
