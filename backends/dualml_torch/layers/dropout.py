"""Layers that drop values at random in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Make, Masked, Placement


class MaskedDropout(nn.Dropout, Masked):
    """``torch.nn.Dropout`` that takes its mask from ``mask`` where one is set.

    In training ``y = x (m / (1 - p))``, in the order of the stock module's own arithmetic
    (``aten/src/ATen/native/Dropout.cpp``). With no mask set it is the stock module. A class of its own
    because the stock one has no way to take a mask, which the two frameworks must share to agree.

    Attributes:
        mask: Which values are kept, a shape that broadcasts with the input, dtype bool; or ``None``.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Drop the values that the mask does not keep."""
        if self.mask is None or not self.training:
            return super().forward(input)
        return input * self.mask.to(input.dtype).div_(1.0 - self.p)


def dropout(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Dropout`` with its own masks, or ``MaskedDropout`` with given ones."""
    rate = float(node.settings.rate)
    return nn.Dropout(rate) if placement.native_randomness else MaskedDropout(rate)


def _any(node: Node) -> Axes:  # noqa: ARG001
    return "any"


LAYERS: Mapping[str, Make] = {"dropout": dropout}
AXES: Mapping[str, Callable[[Node], Axes]] = {"dropout": _any}
