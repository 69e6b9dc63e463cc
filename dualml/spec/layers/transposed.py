"""Transposed convolutions: what a convolution's gradient does to its input."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from dualml.spec.layers.base import ParameterShape, PositiveInt, Shape
from dualml.spec.layers.convolution import Filtered, Windowed, check_groups
from dualml.spec.layers.sliding import Cropping, NonNegativeInt, Pairs, amounts, check_rank, per_axis

OutputPadding: TypeAlias = Literal["fill"] | NonNegativeInt | Annotated[tuple[NonNegativeInt, ...], Field(strict=False)]
"""``fill``, one number for all spatial axes, or one for each."""


class TransposedConvolution(Windowed, Filtered):
    """``full[stride p + dilation q, o] = sum_{p, q, c} x[p, c] K[q, o, c]``, then cropped; ``y = f(full + b)``.

    ``K`` is ``(*kernel_size, filters / groups, channels)``, Keras' layout, not flipped;
    ``torch.nn.ConvTranspose*.weight`` is ``(channels, filters / groups, *kernel_size)``. ``full`` has
    ``(n - 1) stride + dilation (k - 1) + 1`` values along an axis of ``n``; ``padding`` is taken *off* it,
    ``output_padding`` put at its end, where the sum is empty.

    Differs from Keras, where ``same`` with an ``output_padding`` takes off other values than PyTorch's ``padding`` with
    one: of a window of 3 with stride 2 nothing before, where ``padding=1, output_padding=1`` takes off one.
    """

    padding: Cropping = "valid"
    """What is taken off: ``valid`` nothing; ``same`` so much that ``n stride`` values remain, an odd one at the end,
    as Keras does; ``symmetric`` ``dilation (k // 2)`` on both sides, as PyTorch users write; or amounts: one number, or
    for each axis a number or ``[before, after]``."""
    output_padding: OutputPadding | None = None
    """Values put at the end: a number below stride or dilation, or ``fill``: as many as a window shorter than the
    stride lacks (Keras). With ``padding: same`` it is always ``fill``."""
    groups: PositiveInt = 1
    """Parts into which channels and filters are divided."""

    @property
    def crops(self) -> Pairs:
        """What is taken off before and after each axis."""
        if self.padding == "valid":
            return ((0, 0),) * self.rank
        if self.padding == "same":
            return self.same_crops
        if self.padding == "symmetric":
            return self.symmetric_sides
        assert not isinstance(self.padding, str)
        return amounts(self.padding, self.rank, "padding")

    @property
    def same_crops(self) -> Pairs:
        """What ``padding: same`` takes off."""
        totals = [max(covered - stride, 0) for covered, stride in zip(self.spans, self.strides, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)

    @property
    def fill(self) -> tuple[int, ...]:
        """What windows shorter than the stride lack."""
        return tuple(max(stride - covered, 0) for covered, stride in zip(self.spans, self.strides, strict=True))

    @property
    def extra(self) -> tuple[int, ...]:
        """Values put at the end of each axis."""
        if self.output_padding == "fill" or self.padding == "same":
            return self.fill
        return per_axis(self.output_padding or 0, self.rank, "output_padding")

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        check_rank(inputs[0], self.rank)
        check_groups(self.groups, inputs[0][-1], self.filters)
        if self.padding == "same" and self.output_padding not in (None, 0, "fill"):
            raise ValueError(
                f"padding: same fixes the output at stride times the input, got output_padding {self.output_padding} "
                "as well; leave it out, or give padding as amounts"
            )
        sizes = []
        for axis, (n, stride, dilation, covered, crop, extra) in enumerate(
            zip(inputs[0], self.strides, self.dilations, self.spans, self.crops, self.extra, strict=False)
        ):
            if extra >= max(stride, dilation):
                raise ValueError(
                    f"output_padding must be below the stride or the dilation, got {extra} for axis {axis} with stride "
                    f"{stride} and dilation {dilation}"
                )
            full = (n - 1) * stride + covered
            if full + extra - sum(crop) < 1:
                raise ValueError(
                    f"padding takes {list(crop)} off axis {axis}, where there are only {full + extra} values; take less"
                )
            sizes.append(full + extra - sum(crop))
        return (*sizes, self.filters)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        field, channels, outputs = math.prod(self.sizes), inputs[0][-1], self.filters // self.groups
        # Both frameworks read the kernel as that of the convolution it transposes, whose inputs are the outputs here.
        return self.weights((*self.sizes, outputs, channels), self.filters, field * outputs, field * channels)


class ConvTranspose1d(TransposedConvolution):
    """Transposed over ``(length, channels)``: ``torch.nn.ConvTranspose1d``, ``keras.layers.Conv1DTranspose``."""

    kind = "conv_transpose1d"
    rank = 1


class ConvTranspose2d(TransposedConvolution):
    """Transposed over ``(height, width, channels)``: ``torch.nn.ConvTranspose2d``, ``keras.layers.Conv2DTranspose``."""

    kind = "conv_transpose2d"
    rank = 2
