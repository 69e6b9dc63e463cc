"""Layers that normalise: values less their mean, over their standard deviation, then scaled and moved.

With the ``mean`` and the ``variance`` (biased: the mean squared distance from the mean) of a set of values that each
layer names, ``y = (x - mean) / sqrt(variance + epsilon) scale + offset``. Channels are the last axis.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from dualml.spec.base import written
from dualml.spec.initializers import Initializer, Ones, Zeros
from dualml.spec.layers.base import BufferShape, Layer, ParameterShape, PositiveInt, Shape


class _Normalisation(Layer):
    """What all of them have."""

    epsilon: float | None = Field(default=None, gt=0)
    """Added under the root."""
    scale_initializer: Initializer = Ones()
    """How the scale is drawn, if there is one."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]

    def weight_shape(self, shape: Shape) -> Shape:
        """Shape of the scale and of the offset, for an input of some shape."""
        return shape[-1:]

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        shape = self.weight_shape(inputs[0])
        size = math.prod(shape)
        return tuple(
            ParameterShape(role, shape, getattr(self, f"{role}_initializer"), size, size)
            for role in ("scale", "offset")
            if getattr(self, role, False)
        )


class _Affine(_Normalisation):
    """A scale and an offset, both there unless said otherwise."""

    scale: bool = True
    """Whether the result is multiplied by a trained scale."""
    offset: bool = True
    """Whether a trained offset is added."""
    offset_initializer: Initializer = Zeros()
    """How the offset is drawn, if there is one."""


class LayerNorm(_Affine):
    """Normalises each example by itself over its last axes (Ba et al., arXiv:1607.06450).

    ``y = (x - mean) / sqrt(variance + epsilon) scale + offset``, mean and variance over the last ``axes`` axes;
    scale and offset have the shape of those axes.

    Differs between the frameworks in epsilon: 1e-5 in PyTorch, 1e-3 in Keras. Over the axes of an image
    ``torch.nn.LayerNorm`` means (channels, height, width); here, as in Keras, they are (height, width, channels).
    """

    kind = "layer_norm"

    axes: PositiveInt = 1
    """How many of an example's last axes it normalises over."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return _with_axes(inputs[0], self.axes)

    def weight_shape(self, shape: Shape) -> Shape:
        return shape[-self.axes :]


class RmsNorm(_Normalisation):
    """Divides each example by its root mean square over its last axes (Zhang and Sennrich, arXiv:1910.07467).

    ``y = x / sqrt(mean(x^2) + epsilon) scale``, the mean over the last ``axes`` axes; the scale has their shape.

    Differs between the frameworks in epsilon: ``torch.nn.RMSNorm`` takes the distance from 1 to the next number of
    its input's format (1.2e-7 in float32, 2.2e-16 in float64), Keras 1e-6. The setting ``rms_scaling`` of
    ``keras.layers.LayerNormalization`` is another formula: it divides by the standard deviation.
    """

    kind = "rms_norm"

    axes: PositiveInt = 1
    """How many of an example's last axes it normalises over."""
    scale: bool = True
    """Whether the result is multiplied by a trained scale."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return _with_axes(inputs[0], self.axes)

    def weight_shape(self, shape: Shape) -> Shape:
        return shape[-self.axes :]


class UnitNorm(Layer):
    """Scales each example's last axes to length 1: ``y = x / max(sqrt(sum(x^2)), epsilon)``.

    The sum is over the last ``axes`` axes. What is shorter than ``epsilon`` becomes ``x / epsilon``: zeros stay zeros.
    It is ``torch.nn.functional.normalize`` and ``keras.layers.UnitNormalization``, which agree in epsilon: 1e-12.

    Differs from ``keras.ops.normalize``, whose epsilon is 1e-7.
    """

    kind = "unit_norm"

    axes: PositiveInt = 1
    """How many of an example's last axes it normalises over."""
    epsilon: float | None = Field(default=None, gt=0)
    """The shortest length that is scaled to 1."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return _with_axes(inputs[0], self.axes)


class GroupNorm(_Affine):
    """Normalises each example by itself over groups of neighbouring channels (Wu and He, arXiv:1803.08494).

    Mean and variance are over all positions and the ``channels / groups`` channels of a group; scale and offset have
    one number for each channel.

    Differs between the frameworks in epsilon: 1e-5 in PyTorch, 1e-3 in Keras.
    """

    kind = "group_norm"

    groups: PositiveInt = Field(kw_only=False)
    """Into how many groups of equal size the channels are divided."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = inputs[0]
        channels = shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups must divide the {channels} channels of its input of shape {list(shape)}, got {self.groups}"
            )
        if math.prod(shape) == self.groups:
            raise ValueError(
                f"each of its {self.groups} groups holds one value of an input of shape {list(shape)}, which is "
                "normalised to 0; use fewer groups"
            )
        return shape


