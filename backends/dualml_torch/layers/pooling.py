"""Pooling, with stock modules alone wherever one or two of them do."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml.spec.layers.pooling import Windows
from dualml_torch.layers.base import Axes, Make, Placement

_MAX: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_CONSTANT: tuple[Any, ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
_ADAPTIVE_MAX: tuple[Any, ...] = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_ADAPTIVE_AVERAGE: tuple[Any, ...] = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class Scale(nn.Module):
    """Each position times a factor of its own.

    Why not stock: ``torch.nn.AvgPool*`` divides by one number where padding is not the same on both sides.

    Attributes:
        factor: Of the spatial axes' shape; not saved, as the model's settings imply it.
    """

    factor: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """The input, channels first, times the factor."""
        return (input * self.factor).to(input.dtype)  # the factor is float32 in mixed precision, too


class GlobalMax(nn.Module):
    """The largest value over all axes behind the channels, the gradient the same for all that tie: ``torch.amax``.

    Why not stock: ``torch.nn.AdaptiveMaxPool*`` gives the gradient to the first one.

    Attributes:
        keep_axes: Whether the axes stay, with size 1.
    """

    def __init__(self, *, keep_axes: bool) -> None:
        super().__init__()
        self.keep_axes = keep_axes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """From channels first."""
        return torch.amax(input, dim=tuple(range(2, input.ndim)), keepdim=self.keep_axes)

    def extra_repr(self) -> str:
        """The setting, in the module's text."""
        return f"keep_axes={self.keep_axes}"


def backwards(pairs: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Amounts as ``torch.nn``'s padding modules take them: the last axis first, all in one row."""
    return tuple(amount for pair in reversed(pairs) for amount in pair)


def _stock_takes(windows: Windows) -> bool:
    """Whether a stock module can pad like this: the same on both sides, at most half a window without its dilation."""
    return all(
        before == after and 2 * before <= size
        for (before, after), size in zip(windows.pads, windows.sizes, strict=True)
    )


def _padded(windows: Windows, value: float, *following: tuple[str, nn.Module]) -> nn.Module:
    """Modules in a row behind a padding."""
    pad = _CONSTANT[len(windows.sizes) - 1](backwards(windows.reach), value)
    return nn.Sequential(OrderedDict([("pad", pad), *following]))


def max_pool(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (one signature for all)
    """``torch.nn.MaxPool*``, behind a padding of minus infinity where it cannot pad so itself."""
    windows = node.settings.windows(node.input_shapes[0])
    kind = _MAX[len(windows.sizes) - 1]
    if _stock_takes(windows):
        pads = tuple(before for before, _ in windows.pads)
        return kind(windows.sizes, windows.strides, pads, windows.dilations, ceil_mode=node.settings.ceil_mode)  # type: ignore[no-any-return]
    pool = kind(windows.sizes, windows.strides, 0, windows.dilations, ceil_mode=False)
    return _padded(windows, -math.inf, ("pool", pool))


def average_pool(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.AvgPool*``, behind a padding and before a factor where it cannot pad and count so itself."""
    settings = node.settings
    windows = settings.windows(node.input_shapes[0])
    kind = _AVERAGE[len(windows.sizes) - 1]
    # torch.nn.AvgPool3d refuses windows larger than the input without its padding.
    small = len(windows.sizes) == 3 and any(
        n < size for n, size in zip(node.input_shapes[0], windows.sizes, strict=False)
    )
    if _stock_takes(windows) and not small:
        pads = tuple(before for before, _ in windows.pads)
        return kind(  # type: ignore[no-any-return]
            windows.sizes,
            windows.strides,
            pads,
            ceil_mode=settings.ceil_mode,
            count_include_pad=settings.count_padding,
        )
    pool = kind(windows.sizes, windows.strides, 0, ceil_mode=False, count_include_pad=True)
    factor = math.prod(windows.sizes) / windows.divisors
    if (factor == 1.0).all():
        return _padded(windows, 0.0, ("pool", pool))
    scale = Scale(torch.tensor(factor, dtype=placement.dtype, device=placement.device))
    return _padded(windows, 0.0, ("pool", pool), ("scale", scale))


def _adaptive(kinds: tuple[Any, ...]) -> Make:
    def make(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
        return kinds[len(node.shape) - 2](node.shape[:-1])  # type: ignore[no-any-return]

    return make


def _global(node: Node, kinds: tuple[Any, ...]) -> nn.Module:
    """An adaptive module of size 1, between others that take axes away where it must not see or leave them."""
    rank = len(node.input_shapes[0]) - 1
    steps: list[tuple[str, nn.Module]] = []
    pooled = rank if rank <= len(kinds) else 1
    if pooled < rank:
        steps.append(("positions", nn.Flatten(start_dim=2)))
    steps.append(("pool", kinds[pooled - 1]((1,) * pooled)))
    if not node.settings.keep_axes:
        steps.append(("flatten", nn.Flatten(start_dim=1)))
    elif pooled < rank:
        steps.append(("axes", nn.Unflatten(2, (1,) * rank)))
    return steps[0][1] if len(steps) == 1 else nn.Sequential(OrderedDict(steps))


def global_average_pool(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.AdaptiveAvgPool*`` of size 1, and ``torch.nn.Flatten`` unless axes are kept."""
    return _global(node, _ADAPTIVE_AVERAGE)


def global_max_pool(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.AdaptiveMaxPool*`` of size 1, or ``torch.amax`` where ties share the gradient."""
    if node.settings.ties == "even":
        return GlobalMax(keep_axes=node.settings.keep_axes)
    return _global(node, _ADAPTIVE_MAX)


def _first(node: Node) -> Axes:  # noqa: ARG001
    return "first"


LAYERS: Mapping[str, Make] = {
    **{f"max_pool{rank}d": max_pool for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": average_pool for rank in (1, 2, 3)},
    **{f"adaptive_average_pool{rank}d": _adaptive(_ADAPTIVE_AVERAGE) for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": _adaptive(_ADAPTIVE_MAX) for rank in (1, 2, 3)},
    "global_average_pool": global_average_pool,
    "global_max_pool": global_max_pool,
}
AXES: Mapping[str, Callable[[Node], Axes]] = dict.fromkeys(LAYERS, _first)
