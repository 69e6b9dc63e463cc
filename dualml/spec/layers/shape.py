"""Layers that only move values: the same numbers under another shape."""

from __future__ import annotations

import math

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape


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
