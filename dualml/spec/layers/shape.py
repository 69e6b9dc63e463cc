"""Layers that only move values: other shapes, orders and parts, and copies of values around the edges."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from dualml.spec.layers.base import Layer, PositiveInt, Shape
from dualml.spec.layers.sliding import Amounts, PaddingMode, Pairs, amounts, check_mode


class Flatten(Layer):
    """All axes of an example as one, in row-major order."""

    kind = "flatten"

    order: Literal["channels_last", "channels_first"] = Field(default="channels_last", kw_only=False)
    """Whether channels vary fastest, as in Keras, or slowest, as ``torch.nn.Flatten`` has them behind a convolution:
    the rows of the next dense kernel are in that order."""

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


class Permute(Layer):
    """The axes in another order: axis ``i`` of the output is axis ``axes[i]`` of the input.

    Differs from ``keras.layers.Permute``, which counts the axes of an example from 1; here they are counted from 0, as
    everywhere.
    """

    kind = "permute"

    axes: tuple[int, ...] = Field(strict=False, min_length=1, kw_only=False)
    """Every axis of one example once, from 0."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        rank = len(inputs[0])
        if sorted(self.axes) != list(range(rank)):
            raise ValueError(
                f"axes must hold each of {list(range(rank))} once for an input of shape {list(inputs[0])}, "
                f"got {list(self.axes)}"
            )
        return tuple(inputs[0][axis] for axis in self.axes)


def axis_of(axis: int, shape: Shape) -> int:
    """An axis of one example, counted from 0.

    Raises:
        ValueError: The shape has no such axis.
    """
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ValueError(f"axis must be in [{-rank}, {rank - 1}] for an input of shape {list(shape)}, got {axis}")
    return axis % rank


def _spatial(shape: Shape, most: int = 3) -> int:
    """Number of spatial axes of a value of 2 to 4 axes.

    Raises:
        ValueError: It has others.
    """
    if not 2 <= len(shape) <= most + 1:
        raise ValueError(f"its input must have 1 to {most} spatial axes and channels, got {list(shape)}")
    return len(shape) - 1


class Pad(Layer):
    """Values put around the spatial axes: all but the last.

    Differs from ``torch.nn.ZeroPad2d``, whose amounts begin with the last axis, ``(left, right, top, bottom)``: here
    they are in the order of the axes, as in Keras.
    """

    kind = "pad"

    padding: Amounts = Field(kw_only=False)
    """How many: one number, or for each spatial axis a number or ``[before, after]``."""
    padding_mode: PaddingMode = "zeros"
    """What they are: zeros (or ``value``), or the input's own values: reflect (the edge is not repeated), replicate
    (the edge), circular (the other end)."""
    value: float = 0.0
    """What is put there instead of zeros."""

    def pads(self, shape: Shape) -> Pairs:
        """What is put before and after each spatial axis of an input of this shape."""
        return amounts(self.padding, _spatial(shape), "padding")

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        pads = self.pads(inputs[0])
        if self.value and self.padding_mode != "zeros":
            raise ValueError(f"value has no meaning with padding_mode {self.padding_mode}; leave one of them out")
        check_mode(self.padding_mode, pads, inputs[0][:-1])
        return (*(size + sum(pair) for size, pair in zip(inputs[0][:-1], pads, strict=True)), inputs[0][-1])


class Crop(Layer):
    """Values taken off the ends of the spatial axes: all but the last."""

    kind = "crop"

    cropping: Amounts = Field(kw_only=False)
    """How many: one number, or for each spatial axis a number or ``[before, after]``."""

    def crops(self, shape: Shape) -> Pairs:
        """What is taken off before and after each spatial axis of an input of this shape."""
        return amounts(self.cropping, _spatial(shape), "cropping")

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        crops = self.crops(inputs[0])
        left = tuple(size - sum(pair) for size, pair in zip(inputs[0][:-1], crops, strict=True))
        if min(left) < 1:
            raise ValueError(
                f"cropping {[list(pair) for pair in crops]} leaves nothing of an input of shape {list(inputs[0])}; "
                "crop less"
            )
        return (*left, inputs[0][-1])


class Slice(Layer):
    """A part of one axis: positions ``start``, ``start + step``, ... before ``stop``, as in Python."""

    kind = "slice"

    start: int = Field(default=0, kw_only=False)
    """First position; negative ones count from the end."""
    stop: int | None = Field(default=None, kw_only=False)
    """Position to stop before; negative ones count from the end; left out, the end."""
    step: PositiveInt = 1
    """Distance between positions."""
    axis: int = 0
    """Axis of one example (the batch is not counted); negative ones count from the end."""

    def positions(self, shape: Shape) -> range:
        """The positions it keeps of an input of this shape."""
        size = shape[axis_of(self.axis, shape)]
        return range(*slice(self.start, self.stop, self.step).indices(size))

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        kept = len(self.positions(inputs[0]))
        if not kept:
            raise ValueError(
                f"start {self.start} and stop {self.stop} leave nothing of axis {self.axis} of an input of shape "
                f"{list(inputs[0])}"
            )
        axis = axis_of(self.axis, inputs[0])
        return (*inputs[0][:axis], kept, *inputs[0][axis + 1 :])


class Select(Layer):
    """One position of an axis, which goes away: of a sequence the first (0), the last (-1) or any step."""

    kind = "select"

    index: int = Field(kw_only=False)
    """The position; negative ones count from the end."""
    axis: int = 0
    """Axis of one example (the batch is not counted); negative ones count from the end."""

    def position(self, shape: Shape) -> int:
        """The position counted from 0."""
        return self.index % shape[axis_of(self.axis, shape)]

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        axis = axis_of(self.axis, inputs[0])
        size = inputs[0][axis]
        if len(inputs[0]) < 2:
            raise ValueError(f"its input must have 2 axes or more, got {list(inputs[0])}; slice keeps the axis")
        if not -size <= self.index < size:
            raise ValueError(f"index must be in [{-size}, {size - 1}] for an axis of {size} values, got {self.index}")
        return (*inputs[0][:axis], *inputs[0][axis + 1 :])
