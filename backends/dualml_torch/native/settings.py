"""Settings of spec layers, every one filled in, from what PyTorch's modules and functions are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

Settings = dict[str, Any]

NATIVE_NAMES: Mapping[str, tuple[str, ...]] = {
    "epsilon": ("eps",),
    "scale": ("affine", "elementwise_affine"),
    "offset": ("affine", "bias"),
    "count_padding": ("count_include_pad",),
    "padding_index": ("padding_idx",),
    "rate": ("p",),
    "minimum": ("min_val",),
    "maximum": ("max_val",),
    "threshold": ("lambd", "threshold"),
    "axis": ("dim",),
    "rounding": ("mode",),
    "keep_axes": ("keepdim",),
}
"""PyTorch's arguments for settings of another name."""


@dataclass(frozen=True)
class Said:
    """One operation in the terms of a spec; see ``dualml.native.protocol.Call`` for what the fields mean.

    Attributes:
        kind: Kind of the layer.
        settings: Its settings.
        inputs: The tensors it reads, in the order of the spec layer's inputs; ``None``: all it was given that are no
            weights.
        channels_first: Whether channels are behind the batch axis.
        weights: Name of each weight by role.
        unsaid: Settings left to a default.
        code: How it would be written.
        batch_axis: Axis of the batch.
    """

    kind: str
    settings: Settings = field(default_factory=dict)
    inputs: tuple[Tensor, ...] | None = None
    channels_first: bool | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()
    code: str = ""
    batch_axis: int = 0

    @property
    def setting_names(self) -> tuple[str, ...]:
        """Its settings, those of an activation function instead of the function itself."""
        function = self.settings.get("function")
        if function is None:
            return tuple(self.settings)
        return tuple(name for settings in function.values() for name in settings)

    def reading(self, *inputs: Tensor) -> Said:
        """The same with its inputs."""
        return replace(self, inputs=inputs)


def axis_setting(dim: int, rank: int) -> int:
    """A setting ``axis`` from PyTorch's ``dim`` of an array of ``rank`` axes; as said of ``Call.settings``."""
    axis = dim % rank
    return axis - 1 if axis else -rank


