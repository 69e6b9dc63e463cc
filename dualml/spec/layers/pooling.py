"""Pooling: the largest value or the mean of windows, of a given number of regions, or of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualml.spec.layers.base import Layer, Shape
from dualml.spec.layers.sliding import Amounts, Pairs, Sizes, amounts, check_rank, per_axis, same_padding, span

PoolPadding: TypeAlias = Literal["valid", "same", "symmetric"] | Amounts
"""What a convolution may be padded with, but for ``causal``."""


@dataclass(frozen=True)
class AxisWindows:
    """Windows along one axis, as positions of the input.

    Attributes:
        positions: Shape ``(windows, longest)``; -1 where a window has no value (padding, or a shorter window).
        divisors: Shape ``(windows,)``: what a mean divides by, values and counted padding.
    """

    positions: NDArray[np.int64]
    divisors: NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling layer over inputs of one shape.

    Attributes:
        axes: Positions and divisors along each spatial axis.
        pads: What the spec puts before and after each axis.
        overhangs: How far the last window reaches beyond the padded axis (``ceil_mode``).
        sizes: Values in a window, along each axis.
        strides: Steps between windows.
        dilations: Steps between a window's values.
        same: Whether ``same`` padding gives the same windows.
    """

    axes: tuple[AxisWindows, ...]
    pads: Pairs
    overhangs: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    same: bool

    @property
    def counts(self) -> Shape:
        """Number of windows along each axis."""
        return tuple(len(axis.positions) for axis in self.axes)

    @property
    def divisors(self) -> NDArray[np.int64]:
        """What each window's mean divides by, shape ``counts``."""
        return product([axis.divisors for axis in self.axes])

    @property
    def present(self) -> NDArray[np.int64]:
        """How many values of the input each window has, shape ``counts``."""
        return product([(axis.positions >= 0).sum(axis=1) for axis in self.axes])

    @property
    def reach(self) -> Pairs:
        """What must stand before and after each axis for every window to be whole."""
        return tuple((before, after + over) for (before, after), over in zip(self.pads, self.overhangs, strict=True))


