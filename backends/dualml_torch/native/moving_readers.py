"""What functions are that move values: other shapes, orders and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dualml_torch.native import settings
from dualml_torch.native.seen import Reader, Seen
from dualml_torch.native.settings import Said


def _reshaped(seen: Seen) -> Said | None:
    if not isinstance(seen.result, Tensor) or seen.result.dtype != seen.x.dtype:
        return None  # Tensor.view also reads the same bits as another number format
    return settings.reshaped(seen.x, seen.result)


def _permute(seen: Seen) -> Said:
    rank = seen.x.ndim
    return settings.permuted([axis % rank for axis in seen.rest(1, "dims")])


def _transpose(seen: Seen) -> Said:
    rank = seen.x.ndim
    first = seen.get(1, "dim0", seen.kwargs.get("axis0"))
    second = seen.get(2, "dim1", seen.kwargs.get("axis1"))
    axes = list(range(rank))
    axes[first], axes[second] = axes[second], axes[first]
    return settings.permuted(axes)


def _turned(seen: Seen) -> Said:
    """``x.T``, ``x.mT`` or ``x.t()``."""
    axes = list(range(seen.x.ndim))
    return settings.permuted([*axes[:-2], *axes[-2:][::-1]] if seen.name == "mT" else axes[::-1])


def _movedim(seen: Seen) -> Said:
    order = torch.empty(tuple(range(1, seen.x.ndim + 1)))  # sizes that name the axes
    moved = torch.movedim(order, seen.get(1, "source"), seen.get(2, "destination"))
    return settings.permuted([size - 1 for size in moved.shape])


def _getitem(seen: Seen) -> Said | None:
    """One axis cut or one position taken; whole axes beside it."""
    key = seen.get(1, "")
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(not isinstance(part, slice | int | type(...)) or isinstance(part, bool) for part in parts):
        return _added_axes(seen, parts)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (seen.x.ndim - len(parts) + 1)
    busy = [axis for axis, part in enumerate(parts) if part != slice(None)]
    if not busy:
        return Said("identity")
    if len(busy) != 1:
        return None
    axis, part = busy[0], parts[busy[0]]
    if isinstance(part, int):
        return selected(seen.x, axis, part)
    return cut(seen.x, axis, part.start, part.stop, part.step)


def _added_axes(seen: Seen, parts: Sequence[Any]) -> Said | None:
    """``x[:, None]``: whole axes, and new ones of size 1."""
    plain = all(part is None or part is Ellipsis or part == slice(None) for part in parts if not _array(part))
    return settings.reshaped(seen.x, seen.result) if plain and not any(_array(part) for part in parts) else None


def _array(part: Any) -> bool:
    return not (part is None or part is Ellipsis or isinstance(part, slice))


def cut(x: Tensor, axis: int, start: int | None, stop: int | None, step: int | None) -> Said:
    """A part of an axis."""
    where = settings.axis_setting(axis, x.ndim)
    return Said("slice", {"axis": where, "start": start or 0, "stop": stop, "step": step or 1})


def selected(x: Tensor, axis: int, index: int) -> Said:
    """One position of an axis."""
    return Said("select", {"axis": settings.axis_setting(axis, x.ndim), "index": index})


def _select(seen: Seen) -> Said | None:
    index = seen.get(2, "index")
    return selected(seen.x, seen.get(1, "dim"), index) if isinstance(index, int) else None


def _narrow(seen: Seen) -> Said | None:
    start, length = seen.get(2, "start"), seen.get(3, "length")
    if not isinstance(start, int) or start < 0:
        return None
    return cut(seen.x, seen.get(1, "dim"), start, start + length, 1)


def _identity(seen: Seen) -> Said | None:
    """What changes no value: a copy, another order in memory, another device or number format."""
    if not isinstance(seen.result, Tensor) or seen.result.is_floating_point() != seen.x.is_floating_point():
        return None
    return Said("identity", inputs=(seen.x,))


MOVING: Mapping[str, Reader] = {
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"), _reshaped
    ),
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("T", "mT", "t"), _turned),
    **dict.fromkeys(("movedim", "moveaxis"), _movedim),
    "getitem": _getitem,
    "select": _select,
    "narrow": _narrow,
    **dict.fromkeys(
        ("contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda"),
        _identity,
    ),
}
"""By the function's name without underscores."""