class InstanceNorm(_Normalisation):
    """Normalises each channel of each example by itself, over its positions (Ulyanov et al., arXiv:1607.08022).

    It is ``group_norm`` with a group for each channel, and remembers nothing.

    Differs between the frameworks: ``torch.nn.InstanceNorm2d`` has no scale and offset and epsilon 1e-5;
    ``keras.layers.GroupNormalization(groups=-1)`` has both and epsilon 1e-3.
    """

    kind = "instance_norm"

    scale: bool | None = None
    """Whether the result is multiplied by a trained scale."""
    offset: bool | None = None
    """Whether a trained offset is added."""
    offset_initializer: Initializer = Zeros()
    """How the offset is drawn, if there is one."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = inputs[0]
        if math.prod(shape[:-1]) < 2:
            raise ValueError(
                f"a channel of an input of shape {list(shape)} has one value, which is normalised to 0; it needs an "
                "input with positions, [..., channels], such as a convolution's output"
            )
        return shape


class BatchNorm(_Affine):
    """Normalises each channel over all examples and positions (Ioffe and Szegedy, arXiv:1502.03167).

    In training mean and variance are the batch's, and two buffers follow them:
    ``running <- momentum running + (1 - momentum) batch``; in inference they are the buffers'. Where an update has
    several batches (``train.accumulate``), each is normalised by itself and the buffers move with each.

    Differs between the frameworks: PyTorch's ``momentum`` is the weight of the *new* value, 0.1 by default, which is
    0.9 here, while Keras' 0.99 is 0.99 here; epsilon is 1e-5 in PyTorch and 1e-3 in Keras; the running variance takes
    in the unbiased variance of a batch in PyTorch and the biased one in Keras. Of a single value there is no unbiased
    variance, so PyTorch refuses batches with one value for each channel, and so does ``variance: unbiased`` here;
    with ``biased``, as in Keras, such a batch gives the offset alone and draws the running variance to 0.
    """

    kind = "batch_norm"

    momentum: float | None = Field(default=None, lt=1)
    """Weight of the old running value, at least 0.5."""
    variance: Literal["biased", "unbiased"] | None = None
    """Which variance of a batch the running one takes in: over ``n`` values their squared distances' sum is divided by
    ``n`` or by ``n - 1``. What a batch itself is normalised by is the biased one."""
    frozen: bool = False
    """Whether training, too, uses the running values and leaves them as they are; scale and offset go on learning."""

    @model_validator(mode="after")
    def _momentum_of_the_old(self) -> Self:
        if self.momentum is not None and self.momentum < 0.5 and written():
            raise ValueError(
                f"momentum must be at least 0.5: it is the weight of the old running value, as in Keras; got "
                f"{self.momentum:g}. PyTorch's momentum is the weight of the new one: its {self.momentum:g} is "
                f"{1 - self.momentum:g} here"
            )
        return self

    def buffers(self, inputs: tuple[Shape, ...]) -> tuple[BufferShape, ...]:
        channels = inputs[0][-1:]
        return BufferShape("running_mean", channels, 0.0), BufferShape("running_variance", channels, 1.0)

    def examples_independent(self) -> bool:
        return self.frozen

    def fewest_examples(self, inputs: tuple[Shape, ...]) -> int:
        alone = math.prod(inputs[0][:-1]) == 1
        return 2 if alone and self.variance == "unbiased" and not self.frozen else 1


def _with_axes(shape: Shape, axes: int) -> Shape:
    """The shape, if it has so many axes.

    Raises:
        ValueError: It has fewer.
    """
    if axes > len(shape):
        raise ValueError(f"axes must be at most {len(shape)}, for its input has shape {list(shape)}; got {axes}")
    return shape
