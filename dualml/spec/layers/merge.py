"""Layers that merge several inputs into one output."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape, same_shapes


class Add(Layer):
    """Sum of its inputs, all of one shape, added from the first to the last."""

    kind = "add"
    fewest_inputs = 2
    most_inputs = None

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return same_shapes(inputs)


class Multiply(Layer):
    """Product of its inputs, all of one shape, multiplied from the first to the last."""

    kind = "multiply"
    fewest_inputs = 2
    most_inputs = None

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return same_shapes(inputs)


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