def sizes(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for each of ``rank`` axes."""
    if isinstance(value, int):
        return (int(value),) * rank
    found = tuple(int(item) for item in value)
    return found * rank if len(found) == 1 else found


def amounts(value: int | str | Sequence[int], rank: int) -> str | tuple[int, ...]:
    """Padding as ``torch.nn.Conv*`` and pools take it; nothing at all is ``valid``."""
    if isinstance(value, str):
        return value
    found = sizes(value, rank)
    return found if any(found) else "valid"


def activation(kind: str, **settings: Any) -> Said:
    """An activation function."""
    return Said("activation", {"function": {kind: settings}})


def dense(units: int, *, bias: bool) -> Said:
    """A dense layer."""
    return Said("dense", {"units": units, "bias": bias})


def depthwise(rank: int, channels: int, groups: int) -> bool:
    """Whether a convolution is a depthwise one; of one channel it is a plain one."""
    return rank < 3 and groups == channels > 1


def convolution(
    weight: Tensor,
    *,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    bias: bool,
    padding_mode: str = "zeros",
) -> Said:
    """A convolution, or a depthwise one where every channel is a group of its own.

    Args:
        weight: The native kernel.
        stride: As PyTorch takes it, and so the others.
        padding: Also ``same`` and ``valid``.
        dilation: Steps between a window's values.
        groups: Parts of the channels.
        bias: Whether there is one.
        padding_mode: What padding consists of.
    """
    rank = weight.ndim - 2
    settings: Settings = {
        "kernel_size": tuple(weight.shape[2:]),
        "stride": sizes(stride, rank),
        "padding": amounts(padding, rank),
        "padding_mode": padding_mode,
        "dilation": sizes(dilation, rank),
        "bias": bias,
    }
    channels, filters = weight.shape[1] * groups, weight.shape[0]
    if depthwise(rank, channels, groups):
        settings |= {"multiplier": filters // channels, "fans": "channel"}
        return Said(f"depthwise_conv{rank}d", settings, channels_first=True)
    return Said(f"conv{rank}d", {"filters": filters, "groups": groups, **settings}, channels_first=True)


def conv_transpose(
    weight: Tensor, *, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int, bias: bool
) -> Said | None:
    """A transposed convolution; the spec has none over three axes."""
    rank = weight.ndim - 2
    if rank > 2:
        return None
    settings: Settings = {
        "filters": weight.shape[1] * groups,
        "kernel_size": tuple(weight.shape[2:]),
        "stride": sizes(stride, rank),
        "padding": amounts(padding, rank),
        "output_padding": sizes(output_padding, rank),
        "dilation": sizes(dilation, rank),
        "groups": groups,
        "bias": bias,
    }
    return Said(f"conv_transpose{rank}d", settings, channels_first=True)


def max_pool(
    x: Tensor, rank: int, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Said | None:
    """Max pooling of examples, not of one without a batch axis."""
    if x.ndim != rank + 2:
        return None
    window = sizes(kernel_size, rank)
    settings: Settings = {
        "size": window,
        "stride": sizes(stride, rank) if stride else window,
        "padding": amounts(padding, rank),
        "dilation": sizes(dilation, rank),
        "ceil_mode": bool(ceil_mode),
    }
    return Said(f"max_pool{rank}d", settings, channels_first=True)


def average_pool(
    x: Tensor,
    rank: int,
    *,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Said | None:
    """Average pooling; the spec has no divisor of its own."""
    if x.ndim != rank + 2 or divisor_override is not None:
        return None
    window = sizes(kernel_size, rank)
    settings: Settings = {
        "size": window,
        "stride": sizes(stride, rank) if stride else window,
        "padding": amounts(padding, rank),
        "count_padding": bool(count_include_pad),
        "ceil_mode": bool(ceil_mode),
    }
    return Said(f"average_pool{rank}d", settings, channels_first=True)


def adaptive_pool(x: Tensor, rank: int, output_size: Any, *, largest: bool) -> Said | None:
    """Adaptive pooling; to one value it is global pooling that keeps the axes."""
    if x.ndim != rank + 2:
        return None
    given = (output_size,) * rank if output_size is None or isinstance(output_size, int) else tuple(output_size)
    target = tuple(int(x.shape[axis + 2] if size is None else size) for axis, size in enumerate(given))
    if set(target) == {1}:
        return global_pool("max" if largest else "average", keep_axes=True, channels_first=True, ties="first")
    kind = f"adaptive_{'max' if largest else 'average'}_pool{rank}d"
    return Said(kind, {"size": target}, channels_first=True)


def global_pool(what: str, *, keep_axes: bool, channels_first: bool, ties: str) -> Said:
    """Global pooling.

    Args:
        what: ``max`` or ``average``.
        keep_axes: Whether pooled axes stay.
        channels_first: Which axis stays.
        ties: Where the gradient of equal largest values goes.
    """
    settings: Settings = {"keep_axes": keep_axes} | ({"ties": ties} if what == "max" else {})
    return Said(f"global_{what}_pool", settings, channels_first=channels_first)


def over_positions(x: Tensor, dim: Any, *, what: str, keepdim: bool, ties: str = "even") -> Said | None:
    """A mean or maximum over axes, where it is global pooling: over all but the batch and one at an end.

    Over the first of three axes it pools ``(time, batch, features)``, as PyTorch's recurrent layers give it.
    """
    given = (dim,) if isinstance(dim, int) else dim
    if given is None or x.ndim < 3:
        return None
    pooled = {int(axis) % x.ndim for axis in given}
    if pooled == {0} and x.ndim == 3:
        said = global_pool(what, keep_axes=bool(keepdim), channels_first=False, ties=ties)
        return replace(said, channels_first=None, batch_axis=1)
    rest = set(range(1, x.ndim)) - pooled
    if 0 in pooled or len(rest) != 1 or not rest <= {1, x.ndim - 1}:
        return None
    return global_pool(what, keep_axes=bool(keepdim), channels_first=rest == {1}, ties=ties)


def batch_norm(*, eps: float, momentum: float | None, scale: bool, offset: bool, running: bool) -> Said | None:
    """Batch normalisation that follows a batch's statistics by a fixed momentum."""
    if momentum is None or not running:
        return None
    settings: Settings = {
        "epsilon": float(eps),
        "momentum": 1.0 - momentum,
        "variance": "unbiased",
        "scale": scale,
        "offset": offset,
        "frozen": False,
    }
    return Said("batch_norm", settings, channels_first=True)


def layer_norm(shape: Sequence[int], *, eps: float, scale: bool, offset: bool) -> Said:
    """Layer normalisation over the last axes."""
    settings = {"axes": len(shape), "epsilon": float(eps), "scale": scale, "offset": offset}
    return Said("layer_norm", settings)


def rms_norm(shape: Sequence[int], dtype: torch.dtype, *, eps: float | None, scale: bool) -> Said:
    """Division by the root mean square; without an epsilon it is that of the input's number format."""
    epsilon = torch.finfo(dtype).eps if eps is None else float(eps)
    return Said("rms_norm", {"axes": len(shape), "epsilon": epsilon, "scale": scale})


def group_norm(groups: int, *, eps: float, scale: bool, offset: bool) -> Said:
    """Group normalisation."""
    settings = {"groups": groups, "epsilon": float(eps), "scale": scale, "offset": offset}
    return Said("group_norm", settings, channels_first=True)


def instance_norm(*, eps: float, scale: bool, offset: bool) -> Said:
    """Instance normalisation that remembers nothing."""
    return Said("instance_norm", {"epsilon": float(eps), "scale": scale, "offset": offset}, channels_first=True)


def slopes(weight: Tensor) -> Said:
    """A trained slope, or one for each channel."""
    one = weight.numel() == 1
    return Said("prelu", {"slopes": "one" if one else "channels"}, channels_first=None if one else True)


def embedding(table: Tensor, *, padding_idx: int | None, plain: bool) -> Said | None:
    """A look-up; ``plain``: without limits of norms and other gradients than the sum."""
    if not plain:
        return None
    padding = None if padding_idx is None or padding_idx < 0 else int(padding_idx)
    settings = {"vocabulary": table.shape[0], "units": table.shape[1], "padding_index": padding, "scale": False}
    return Said("embedding", settings)


def unit_norm(x: Tensor, *, p: float, dim: Any, eps: float) -> Said | None:
    """Division by the length of the last axis."""
    if p != 2 or not isinstance(dim, int) or dim % x.ndim != x.ndim - 1:
        return None
    return Said("unit_norm", {"axes": 1, "epsilon": float(eps)})


_NEAREST = {"nearest": "floor", "nearest-exact": "half_pixel"}
_LINEAR = frozenset({"linear", "bilinear", "trilinear"})


def resize(
    x: Tensor,
    *,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool = False,
) -> Said | None:
    """Resizing to the nearest value or linearly; the spec has no cubic one."""
    if antialias or mode not in _LINEAR | set(_NEAREST) or not 3 <= x.ndim <= 5:
        return None
    rank = x.ndim - 2
    factors = None
    if scale_factor is not None:
        given = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * rank
        factors = tuple(float(factor) for factor in given)
    settings: Settings = {
        "size": None if size is None else sizes(size, rank),
        "scale": factors,
        "mode": "linear" if mode in _LINEAR else "nearest",
        "align_corners": bool(align_corners),
        "rounding": _NEAREST.get(mode, "floor"),
        "step": "scale" if factors is not None and not recompute_scale_factor else "sizes",
    }
    return Said("resize", settings, channels_first=True)


_MODES = {"constant": "zeros", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def pad(x: Tensor, padding: Sequence[int], mode: str, value: float | None) -> Said | None:
    """Padding or cropping of spatial axes, channels behind the batch or at the end."""
    if x.ndim < 3 or x.ndim > 5 or len(padding) % 2 or mode not in _MODES:
        return None
    given = [(int(padding[i]), int(padding[i + 1])) for i in range(0, len(padding), 2)][::-1]
    pairs = [(0, 0)] * (x.ndim - len(given)) + given
    if any(pairs[0]) or (any(pairs[1]) and any(pairs[-1])):
        return None
    first = not any(pairs[1])
    spatial = tuple(pairs[2:] if first else pairs[1:-1])
    if all(amount <= 0 for pair in spatial for amount in pair):
        crops = tuple((-before, -after) for before, after in spatial)
        return Said("crop", {"cropping": crops}, channels_first=first)
    if any(amount < 0 for pair in spatial for amount in pair):
        return None
    settings = {"padding": spatial, "padding_mode": _MODES[mode], "value": float(value or 0.0)}
    return Said("pad", settings, channels_first=first)


def reshaped(x: Tensor, result: Tensor) -> Said:
    """The same values under another shape."""
    flat = result.ndim == 2 and result.shape[0] == x.shape[0]
    return Said("flatten" if flat else "reshape")


def permuted(axes: Sequence[int]) -> Said:
    """Axes in another order; the batch axis is one of them."""
    return Said("permute", {"axes": [int(axis) for axis in axes]})


def dropout(kind: str, rate: float) -> Said | None:
    """A layer that drops values; the spec has none that drops all."""
    if rate >= 1:
        return None
    return Said(kind, {"rate": float(rate)}, channels_first=True if kind == "spatial_dropout" else None)
