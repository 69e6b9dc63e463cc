"""Loss and optimizer of both sides, setting by setting."""

from __future__ import annotations

from typing import Any

from dualml.native.protocol import NativeModel, ReadLoss, ReadOptimizer
from dualml.spec.objective import Objective

Row = tuple[str, Any, Any, str]
"""Setting, left value, right value, and which side left it to its framework's default."""


def configurations(left: NativeModel, right: NativeModel) -> tuple[Row, ...]:
    """Rows for a table of both configurations; ``None`` where a side has no such setting."""
    losses, optimizers = (left.loss, right.loss), (left.optimizer, right.optimizer)
    rows = _rows("loss", _loss(left.loss), _loss(right.loss), _unsaid(losses))
    return tuple(
        rows + _rows("optimizer", _optimizer(left.optimizer), _optimizer(right.optimizer), _unsaid(optimizers))
    )


def _unsaid(reads: tuple[ReadLoss | ReadOptimizer | None, ReadLoss | ReadOptimizer | None]) -> dict[str, str]:
    """By setting, which sides leave it to their framework's default."""
    found: dict[str, list[str]] = {}
    for side, read in zip(("left", "right"), reads, strict=True):
        for name in read.unsaid if read is not None else ():
            found.setdefault(name, []).append(side)
    return {name: " and ".join(sides) for name, sides in found.items()}


def _rows(what: str, left: dict[str, Any], right: dict[str, Any], unsaid: dict[str, str]) -> list[Row]:
    names = list(dict.fromkeys([*left, *right]))
    return [
        (f"{what}.{name}" if name else what, left.get(name), right.get(name), unsaid.get(name.rpartition(".")[2], ""))
        for name in names
    ]


def _loss(read: ReadLoss | None) -> dict[str, Any]:
    if read is None:
        return {}
    found: dict[str, Any] = {"": read.native or read.code}
    if read.minimised is None:
        return found
    found |= {"from_probabilities": read.from_probabilities, "reduction": read.reduction}
    if isinstance(read.minimised, Objective):
        for term in read.minimised.terms:
            prefix = f"{term.output}." if len(read.minimised.terms) > 1 else ""
            found |= {f"{prefix}{name}": value for name, value in plain(term.loss).items()}
        for number, item in enumerate(read.minimised.penalties):
            found |= {f"penalty_{number + 1}.{name}": value for name, value in plain(item).items()}
        return found
    return found | plain(read.minimised)


def _optimizer(read: ReadOptimizer | None) -> dict[str, Any]:
    if read is None:
        return {}
    found: dict[str, Any] = {"": read.native or read.code}
    if read.optimizer is not None:
        found |= plain(read.optimizer)
    found["lr"] = read.lr
    found["clip"] = None if read.clip is None else f"{read.clip.kind} {plain(read.clip)}"
    if read.schedule is not None:
        found["schedule"] = list(read.schedule[:10])
    found["gathered"] = read.gathered
    return found


def plain(settings: Any) -> dict[str, Any]:
    """Settings as plain values by name, with the kind first."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {"kind": settings.kind, **{name: _simple(value) for name, value in values.items()}}


def _simple(value: Any) -> Any:
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, tuple | list):
        return [_simple(item) for item in value]
    return str(value)
