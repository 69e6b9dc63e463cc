"""Resizing: spatial axes stretched or shrunk, by copies of the nearest value or linearly between two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualml.spec.layers.base import Layer, Shape
from dualml.spec.layers.sliding import Sizes, per_axis

PositiveFloat = Annotated[float, Field(gt=0)]

Scales = PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(strict=False)]
"""One factor for all spatial axes, or one for each."""


@dataclass(frozen=True)
class AxisSources:
    """What each value along an axis is made of: ``(1 - weight) x[low] + weight x[high]``.

    Attributes:
        low: Shape ``(outputs,)``.
        high: Shape ``(outputs,)``; ``low`` or the position behind it.
        weight: Shape ``(outputs,)``, in [0, 1): the distance from ``low``, correctly rounded; 0 for nearest.
        origins: What is multiplied by ``step`` to give the position, plus ``shift``: shape ``(outputs,)``.
        step: Distance between neighbouring positions.
        shift: -0.5 or 0.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight: NDArray[np.float64]
    origins: NDArray[np.float64]
    step: float
    shift: float


class Resize(Layer):
    """Spatial axes (all but the last, up to three) with another number of values, without antialiasing.

    Output ``i`` of ``o`` looks at position ``p`` of the ``n`` values of an axis, ``s`` being the step:

    - ``linear``: between the two values around ``p = (i + 1/2) s - 1/2``, or with ``align_corners``
      ``p = i (n - 1) / (o - 1)``; outside, the edge's value.
    - ``nearest``: the value at ``floor(i s)`` (``floor``) or at ``floor((i + 1/2) s)`` (``half_pixel``).

    Positions are exact, in rational arithmetic: ``torch.nn.functional.interpolate`` computes some in float32, and where
    that takes it to another value the native module is not the stock one.
    Differs from ``tf.image.resize`` and ``keras.layers.UpSampling2D(interpolation="bilinear")``, which compute in
    float32 whatever the dtype is.
    """

    kind = "resize"

    size: Sizes | None = Field(default=None, kw_only=False)
    """Size of the output: one number, or one for each spatial axis; or give ``scale``."""
    scale: Scales | None = None
    """Size of the output in units of the input's, rounded down: one factor, or one for each spatial axis."""
    mode: Literal["nearest", "linear"] = "nearest"
    """Copies of the nearest value; or linear: bilinear for two axes, trilinear for three."""
    align_corners: bool = False
    """Linear: whether the middles of the values at the ends lie on each other, as in PyTorch, or their outer edges."""
    rounding: Literal["floor", "half_pixel"] | None = None
    """Which value is nearest: ``floor``, PyTorch's ``nearest``; or ``half_pixel``, its ``nearest-exact`` and
    ``tf.image``."""
    step: Literal["scale", "sizes"] | None = None
    """With ``scale``: whether ``s`` is ``1 / scale`` (PyTorch) or ``n / o`` (TensorFlow). They differ where ``scale n``
    is no whole number."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if not 2 <= len(inputs[0]) <= 4:
            raise ValueError(f"its input must have 1 to 3 spatial axes and channels, got {list(inputs[0])}")
        if (self.size is None) == (self.scale is None):
            raise ValueError("give either size or scale")
        if self.align_corners and self.mode == "nearest":
            raise ValueError("align_corners has no meaning with mode nearest; leave it out, or set mode: linear")
        sizes = self._sizes(inputs[0])
        if min(sizes) < 1:
            raise ValueError(f"scale {self.scale} leaves nothing of an input of shape {list(inputs[0])}")
        return (*sizes, inputs[0][-1])

    def _factors(self, rank: int) -> tuple[float, ...]:
        scale = self.scale
        assert scale is not None
        if isinstance(scale, float):
            return (scale,) * rank
        if len(scale) != rank:
            raise ValueError(
                f"scale must be one number or {rank} of them, one for each spatial axis, got {list(scale)}"
            )
        return scale

    def _sizes(self, shape: Shape) -> tuple[int, ...]:
        rank = len(shape) - 1
        if self.size is not None:
            return per_axis(self.size, rank, "size")
        return tuple(math.floor(n * factor) for n, factor in zip(shape, self._factors(rank), strict=False))

    def sources(self, shape: Shape) -> tuple[AxisSources, ...]:
        """What the output's values are made of, along each spatial axis of an input of this shape."""
        sizes = self._sizes(shape)
        by_scale = self.scale is not None and self.step == "scale"
        steps = (
            [1 / Fraction(factor) for factor in self._factors(len(sizes))]
            if by_scale
            else [Fraction(n, o) for n, o in zip(shape, sizes, strict=False)]
        )
        return tuple(self._along(n, o, step) for n, o, step in zip(shape, sizes, steps, strict=False))

    def _along(self, n: int, o: int, step: Fraction) -> AxisSources:
        half = Fraction(1, 2)
        start, shift = Fraction(0), Fraction(0)
        if self.mode == "nearest":
            start = half if self.rounding == "half_pixel" else start
        elif self.align_corners:
            step = Fraction(n - 1, o - 1) if o > 1 else Fraction(0)
        else:
            start, shift = half, -half
        positions = [min(max((i + start) * step + shift, Fraction(0)), Fraction(n - 1)) for i in range(o)]
        low = [math.floor(position) for position in positions]
        if self.mode == "nearest":
            positions = [Fraction(place) for place in low]
        return AxisSources(
            np.array(low),
            np.minimum(np.array(low) + (self.mode == "linear"), n - 1),
            np.array([float(position - place) for position, place in zip(positions, low, strict=True)]),
            np.array([float(i + start) for i in range(o)]),
            float(step),
            float(shift),
        )
