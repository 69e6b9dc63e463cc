"""Arrays whose first axis counts examples, in memory or on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK_VALUES = 1 << 21
"""How many values are worked on at a time: 16 MiB of float64."""


class MappedRows:
    """Chosen rows of a memory-mapped array, read from disk only when they are asked for.

    Args:
        array: The mapped array, shape ``(stored, *example)``.
        rows: Which rows, in which order, shape ``(n,)``, dtype int64.
    """

    def __init__(self, array: np.memmap[Any, Any], rows: NDArray[np.int64]) -> None:
        self.array = array
        self.rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(n, *example)``."""
        return (len(self.rows), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self.array[self.rows[index]])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a memory-mapped array cannot be had without a copy")
        return np.asarray(self[:], dtype=dtype)

    def take(self, rows: NDArray[np.int64]) -> MappedRows:
        """Rows of these rows, still on disk."""
        return MappedRows(self.array, self.rows[rows])


Rows: TypeAlias = NDArray[Any] | MappedRows
"""What a split holds: an array in memory, a memory map, or rows of one; shape ``(n, *example)``."""


@dataclass(frozen=True)
class SameAs:
    """In place of targets: the values of an input as the model receives them, for an output that reconstructs it.

    Attributes:
        input: The input's name.
    """

    input: str


Inputs: TypeAlias = Rows | Mapping[str, Rows]
"""The one input, or several by name."""

Targets: TypeAlias = Rows | SameAs | Mapping[str, Rows | SameAs]
"""The targets of the one output, or of several by name."""


def by_name(value: Any, name: str) -> dict[str, Any]:
    """Several arrays by name as they are, a single one under the name given."""
    return dict(value) if isinstance(value, Mapping) else {name: value}


def each(value: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of an array, or of each of several; ``SameAs`` stays as it is."""
    if isinstance(value, Mapping):
        return {name: each(item, function) for name, item in value.items()}
    return value if value is None or isinstance(value, SameAs) else function(value)


def is_mapped(array: Rows) -> bool:
    """Whether the values are on disk."""
    return isinstance(array, (np.memmap, MappedRows))


def as_rows(value: Any) -> Rows:
    """Any array-like as an array; a memory map stays one."""
    if isinstance(value, MappedRows) or type(value) in (np.ndarray, np.memmap):
        return value  # type: ignore[no-any-return]
    return np.asarray(value)


def take(array: Rows, rows: NDArray[np.int64]) -> Rows:
    """Rows of an array: a copy if it is in memory, a view of the file if it is mapped."""
    if isinstance(array, MappedRows):
        return array.take(rows)
    if isinstance(array, np.memmap):
        return MappedRows(array, rows)
    return array[rows]


def blocks(array: Rows) -> Iterator[slice]:
    """Slices that cover all rows, each of about ``BLOCK_VALUES`` values."""
    step = max(1, BLOCK_VALUES // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield slice(start, min(start + step, len(array)))


def share(fraction: float, count: int) -> int:
    """How many of ``count`` examples a fraction is: rounded half up, and at least one unless it is 0."""
    return max(1, math.floor(fraction * count + 0.5)) if fraction > 0 else 0
