"""Layers that only move values, and resizing."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualml.spec.graph import Node
from dualml.spec.layers.resize import AxisSources
from dualml.spec.layers.shape import axis_of
from dualml_torch.layers.base import Axes, Join, Make, Placement
from dualml_torch.layers.pooling import backwards

_PADS: Mapping[str, tuple[Any, ...]] = {
    "zeros": (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
}
_CONSTANT: tuple[Any, ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
_LINEAR = ("linear", "bilinear", "trilinear")
_NEAREST = {"floor": "nearest", "half_pixel": "nearest-exact"}


def flatten(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``; where channels are when it is called decides the order."""
    return nn.Flatten(start_dim=1)


def reshape(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``, ``torch.nn.Unflatten`` or one after the other: there is no stock reshape."""
    if len(node.shape) == 1:
        return nn.Flatten(start_dim=1)
    unflatten = nn.Unflatten(1, node.shape)
    if len(node.input_shapes[0]) == 1:
        return unflatten
    return nn.Sequential(nn.Flatten(start_dim=1), unflatten)


def pad(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.ZeroPad*``, ``ConstantPad*``, ``ReflectionPad*``, ``ReplicationPad*`` or ``CircularPad*``."""
    settings = node.settings
    pads = settings.pads(node.input_shapes[0])
    if settings.value:
        return _CONSTANT[len(pads) - 1](backwards(pads), float(settings.value))  # type: ignore[no-any-return]
    return _PADS[settings.padding_mode][len(pads) - 1](backwards(pads))  # type: ignore[no-any-return]


def crop(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.ZeroPad*`` with negative amounts: there is no stock cropping."""
    crops = node.settings.crops(node.input_shapes[0])
    negative = tuple((-before, -after) for before, after in crops)
    return _PADS["zeros"][len(crops) - 1](backwards(negative))  # type: ignore[no-any-return]


class Pick(nn.Module):
    """Given positions of each spatial axis.

    Why not stock: ``torch.nn.Upsample`` computes positions in float32 and may so take a neighbour.

    Attributes:
        positions: One buffer for each spatial axis, ``positions_0`` and on; not saved, as the settings imply them.
    """

    def __init__(self, sources: tuple[AxisSources, ...], device: torch.device) -> None:
        super().__init__()
        self.axes = len(sources)
        for axis, source in enumerate(sources):
            self.register_buffer(f"positions_{axis}", torch.tensor(source.low, device=device), persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """From channels first, one axis after the other."""
        for axis in range(self.axes):
            input = torch.index_select(input, axis + 2, self.get_buffer(f"positions_{axis}"))  # noqa: A001
        return input


def resize(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Upsample``, or ``Pick`` where the stock one rounds a position to another value."""
    settings, shape = node.settings, node.input_shapes[0]
    rank = len(shape) - 1
    sizes: dict[str, Any] = {"size": node.shape[:-1]}
    if settings.scale is not None and settings.step == "scale":
        scale = settings.scale
        sizes = {"scale_factor": tuple(scale) if isinstance(scale, tuple) else scale, "recompute_scale_factor": False}
    if settings.mode == "linear":
        return nn.Upsample(**sizes, mode=_LINEAR[rank - 1], align_corners=settings.align_corners)
    stock = nn.Upsample(**sizes, mode=_NEAREST[settings.rounding])
    sources = settings.sources(shape)
    numbers = np.arange(np.prod(shape[:-1]), dtype=np.float64).reshape(shape[:-1])
    wanted = numbers[np.ix_(*(source.low for source in sources))]
    taken = stock(torch.tensor(numbers, dtype=placement.dtype)[None, None])[0, 0]
    if np.array_equal(taken.numpy(), wanted):
        return stock
    return Pick(sources, placement.device)


# ------------------------------------------------------------------ function calls, for what has no module


def native_axis(axis: int, rank: int, channels: Literal["first", "last"]) -> int:
    """Where an axis of one example is in a native value of ``rank`` axes besides the examples'."""
    if channels == "last":
        return axis + 1
    return 1 if axis == rank - 1 else axis + 2


def permute(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:  # noqa: ARG001
    """``torch.permute``, channels last."""
    return graph.call_function(torch.permute, (inputs[0], (0, *(axis + 1 for axis in node.settings.axes))))


def slice_(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:
    """A slice of the tensor."""
    settings, shape = node.settings, node.input_shapes[0]
    axis = native_axis(axis_of(settings.axis, shape), len(shape), channels)
    kept = settings.positions(shape)
    key = (slice(None),) * axis + (slice(kept.start, kept.stop, kept.step),)
    return graph.call_function(operator.getitem, (inputs[0], key))


def select(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:
    """``torch.select``."""
    settings, shape = node.settings, node.input_shapes[0]
    axis = native_axis(axis_of(settings.axis, shape), len(shape), channels)
    return graph.call_function(torch.select, (inputs[0], axis, settings.position(shape)))


def _flatten_axes(node: Node) -> Axes:
    return "first" if node.settings.order == "channels_first" else "last"


def _first(node: Node) -> Axes:  # noqa: ARG001
    return "first"


def _any(node: Node) -> Axes:  # noqa: ARG001
    return "any"


def _select_axes(node: Node) -> Axes:
    shape = node.input_shapes[0]
    return "last" if axis_of(node.settings.axis, shape) == len(shape) - 1 else "any"


LAYERS: Mapping[str, Make] = {"flatten": flatten, "reshape": reshape, "pad": pad, "crop": crop, "resize": resize}
JOINS: Mapping[str, Join] = {"permute": permute, "slice": slice_, "select": select}
AXES: Mapping[str, Callable[[Node], Axes]] = {
    "flatten": _flatten_axes,
    "pad": _first,
    "crop": _first,
    "resize": _first,
    "slice": _any,
    "select": _select_axes,
}
