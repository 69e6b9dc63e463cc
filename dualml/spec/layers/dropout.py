"""Layers that drop values at random in training."""

from __future__ import annotations

import math

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape


class _Dropping(Layer):
    """What layers have that drop values at random in training and pass everything on otherwise."""

    rate: float = Field(ge=0, lt=1, kw_only=False)
    """Probability that a value is dropped."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


class Dropout(_Dropping):
    """In training ``y = x m / (1 - rate)`` with a random mask ``m`` of zeros and ones; else ``y = x``.

    (Srivastava et al., JMLR 15, 2014, in the "inverted" form both frameworks use.)
    """

    kind = "dropout"


class SpatialDropout(_Dropping):
    """Dropout of whole channels: one value of the mask for each channel of an example.

    (Tompson et al., arXiv:1411.4280, section 3.2.) In the frameworks it is ``torch.nn.Dropout1d`` to ``Dropout3d`` and
    ``keras.layers.SpatialDropout1D`` to ``SpatialDropout3D``.
    """

    kind = "spatial_dropout"

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if not 2 <= len(inputs[0]) <= 4:
            raise ValueError(
                f"its input must have 1 to 3 spatial axes and channels, got {list(inputs[0])}; dropout takes any"
            )
        return inputs[0]

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*(1 for _ in inputs[0][:-1]), inputs[0][-1])


class StochasticDepth(_Dropping):
    """Dropout of whole examples: one value of the mask for each (Huang et al., arXiv:1603.09382).

    At the end of a residual's layers it drops the branch: the example takes the shortcut alone.
    ``torchvision.ops.StochasticDepth`` with ``mode="row"``.
    """

    kind = "stochastic_depth"

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape:
        return (1,) * len(inputs[0])


class AlphaDropout(_Dropping):
    """Dropout that keeps mean 0 and variance 1, for layers with SELU (Klambauer et al., arXiv:1706.02515, section 3).

    In training ``y = a (x m + d (1 - m)) + b`` with ``d = -1.7580993408473766``, the limit of SELU at minus infinity,
    ``a = ((1 - rate)(1 + rate d^2))^(-1/2)`` and ``b = -a d rate``; else ``y = x``.
    """

    kind = "alpha_dropout"

    @property
    def dropped(self) -> float:
        """What a dropped value becomes before scaling, ``d``."""
        return -1.7580993408473766

    @property
    def factor(self) -> float:
        """The factor ``a``."""
        return 1.0 / math.sqrt((1.0 - self.rate) * (1.0 + self.rate * self.dropped**2))

    @property
    def offset(self) -> float:
        """The offset ``b``."""
        return -self.factor * self.dropped * self.rate
