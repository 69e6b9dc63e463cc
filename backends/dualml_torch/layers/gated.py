"""Gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml.spec.layers.shape import axis_of
from dualml_torch.layers.base import Axes, Make, Placement, Roles, same, uninitialised


class Prelu(nn.Module):
    """``x`` where ``x > 0``, else ``weight x``, with a slope for each value of an example.

    Why not stock: ``torch.nn.PReLU`` has one slope, or one for each channel.

    Args:
        shape: Shape of one example.
        device: Where the slopes live.
        dtype: Their number format.

    Attributes:
        weight: The slopes.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """From channels last."""
        return torch.where(input > 0, input, self.weight * input)

    def extra_repr(self) -> str:
        """The shape, in the module's text."""
        return f"shape={tuple(self.weight.shape)}"


def glu(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (one signature for all)
    """``torch.nn.GLU``."""
    shape = node.input_shapes[0]
    axis = axis_of(node.settings.axis, shape)
    return nn.GLU(1 if _glu_axes(node) == "first" else axis + 1)


def prelu(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.PReLU``, or ``Prelu`` where every value has a slope."""
    slopes = node.settings.slopes
    if slopes == "values":
        return Prelu(node.shape, placement.device, placement.dtype)
    return uninitialised(nn.PReLU, placement, num_parameters=1 if slopes == "one" else node.shape[-1])


def _glu_axes(node: Node) -> Axes:
    """First for the channels of an image: there they are that in convolutions."""
    shape = node.input_shapes[0]
    return "first" if len(shape) > 2 and axis_of(node.settings.axis, shape) == len(shape) - 1 else "last"


def _prelu_axes(node: Node) -> Axes:
    if node.settings.slopes == "one":
        return "any"
    return "first" if node.settings.slopes == "channels" and len(node.shape) > 1 else "last"


LAYERS: Mapping[str, Make] = {"glu": glu, "prelu": prelu}
AXES: Mapping[str, Callable[[Node], Axes]] = {"glu": _glu_axes, "prelu": _prelu_axes}
ROLES: Roles = {("prelu", "slope"): same("weight")}
