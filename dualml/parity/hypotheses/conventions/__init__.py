"""Known conventions of each operation that a side may follow without saying so; one module for each family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dualml.parity.hypotheses.conventions import (
    functions,
    normalizations,
    readers,
    recurrences,
    values,
    weights,
    windows,
)
from dualml.parity.hypotheses.conventions.base import Flip, Source
from dualml.parity.hypotheses.nodes import Setting
from dualml.protocol import Array

_FAMILIES = (
    windows.SOURCES,
    normalizations.SOURCES,
    functions.SOURCES,
    values.SOURCES,
    readers.SOURCES,
    recurrences.SOURCES,
)


def _sources() -> Mapping[str, tuple[Source, ...]]:
    found: dict[str, tuple[Source, ...]] = {}
    for family in _FAMILIES:
        for kind, sources in family.items():
            found[kind] = (*found.get(kind, ()), *sources)
    return found


SOURCES: Mapping[str, tuple[Source, ...]] = _sources()
"""Where the conventions of each operation come from."""


def conventions(setting: Setting, recorded: Array, flattened: tuple[int, ...] | None = None) -> Iterator[Flip]:
    """Every convention that applies to an operation, the more likely ones first.

    Args:
        setting: The meaning, on the deviating side's data.
        recorded: What that side gave.
        flattened: Shape that was flattened before a dense layer, if one was.
    """
    for source in SOURCES.get(setting.node.operation, ()):
        yield from source(setting, recorded)
    yield from weights.reordered(setting, flattened)


__all__ = ["SOURCES", "Flip", "Source", "conventions"]
