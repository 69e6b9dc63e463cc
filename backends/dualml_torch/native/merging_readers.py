"""What functions are that merge values, or a value and a weight, and those that make masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dualml_torch.native import settings
from dualml_torch.native.recipes import Function, Template
from dualml_torch.native.seen import Reader, Seen
from dualml_torch.native.settings import Said
from dualml_torch.native.trace import Observer


def _merge(kind: str) -> Reader:
    """Two values, or a value and a weight."""

    def read(seen: Seen) -> Said | None:
        first, second = seen.x, seen.get(1, "other")
        if seen.get(2, "alpha", 1) != 1 or not isinstance(first, Tensor) or not isinstance(second, Tensor):
            return None
        if not first.is_floating_point() or not second.is_floating_point():
            return None
        extra = {"ties": "even"} if kind in ("maximum", "minimum") else {}
        if seen.values(first, second):
            return Said(kind, extra, (first, second))
        table = _table(seen, first, second) if kind == "add" else None
        if table is not None:
            return table
        name = seen.observer.weight_name(second)
        if kind in ("add", "subtract", "multiply") and seen.values(first) and name is not None:
            return Said(kind, extra, (first,), weights={"operand": name})
        name = seen.observer.weight_name(first)
        if kind in ("add", "multiply") and seen.values(second) and name is not None:
            return Said(kind, extra, (second,), weights={"operand": name})
        return None

    return read


def _masked(*, equal: bool) -> Reader:
    """``ids != number``, a padding mask; of ``ids == number`` what it would be is remembered."""

    def read(seen: Seen) -> Said | None:
        x, index = seen.x, seen.get(1, "other")
        whole = not isinstance(index, bool | Tensor) and index == int(index)
        if not whole or not seen.values(x) or x.is_floating_point() or x.dtype is torch.bool:
            return None
        said = Said("padding_mask", {"index": int(index)}, (x,))
        if not equal:
            return said
        observer = seen.observer
        kept: list[Tensor] = []

        def record() -> Tensor:
            if not kept:
                name = observer.name_of_function("padding_mask")
                recipe = Function(torch.ne, Template.of((x, index), {}, [x], {}))
                keys = observer.keys_of(name, [x])
                kept.append(observer.call(name, said, keys, [x], torch.ne(x, index), recipe, "torch.ne"))
            return kept[0]

        observer.know_kept(seen.result, record)
        return None

    return read


def _opposite(seen: Seen) -> Said | None:
    """``~mask``: its opposite is the mask itself."""
    x = seen.x
    if seen.values(x) and x.dtype is torch.bool:
        seen.observer.know_kept(seen.result, lambda: x)
    return None


def _filled(seen: Seen) -> Said | None:
    """Zeros, and minus infinity where a mask is true: the same mask as a number to be added."""
    mask, value = seen.get(1, "mask"), seen.get(2, "value")
    known = seen.observer.kept_of.get(id(mask))
    if known is not None and value == float("-inf") and bool((seen.result[~mask] == 0).all()):
        seen.observer.know_kept(seen.result, known)
    return None


def _table(seen: Seen, x: Tensor, rows: Tensor) -> Said | None:
    """A sequence plus the first rows of a table, one for each position."""
    how, name = seen.observer.derived.get(id(rows), ("", ""))
    if how != "rows" or not seen.values(x) or x.ndim != 3 or rows.shape[-2:] != x.shape[-2:]:
        return None
    table = seen.observer.weights.by_name[name]
    if not table.trained or not seen.observer.weights.use(name, "position_embedding", "positions"):
        return None
    length = table.tensor(seen.observer.model).shape[-2]
    return Said("position_embedding", {"positions": length}, (x,), weights={"positions": name})


def note_derived(observer: Observer, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Remember of a weight turned around, or of its first rows, what it is."""
    seen = Seen(observer, name, args, kwargs, result)
    weight = observer.weight_name(seen.x) if args else None
    if weight is None or not isinstance(result, Tensor) or result is seen.x:
        return
    x = seen.x
    turns = name in ("T", "mT", "t", "transpose", "swapaxes", "swapdims", "permute")
    if turns and x.ndim == 2 and result.stride() != x.stride():
        observer.derived[id(result)] = "transposed", weight
    elif name == "getitem" and x.ndim == 2 + (x.ndim == 3 and x.shape[0] == 1):
        key = seen.get(1, "")
        parts = key if isinstance(key, tuple) else (key,)
        first = slice(None, result.shape[-2]) if result.ndim > 1 else None
        wanted = (first,) if x.ndim == 2 else (slice(None), first)
        if tuple(_whole(part) for part in parts) in (wanted, (*wanted, slice(None))):
            observer.derived[id(result)] = "rows", weight


def _whole(part: Any) -> Any:
    """A slice from 0 as one from the start."""
    return slice(None, part.stop, part.step) if isinstance(part, slice) and part.start == 0 else part


def _cat(seen: Seen) -> Said | None:
    tensors = seen.get(0, "tensors")
    dim = seen.get(1, "dim", seen.kwargs.get("axis", 0))
    if not seen.values(*tensors) or len(tensors) < 2 or len({tensor.ndim for tensor in tensors}) > 1:
        return None
    return Said("concat", {"axis": settings.axis_setting(dim, tensors[0].ndim)}, tuple(tensors))


def _matmul(seen: Seen) -> Said | None:
    """A value times a weight as it stands: a dense layer whose kernel is laid out as the spec's."""
    first, second = seen.x, seen.get(1, "other", seen.kwargs.get("mat2"))
    if not isinstance(second, Tensor) or second.ndim != 2 or not seen.values(first):
        return None
    how, name = seen.observer.derived.get(id(second), ("", ""))
    if how == "transposed" and seen.observer.weights.use(name, "dense", "kernel"):
        return replace(settings.dense(second.shape[1], bias=False), inputs=(first,), weights={"kernel": name})
    whole = seen.observer.weight_name(second)
    if whole is None or not seen.observer.weights.use_as_it_is(whole, "kernel"):
        return None
    return replace(settings.dense(second.shape[1], bias=False), inputs=(first,), weights={"kernel": whole})


MERGING: Mapping[str, Reader] = {
    **dict.fromkeys(("add", "iadd"), _merge("add")),
    **dict.fromkeys(("sub", "subtract", "isub"), _merge("subtract")),
    **dict.fromkeys(("mul", "multiply", "imul"), _merge("multiply")),
    "maximum": _merge("maximum"),
    "minimum": _merge("minimum"),
    **dict.fromkeys(("ne", "not_equal"), _masked(equal=False)),
    **dict.fromkeys(("eq", "equals"), _masked(equal=True)),
    **dict.fromkeys(("invert", "logical_not", "bitwise_not"), _opposite),
    "masked_fill": _filled,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("matmul", "mm"), _matmul),
}
"""By the function's name without underscores."""
