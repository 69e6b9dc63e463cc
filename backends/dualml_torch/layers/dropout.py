"""Layers that drop values at random in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Make, Masked, Placement


class _MaskedDropout(Masked):
    """A stock dropout that takes its mask from ``mask`` where one is set.

    In training ``y = x (m / (1 - p))``, in the order of the stock module's own arithmetic
    (``aten/src/ATen/native/Dropout.cpp``). With no mask set it is the stock module. A class of its own
    because the stock one has no way to take a mask, which the two frameworks must share to agree.

    Attributes:
        mask: Which values are kept, a shape that broadcasts with the input, dtype bool; or ``None``.
    """

    p: float

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Drop the values that the mask does not keep."""
        if self.mask is None or not self.training:
            return super().forward(input)  # type: ignore[no-any-return]
        return input * self.mask.to(input.dtype).div_(1.0 - self.p)


class MaskedDropout(_MaskedDropout, nn.Dropout):
    """``torch.nn.Dropout`` that can be given its mask; see ``_MaskedDropout``."""


class MaskedDropout1d(_MaskedDropout, nn.Dropout1d):
    """``torch.nn.Dropout1d`` that can be given its mask; see ``_MaskedDropout``."""


class MaskedDropout2d(_MaskedDropout, nn.Dropout2d):
    """``torch.nn.Dropout2d`` that can be given its mask; see ``_MaskedDropout``."""


class MaskedDropout3d(_MaskedDropout, nn.Dropout3d):
    """``torch.nn.Dropout3d`` that can be given its mask; see ``_MaskedDropout``."""


class StochasticDepth(_MaskedDropout, nn.Dropout):
    """Drops whole examples; PyTorch has no such module, torchvision has."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Drop the examples that the mask, or one of its own, does not keep."""
        if self.mask is not None or not self.training:
            return super().forward(input)
        shape = (len(input), *((1,) * (input.ndim - 1)))
        kept = torch.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(1.0 - self.p)
        return input * kept.div_(1.0 - self.p)


class MaskedAlphaDropout(nn.AlphaDropout, Masked):
    """``torch.nn.AlphaDropout`` that takes its mask from ``mask`` where one is set; see ``MaskedDropout``.

    Attributes:
        dropped: What a dropped value becomes before scaling.
        factor: What all are multiplied by.
        offset: What is added.
    """

    def __init__(self, rate: float, dropped: float, factor: float, offset: float) -> None:
        super().__init__(rate)
        self.dropped, self.factor, self.offset = dropped, factor, offset

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Replace the values that the mask does not keep, and scale all."""
        if self.mask is None or not self.training:
            return super().forward(input)
        return torch.where(self.mask, input, self.dropped) * self.factor + self.offset


_SPATIAL: tuple[tuple[Any, Any], ...] = (
    (nn.Dropout1d, MaskedDropout1d),
    (nn.Dropout2d, MaskedDropout2d),
    (nn.Dropout3d, MaskedDropout3d),
)


def dropout(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Dropout`` with its own masks, or ``MaskedDropout`` with given ones."""
    rate = float(node.settings.rate)
    return nn.Dropout(rate) if placement.native_randomness else MaskedDropout(rate)


def spatial_dropout(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Dropout1d`` to ``Dropout3d`` with their own masks, or their kin with given ones."""
    stock, masked = _SPATIAL[len(node.shape) - 2]
    return (stock if placement.native_randomness else masked)(float(node.settings.rate))  # type: ignore[no-any-return]


def stochastic_depth(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (draws where it is given no mask)
    """``StochasticDepth``."""
    return StochasticDepth(float(node.settings.rate))


def alpha_dropout(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.AlphaDropout`` with its own masks, or ``MaskedAlphaDropout`` with given ones."""
    settings = node.settings
    rate = float(settings.rate)
    if placement.native_randomness:
        return nn.AlphaDropout(rate)
    return MaskedAlphaDropout(rate, settings.dropped, settings.factor, settings.offset)


def _any(node: Node) -> Axes:  # noqa: ARG001
    return "any"


def _first(node: Node) -> Axes:  # noqa: ARG001
    return "first"


LAYERS: Mapping[str, Make] = {
    "dropout": dropout,
    "spatial_dropout": spatial_dropout,
    "stochastic_depth": stochastic_depth,
    "alpha_dropout": alpha_dropout,
}
AXES: Mapping[str, Callable[[Node], Axes]] = {
    "dropout": _any,
    "spatial_dropout": _first,
    "stochastic_depth": _any,
    "alpha_dropout": _any,
}