def product(factors: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The outer product of one vector for each axis."""
    found = np.ones((), dtype=np.int64)
    for factor in factors:
        found = np.multiply.outer(found, factor)
    return found


class _Pooling(Layer):
    """What pooling layers have whose window slides."""

    rank: ClassVar[int]
    """Number of spatial axes."""

    size: Sizes = Field(kw_only=False)
    """Size of the window: one number, or one for each spatial axis."""
    stride: Sizes | None = None
    """Steps between windows; left out, ``size``, so that windows do not overlap."""
    padding: PoolPadding = "valid"
    """What is put around the input: ``valid`` nothing; ``same`` so much that ``ceil(n / stride)`` windows fit, an odd
    one at the end, as Keras does; ``symmetric`` ``dilation (size // 2)`` on both sides, as PyTorch users write; or
    amounts: one number, or for each axis a number or ``[before, after]``."""
    ceil_mode: bool = False
    """Whether values that are left over at the end get a window of their own (PyTorch's ``ceil_mode``)."""

    @property
    def dilations(self) -> tuple[int, ...]:
        """Steps between a window's values along each axis."""
        return (1,) * self.rank

    @property
    def counts_padding(self) -> bool:
        """Whether a mean divides by the padding in its window as well."""
        return False

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*self.windows(inputs[0]).counts, inputs[0][-1])

    def windows(self, shape: Shape) -> Windows:
        """The windows over an input of this shape.

        Raises:
            ValueError: The settings do not fit it.
        """
        check_rank(shape, self.rank)
        sizes = per_axis(self.size, self.rank, "size")
        strides = sizes if self.stride is None else per_axis(self.stride, self.rank, "stride")
        spans = tuple(span(size, dilation) for size, dilation in zip(sizes, self.dilations, strict=True))
        spatial = shape[:-1]
        same = same_padding(spatial, spans, strides)
        pads = self._pads(sizes, same)
        if self.ceil_mode and self.padding == "same":
            raise ValueError("padding: same leaves no value over, so ceil_mode changes nothing there; leave it out")
        counts = [
            _count(axis, *settings, ceil=self.ceil_mode)
            for axis, settings in enumerate(zip(spatial, pads, spans, strides, strict=True))
        ]
        overhangs = tuple(
            max((count - 1) * stride + covered - size - sum(pair), 0)
            for count, stride, covered, size, pair in zip(counts, strides, spans, spatial, pads, strict=True)
        )
        axes = tuple(
            self._along(axis, *settings)
            for axis, settings in enumerate(zip(spatial, counts, pads, sizes, strides, self.dilations, strict=True))
        )
        reach = tuple((before, after + over) for (before, after), over in zip(pads, overhangs, strict=True))
        is_same = reach == same and counts == [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
        return Windows(axes, pads, overhangs, sizes, strides, self.dilations, is_same)

    def _pads(self, sizes: tuple[int, ...], same: Pairs) -> Pairs:
        if self.padding == "valid":
            return ((0, 0),) * self.rank
        if self.padding == "same":
            return same
        if self.padding == "symmetric":
            sides = [dilation * (size // 2) for dilation, size in zip(self.dilations, sizes, strict=True)]
            return tuple((side, side) for side in sides)
        return amounts(self.padding, self.rank, "padding")

    def _along(
        self, axis: int, values: int, count: int, pair: tuple[int, int], size: int, stride: int, dilation: int
    ) -> AxisWindows:
        """The windows along one axis.

        Raises:
            ValueError: A window has no value of the input.
        """
        positions = np.arange(count)[:, None] * stride - pair[0] + dilation * np.arange(size)
        inside = (positions >= 0) & (positions < values)
        if not inside.any(axis=1).all():
            raise ValueError(
                f"padding {list(pair)} along axis {axis}, which has {values} values, leaves a window without any of "
                "them; pad less than the window spans"
            )
        counted = positions < values + pair[1] if self.counts_padding else inside
        return AxisWindows(np.where(inside, positions, -1), counted.sum(axis=1))


def _count(axis: int, values: int, pair: tuple[int, int], covered: int, stride: int, *, ceil: bool) -> int:
    """How many windows there are along an axis.

    Raises:
        ValueError: None fits.
    """
    room = values + sum(pair) - covered
    if room < 0:
        padded = f" and padding makes it {values + sum(pair)}" if sum(pair) else ""
        raise ValueError(
            f"its window spans {covered} positions, but axis {axis} has {values}{padded}; use a smaller size, "
            "or padding: same"
        )
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= values + pair[0] else count  # none begins behind the input


class MaxPooling(_Pooling):
    """``y[p, c] = max_q x[stride p + dilation q, c]``; padding never wins.

    Where several values are the largest, the gradient goes to the first of them in row-major order, in both
    frameworks. With ``ceil_mode`` the last window may reach beyond the padded input, but begins within the input or the
    padding before it (``aten/src/ATen/native/Pool.h``, ``pooling_output_shape``).

    Differs from a padding layer before the pooling, which puts zeros there: they win over negative values.
    """

    dilation: Sizes = 1
    """Steps between the values of a window."""

    @property
    def dilations(self) -> tuple[int, ...]:
        return per_axis(self.dilation, self.rank, "dilation")


class MaxPool1d(MaxPooling):
    """Max pooling over inputs ``(length, channels)``; see ``MaxPooling``."""

    kind = "max_pool1d"
    rank = 1


class MaxPool2d(MaxPooling):
    """Max pooling over inputs ``(height, width, channels)``; see ``MaxPooling``."""

    kind = "max_pool2d"
    rank = 2


class MaxPool3d(MaxPooling):
    """Max pooling over inputs ``(depth, height, width, channels)``; see ``MaxPooling``."""

    kind = "max_pool3d"
    rank = 3


class AveragePooling(_Pooling):
    """``y[p, c] = sum_q x[stride p + q, c] / m``, padding being 0.

    ``m`` is the number of the input's values in the window, with ``count_padding`` that of padding as well; positions
    that ``ceil_mode`` reaches beyond the padding are never counted.
    """

    count_padding: bool | None = None
    """Whether padding counts in the mean (PyTorch's ``count_include_pad``); Keras never counts it."""

    @property
    def counts_padding(self) -> bool:
        return bool(self.count_padding)


class AveragePool1d(AveragePooling):
    """Average pooling over inputs ``(length, channels)``; see ``AveragePooling``."""

    kind = "average_pool1d"
    rank = 1


class AveragePool2d(AveragePooling):
    """Average pooling over inputs ``(height, width, channels)``; see ``AveragePooling``."""

    kind = "average_pool2d"
    rank = 2


class AveragePool3d(AveragePooling):
    """Average pooling over inputs ``(depth, height, width, channels)``; see ``AveragePooling``."""

    kind = "average_pool3d"
    rank = 3


class _Adaptive(Layer):
    """What pooling layers have that give a number of values whatever the input's size is."""

    rank: ClassVar[int]
    """Number of spatial axes."""

    size: Sizes = Field(kw_only=False)
    """Size of the output: one number, or one for each spatial axis."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        check_rank(inputs[0], self.rank)
        return (*per_axis(self.size, self.rank, "size"), inputs[0][-1])

    def spans(self, shape: Shape) -> tuple[tuple[tuple[int, int], ...], ...]:
        """``(start, stop)`` of every window along each spatial axis of an input of this shape."""
        sizes = per_axis(self.size, self.rank, "size")
        return tuple(
            tuple((i * n // o, -(-(i + 1) * n // o)) for i in range(o)) for n, o in zip(shape[:-1], sizes, strict=True)
        )

    def windows(self, shape: Shape) -> tuple[AxisWindows, ...]:
        """The windows along each spatial axis of an input of this shape."""
        found = []
        for spans in self.spans(shape):
            lengths = np.array([stop - start for start, stop in spans])
            offsets = np.arange(lengths.max())
            starts = np.array([start for start, _ in spans])
            positions = np.where(offsets < lengths[:, None], starts[:, None] + offsets, -1)
            found.append(AxisWindows(positions, lengths))
        return tuple(found)


class AdaptiveAveragePooling(_Adaptive):
    """The mean of each of ``size`` windows, which may overlap by a value: ``[floor(i n / o), ceil((i + 1) n / o))``.

    ``n`` is the input's size along the axis, ``o`` the output's, ``i`` from 0
    (``aten/src/ATen/native/AdaptivePooling.h``, and the same in Keras 3.15).
    """


class AdaptiveAveragePool1d(AdaptiveAveragePooling):
    """Adaptive average pooling over inputs ``(length, channels)``; see ``AdaptiveAveragePooling``."""

    kind = "adaptive_average_pool1d"
    rank = 1


class AdaptiveAveragePool2d(AdaptiveAveragePooling):
    """Adaptive average pooling over inputs ``(height, width, channels)``; see ``AdaptiveAveragePooling``."""

    kind = "adaptive_average_pool2d"
    rank = 2


class AdaptiveAveragePool3d(AdaptiveAveragePooling):
    """Adaptive average pooling over inputs ``(depth, height, width, channels)``; see ``AdaptiveAveragePooling``."""

    kind = "adaptive_average_pool3d"
    rank = 3


class AdaptiveMaxPooling(_Adaptive):
    """The largest value of each window of ``AdaptiveAveragePooling``; of equal ones the first gets the gradient.

    Differs from ``keras.layers.AdaptiveMaxPooling2D`` where values tie: it takes the columns first, so that its first
    value is not the first one in row-major order.
    """


class AdaptiveMaxPool1d(AdaptiveMaxPooling):
    """Adaptive max pooling over inputs ``(length, channels)``; see ``AdaptiveMaxPooling``."""

    kind = "adaptive_max_pool1d"
    rank = 1


class AdaptiveMaxPool2d(AdaptiveMaxPooling):
    """Adaptive max pooling over inputs ``(height, width, channels)``; see ``AdaptiveMaxPooling``."""

    kind = "adaptive_max_pool2d"
    rank = 2


class AdaptiveMaxPool3d(AdaptiveMaxPooling):
    """Adaptive max pooling over inputs ``(depth, height, width, channels)``; see ``AdaptiveMaxPooling``."""

    kind = "adaptive_max_pool3d"
    rank = 3


class _Global(Layer):
    """What pooling layers have that take all positions at once."""

    keep_axes: bool = False
    """Whether the axes that are pooled stay, with size 1; Keras' ``keepdims``, and what
    ``torch.nn.AdaptiveAvgPool2d(1)`` gives."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs[0]) < 2:
            raise ValueError(f"its input must have positions and channels, so 2 axes or more, got {list(inputs[0])}")
        kept = (1,) * (len(inputs[0]) - 1) if self.keep_axes else ()
        return (*kept, inputs[0][-1])


class GlobalAveragePool(_Global):
    """The mean of each channel over all positions: every axis but the last."""

    kind = "global_average_pool"


class GlobalMaxPool(_Global):
    """The largest value of each channel over all positions: every axis but the last."""

    kind = "global_max_pool"

    ties: Literal["first", "even"] | None = None
    """Where the gradient of equal largest values goes: to the first in row-major order (PyTorch's pooling), or the same
    to each (Keras, and ``torch.amax``). After a ReLU, zeros often tie."""
