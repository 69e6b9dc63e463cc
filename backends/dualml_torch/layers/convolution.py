"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Make, Placement, Role, Roles, same, transposed, uninitialised

Pairs = tuple[tuple[int, int], ...]


class _Padded(nn.Module):
    """Pads before it convolves, each side by its own amount.

    Not stock: ``torch.nn.Conv*`` pads both sides of an axis alike, where ``same`` at a stride of 2, causal padding and
    ``[before, after]`` do not.

    Args:
        values: Of the stock class.
        pads: Values put before and after each axis.
        pad_mode: Mode of ``torch.nn.functional.pad``.
        device: Where parameters live.
        settings: Of the stock class.
    """

    def __init__(
        self, *values: Any, pads: Pairs, pad_mode: str, device: torch.device | str | None = None, **settings: Any
    ) -> None:
        super().__init__(*values, device=device, **settings)
        self.pads = tuple(side for pair in reversed(pads) for side in pair)  # functional.pad begins with the last axis
        self.pad_mode = pad_mode

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Shape ``(examples, channels, *spatial)``, as of the stock module."""
        padded = functional.pad(input, self.pads, self.pad_mode)
        return super().forward(padded)  # type: ignore[no-any-return] # of the stock class beside this one

    def extra_repr(self) -> str:
        """What the stock module shows, and the padding."""
        return f"{super().extra_repr()}, pads={self.pads}, pad_mode={self.pad_mode!r}"


class PaddedConv1d(_Padded, nn.Conv1d):
    """``torch.nn.Conv1d`` with padding of its own for each side."""


class PaddedConv2d(_Padded, nn.Conv2d):
    """``torch.nn.Conv2d`` with padding of its own for each side."""


class PaddedConv3d(_Padded, nn.Conv3d):
    """``torch.nn.Conv3d`` with padding of its own for each side."""


class _Cropped(nn.Module):
    """Crops what a transposed convolution gives, each side by its own amount.

    Not stock: ``torch.nn.ConvTranspose*`` crops both sides of an axis alike and can only add at the end again, so
    it cannot take more off the end than off the start, which ``same`` with a window of 3 and a stride of 2 needs.

    Args:
        values: Of the stock class.
        crops: Values taken off before and after each axis.
        device: Where parameters live.
        settings: Of the stock class.
    """

    def __init__(self, *values: Any, crops: Pairs, device: torch.device | str | None = None, **settings: Any) -> None:
        super().__init__(*values, device=device, **settings)
        self.crops = crops

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Shape ``(examples, channels, *spatial)``, as of the stock module."""
        whole: Tensor = super().forward(input)  # of the stock class beside this one
        sizes = whole.shape[2:]
        kept = tuple(slice(before, size - after) for (before, after), size in zip(self.crops, sizes, strict=True))
        return whole[(slice(None), slice(None), *kept)]

    def extra_repr(self) -> str:
        """What the stock module shows, and the crops."""
        return f"{super().extra_repr()}, crops={self.crops}"


class CroppedConvTranspose1d(_Cropped, nn.ConvTranspose1d):  # type: ignore[misc] # no output_size: it is fixed
    """``torch.nn.ConvTranspose1d`` with a crop of its own for each side."""


class CroppedConvTranspose2d(_Cropped, nn.ConvTranspose2d):  # type: ignore[misc] # no output_size: it is fixed
    """``torch.nn.ConvTranspose2d`` with a crop of its own for each side."""


_STOCK: Mapping[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PADDED: Mapping[int, type[nn.Module]] = {1: PaddedConv1d, 2: PaddedConv2d, 3: PaddedConv3d}
_TRANSPOSED: Mapping[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
_CROPPED: Mapping[int, type[nn.Module]] = {1: CroppedConvTranspose1d, 2: CroppedConvTranspose2d}


def _make(node: Node, placement: Placement, groups: int) -> nn.Module:
    """The stock module where both sides of every axis are padded alike."""
    settings, channels = node.settings, node.input_shapes[0][-1]
    pads = settings.pads(node.input_shapes[0])
    common = {
        "stride": settings.strides,
        "dilation": settings.dilations,
        "groups": groups,
        "bias": settings.bias,
    }
    values = (channels, node.shape[-1], settings.sizes)
    if all(before == after for before, after in pads):
        sides = tuple(before for before, _ in pads)
        kind, mode = _STOCK[settings.rank], settings.padding_mode
        return uninitialised(kind, placement, *values, padding=sides, padding_mode=mode, **common)
    mode = "constant" if settings.padding_mode == "zeros" else settings.padding_mode
    kind = _PADDED[settings.rank]
    return uninitialised(kind, placement, *values, pads=pads, pad_mode=mode, padding=0, padding_mode="zeros", **common)


def convolution(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Conv*``, or ``PaddedConv*``."""
    return _make(node, placement, node.settings.groups)


def depthwise(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Conv*`` with a group for each channel, or ``PaddedConv*``."""
    return _make(node, placement, node.input_shapes[0][-1])


def conv_transpose(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.ConvTranspose*``, or ``CroppedConvTranspose*`` where more is taken off the end than off the start."""
    settings = node.settings
    values = (node.input_shapes[0][-1], settings.filters, settings.sizes)
    common = {
        "stride": settings.strides,
        "dilation": settings.dilations,
        "groups": settings.groups,
        "bias": settings.bias,
        "padding_mode": "zeros",
    }
    # The stock module takes ``padding`` off both sides and puts ``output_padding`` back at the end.
    sides = tuple(before for before, _ in settings.crops)
    back = tuple(before - after + extra for (before, after), extra in zip(settings.crops, settings.extra, strict=True))
    most = [max(pair) for pair in zip(settings.strides, settings.dilations, strict=True)]
    if all(0 <= value < limit for value, limit in zip(back, most, strict=True)):
        kind = _TRANSPOSED[settings.rank]
        return uninitialised(kind, placement, *values, padding=sides, output_padding=back, **common)
    kind = _CROPPED[settings.rank]
    return uninitialised(
        kind, placement, *values, crops=settings.crops, padding=0, output_padding=settings.extra, **common
    )


def _first(node: Node) -> Axes:  # noqa: ARG001
    return "first"


def _by_channel(array: NDArray[Any], node: Node) -> NDArray[Any]:
    """``(*window, channels, multiplier)`` to ``(channels multiplier, 1, *window)``."""
    rank = node.settings.rank
    return array.transpose(rank, rank + 1, *range(rank)).reshape(node.shape[-1], 1, *node.settings.sizes)


def _by_window(array: NDArray[Any], node: Node) -> NDArray[Any]:
    """``(channels multiplier, 1, *window)`` to ``(*window, channels, multiplier)``."""
    whole = array.reshape(node.input_shapes[0][-1], node.settings.multiplier, *node.settings.sizes)
    return np.moveaxis(whole, (0, 1), (-2, -1))


_OPERATIONS: Mapping[str, Make] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), conv_transpose),
}
LAYERS: Mapping[str, Make] = {**_OPERATIONS, **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), depthwise)}
AXES: Mapping[str, Callable[[Node], Axes]] = dict.fromkeys(LAYERS, _first)
ROLES: Roles = {
    # (*window, a, b) is kept as (b, a, *window), whichever of a and b are the inputs
    **{
        (operation, "kernel"): transposed("weight", (rank + 1, rank, *range(rank)))
        for operation in _OPERATIONS
        for rank in (int(operation[-2]),)
    },
    **{(operation, "kernel"): Role("weight", _by_channel, _by_window) for operation in LAYERS if "depth" in operation},
    **{(operation, "bias"): same("bias") for operation in LAYERS},
}
