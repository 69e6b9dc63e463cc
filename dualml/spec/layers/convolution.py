"""Convolutions: over all channels or groups of them, depthwise, and separable."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from dualml.spec.activations import ActivationFunction
from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Composite, Layer, ParameterShape, PositiveInt, Shape
from dualml.spec.layers.sliding import (
    Padding,
    PaddingMode,
    Pairs,
    Sizes,
    amounts,
    check_mode,
    check_rank,
    per_axis,
    same_padding,
    span,
    window_counts,
)


class Filtered(Layer):
    """What layers have that choose the number of their output's channels."""

    filters: PositiveInt = Field(kw_only=False)
    """Channels of the output."""


class Windowed(Layer):
    """What layers have whose window takes steps along spatial axes and has a weight for each of its values."""

    rank: ClassVar[int]
    """Number of spatial axes."""

    kernel_size: Sizes = Field(kw_only=False)
    """Size ``k`` of the window: one number, or one for each spatial axis."""
    stride: Sizes = 1
    """Steps between windows."""
    dilation: Sizes = 1
    """Steps between the values of a window."""
    activation: ActivationFunction | None = None
    """Function ``f``; left out, the identity."""
    bias: bool = True
    """Whether there is a ``b``."""
    kernel_initializer: Initializer | None = None
    """How ``K`` is drawn."""
    bias_initializer: Initializer | None = None
    """How ``b`` is drawn."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of the window along each axis."""
        return per_axis(self.kernel_size, self.rank, "kernel_size")

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between windows along each axis."""
        return per_axis(self.stride, self.rank, "stride")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Steps between a window's values along each axis."""
        return per_axis(self.dilation, self.rank, "dilation")

    @property
    def spans(self) -> tuple[int, ...]:
        """Positions a window covers along each axis."""
        return tuple(span(size, dilation) for size, dilation in zip(self.sizes, self.dilations, strict=True))

    @property
    def symmetric_sides(self) -> Pairs:
        """What ``padding: symmetric`` means on both sides: ``dilation (k // 2)``."""
        sides = [d * (k // 2) for d, k in zip(self.dilations, self.sizes, strict=True)]
        return tuple((side, side) for side in sides)

    def weights(self, kernel: Shape, bias: int, fan_in: int, fan_out: int) -> tuple[ParameterShape, ...]:
        """Its kernel and, if it has one, its bias."""
        found = (ParameterShape("kernel", kernel, self.kernel_initializer, fan_in, fan_out),)
        return (*found, ParameterShape("bias", (bias,), self.bias_initializer, fan_in, fan_out)) if self.bias else found


class Sliding(Windowed):
    """A window that slides over padded inputs; a subclass adds how channels mix.

    Along an axis of ``n`` values there are ``floor((n + before + after - dilation (k - 1) - 1) / stride) + 1`` windows.
    """

    padding: Padding = "valid"
    """What is put around the input: ``valid`` nothing; ``same`` so much that ``ceil(n / stride)`` windows fit, an odd
    one at the end, as Keras does; ``symmetric`` ``dilation (k // 2)`` on both sides, as PyTorch users write; ``causal``
    (one spatial axis only) ``dilation (k - 1)`` before, so that no output sees a later input; or amounts: one number,
    or for each axis a number or ``[before, after]``."""
    padding_mode: PaddingMode = "zeros"
    """What padding consists of: zeros, or the input's own values: reflect, replicate, circular."""

    def pads(self, shape: Shape) -> Pairs:
        """What is put before and after each spatial axis of an input of this shape."""
        padding = self.padding
        if padding == "valid":
            return ((0, 0),) * self.rank
        if padding == "same":
            return self.same_pads(shape)
        if padding == "symmetric":
            return self.symmetric_sides
        if padding == "causal":
            if self.rank > 1:
                raise ValueError(f"padding: causal needs a single spatial axis, got {self.rank}; use same or amounts")
            return tuple((covered - 1, 0) for covered in self.spans)
        return amounts(padding, self.rank, "padding")

    def same_pads(self, shape: Shape) -> Pairs:
        """What ``padding: same`` would put there."""
        return same_padding(shape[:-1], self.spans, self.strides)

    def channels(self, inputs: int) -> int:
        """Channels of the output."""
        raise NotImplementedError

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        check_rank(inputs[0], self.rank)
        channels = self.channels(inputs[0][-1])
        spatial, pads = inputs[0][:-1], self.pads(inputs[0])
        check_mode(self.padding_mode, pads, spatial)
        return (*window_counts(spatial, pads, self.spans, self.strides), channels)


class Convolution(Sliding, Filtered):
    """A cross-correlation: ``y[p, o] = f(b[o] + sum_{q, c} x[stride p + dilation q, c] K[q, c, o])``.

    ``x`` is padded, shape ``(*spatial, channels)``; ``K`` is ``(*kernel_size, channels / groups, filters)``, Keras'
    layout, not flipped; ``torch.nn.Conv*.weight`` is ``(filters, channels / groups, *kernel_size)``; ``b`` is
    ``(filters,)``. The filters are in ``groups`` equal parts, of which each sees its own part of the channels.

    Differs from both frameworks, each of which knows one meaning of "same" at a stride above 1: PyTorch refuses
    ``padding="same"`` there, and the usual ``padding=k // 2`` is symmetric, where Keras puts an odd zero at the end.
    """

    groups: PositiveInt = 1
    """Parts into which channels and filters are divided."""

    def channels(self, inputs: int) -> int:
        check_groups(self.groups, inputs, self.filters)
        return self.filters

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        field, channels = math.prod(self.sizes), inputs[0][-1] // self.groups
        kernel = (*self.sizes, channels, self.filters)
        return self.weights(kernel, self.filters, field * channels, field * self.filters)


def check_groups(groups: int, inputs: int, filters: int) -> None:
    """Refuse groups that do not divide channels and filters.

    Raises:
        ValueError: They do not.
    """
    if inputs % groups or filters % groups:
        raise ValueError(f"groups must divide the input's {inputs} channels and the {filters} filters, got {groups}")


class Conv1d(Convolution):
    """Convolution over ``(length, channels)``: ``torch.nn.Conv1d``, ``keras.layers.Conv1D``."""

    kind = "conv1d"
    rank = 1


class Conv2d(Convolution):
    """Convolution over ``(height, width, channels)``: ``torch.nn.Conv2d``, ``keras.layers.Conv2D``."""

    kind = "conv2d"
    rank = 2


class Conv3d(Convolution):
    """Convolution over ``(depth, height, width, channels)``: ``torch.nn.Conv3d``, ``keras.layers.Conv3D``."""

    kind = "conv3d"
    rank = 3


class Depthwise(Sliding):
    """``y[p, c m + j] = f(b[c m + j] + sum_q x[stride p + dilation q, c] K[q, c, j])``: every channel by itself.

    ``K`` is ``(*kernel_size, channels, multiplier)``, Keras' layout; ``b`` is ``(channels multiplier,)``. In PyTorch
    it is a convolution with a group for each channel, whose weight ``(channels multiplier, 1, *kernel_size)`` counts
    the multiplier ``m`` fastest, so that the order of the output's channels is the same.
    """

    multiplier: PositiveInt = 1
    """Outputs ``m`` for each channel."""
    fans: Literal["channel", "kernel"] | None = None
    """What initializers take for the number of inputs and outputs: those of one ``channel``'s window, ``k`` and
    ``k channels multiplier`` (PyTorch), or the last two axes of the ``kernel`` as if they were inputs and outputs,
    ``k channels`` and ``k multiplier`` (Keras)."""

    def channels(self, inputs: int) -> int:
        return inputs * self.multiplier

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        field, channels = math.prod(self.sizes), inputs[0][-1]
        outputs = channels * self.multiplier
        fans = (field * channels, field * self.multiplier) if self.fans == "kernel" else (field, field * outputs)
        return self.weights((*self.sizes, channels, self.multiplier), outputs, *fans)


class DepthwiseConv1d(Depthwise):
    """Depthwise over ``(length, channels)``: ``keras.layers.DepthwiseConv1D``."""

    kind = "depthwise_conv1d"
    rank = 1


class DepthwiseConv2d(Depthwise):
    """Depthwise over ``(height, width, channels)``: ``keras.layers.DepthwiseConv2D``."""

    kind = "depthwise_conv2d"
    rank = 2


class Separable(Composite):
    """A depthwise convolution without bias, then a convolution with windows of 1, with bias and activation.

    Nothing stands between the two (``keras.layers.SeparableConv*``; Chollet, arXiv:1610.02357).
    """

    depthwise: ClassVar[type[Depthwise]]
    pointwise: ClassVar[type[Convolution]]

    filters: PositiveInt = Field(kw_only=False)
    """Channels of the output."""
    kernel_size: Sizes = Field(kw_only=False)
    """Size of the depthwise window: one number, or one for each spatial axis."""
    stride: Sizes = 1
    """Steps between windows."""
    dilation: Sizes = 1
    """Steps between the values of a window."""
    padding: Padding = "valid"
    """What is put around the input, as for ``conv2d``."""
    padding_mode: PaddingMode = "zeros"
    """What padding consists of: zeros, or the input's own values: reflect, replicate, circular."""
    multiplier: PositiveInt = 1
    """Outputs of the depthwise part for each channel."""
    activation: ActivationFunction | None = None
    """Function of the result; left out, the identity."""
    bias: bool = True
    """Whether the pointwise part has a bias."""
    depthwise_initializer: Initializer | None = None
    """How the depthwise kernel is drawn."""
    pointwise_initializer: Initializer | None = None
    """How the pointwise kernel is drawn."""
    bias_initializer: Initializer | None = None
    """How the bias is drawn."""
    fans: Literal["channel", "kernel"] | None = None
    """Of the depthwise kernel, as for ``depthwise_conv2d``."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        depthwise = self.depthwise(
            self.kernel_size,
            name="depthwise",
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            padding_mode=self.padding_mode,
            multiplier=self.multiplier,
            bias=False,
            kernel_initializer=self.depthwise_initializer,
            fans=self.fans,
        )
        pointwise = self.pointwise(
            self.filters,
            1,
            name="pointwise",
            activation=self.activation,
            bias=self.bias,
            kernel_initializer=self.pointwise_initializer,
            bias_initializer=self.bias_initializer,
        )
        return depthwise, pointwise


class SeparableConv1d(Separable):
    """Depthwise, then pointwise convolution over ``(length, channels)``: ``keras.layers.SeparableConv1D``."""

    kind = "separable_conv1d"
    depthwise = DepthwiseConv1d
    pointwise = Conv1d


class SeparableConv2d(Separable):
    """Depthwise, then pointwise convolution over ``(height, width, channels)``: ``keras.layers.SeparableConv2D``."""

    kind = "separable_conv2d"
    depthwise = DepthwiseConv2d
    pointwise = Conv2d
