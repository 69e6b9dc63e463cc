"""Tables to arrays: columns of numbers side by side, columns of categories as whole numbers for an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualml.data.needs import InputNeed
from dualml.errors import DataError

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""A table: columns by name, each of shape ``(n,)``: float64 with NaN where a number is missing, or objects."""

MOST_FRACTIONS = 50
"""Columns of fractions with more different values than this are measurements, not categories."""


@dataclass(frozen=True)
class Categories:
    """The numbers of one column's values: 0 for a value that is missing or unknown, then from 1 on.

    Attributes:
        column: Its name.
        values: The values in the training examples as text, in sorted order; empty if there are ``edges``.
        edges: Bin ``i`` holds the numbers ``x`` with ``edges[i - 1] <= x < edges[i]``; empty if there are ``values``.
    """

    column: str
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {value: 1 + index for index, value in enumerate(self.values)})

    @property
    def size(self) -> int:
        """How many numbers are in use."""
        return 1 + (len(self.values) or len(self.edges) + 1)

    @classmethod
    def of_values(cls, column: str, train: NDArray[Any], where: str) -> Categories:
        """Each different value of the training examples is a category.

        Raises:
            DataError: The values are measurements.
        """
        if train.dtype.kind == "f":
            known = np.unique(train[~np.isnan(train)])
            if len(known) > MOST_FRACTIONS and (known != np.floor(known)).any():
                raise DataError(
                    f"{where}: column {column!r} feeds an input of whole numbers, so it must hold categories, but it "
                    f"has {len(known)} different fractions; group them with data.bins: {{{column}: 8}}, or feed it to "
                    f"an input of values"
                )
            return cls(column, tuple(_text(value) for value in known))
        return cls(column, tuple(sorted({_text(value) for value in train} - {""})))

    @classmethod
    def of_bins(cls, column: str, train: NDArray[Any], bins: int, where: str) -> Categories:
        """Bins with about as many training examples in each; equal edges become one.

        Raises:
            DataError: The column does not hold numbers.
        """
        if train.dtype.kind != "f":
            raise DataError(
                f"{where}: column {column!r} of data.bins must hold numbers, but holds text; remove it there"
            )
        known = train[~np.isnan(train)]
        if not len(known):
            return cls(column)
        shares = np.arange(1, bins) / bins
        edges = np.unique(np.quantile(known, shares, method="linear"))
        return cls(column, edges=tuple(float(edge) for edge in edges))

    def encode(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Values of the column as numbers, shape ``(n,)``."""
        if self.values or values.dtype.kind != "f":
            return np.array([self.numbers.get(_text(value), 0) for value in values], dtype=np.int64)
        found = np.searchsorted(np.array(self.edges), values, side="right") + 1
        return np.where(np.isnan(values), 0, found).astype(np.int64)


def _text(value: Any) -> str:
    """A value as it stands in messages and stored runs; missing ones are empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


@dataclass(frozen=True)
class TableEncoding:
    """Which columns feed which input of the model.

    Attributes:
        inputs: For each input its columns: a name for a column of values, ``Categories`` for one of categories.
        separator: Character between two columns of a CSV file of new examples.
    """

    inputs: Mapping[str, tuple[str | Categories, ...]]
    separator: str = ","

    def size(self, name: str) -> int:
        """How many whole numbers an input of categories uses: the size of its embedding."""
        return sum(item.size for item in self.inputs[name] if isinstance(item, Categories))

    def encode(self, examples: Columns, where: str = "inputs") -> dict[str, NDArray[Any]]:
        """Columns as arrays, shape ``(n, columns of the input)``: float64, or int64 categories."""
        return {name: self._input(items, examples, where) for name, items in self.inputs.items()}

    def _input(self, items: tuple[str | Categories, ...], examples: Columns, where: str) -> NDArray[Any]:
        columns: list[NDArray[Any]] = []
        before = 0
        for item in items:
            if isinstance(item, Categories):
                columns.append(item.encode(examples[item.column]) + before)
                before += item.size
            else:
                columns.append(numbers_only(examples[item], item, where))
        return np.stack(columns, axis=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column in use."""
        names = (
            item.column if isinstance(item, Categories) else item for items in self.inputs.values() for item in items
        )
        return tuple(dict.fromkeys(names))

    def read(self, path: Path) -> Columns:
        """New examples from a CSV or Parquet file with the same columns."""
        from dualml.data.tables import read_columns  # needs pandas

        return read_columns(path, self.columns, self.separator)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; edges keep every bit."""

        def plain(item: str | Categories) -> Any:
            if isinstance(item, str):
                return item
            return {"column": item.column, "values": list(item.values), "edges": list(item.edges)}

        inputs = {name: [plain(item) for item in items] for name, items in self.inputs.items()}
        return {"kind": "table", "inputs": inputs, "separator": self.separator}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableEncoding:
        """The inverse of ``to_dict``."""

        def item(stored: Any) -> str | Categories:
            if isinstance(stored, str):
                return stored
            return Categories(stored["column"], tuple(stored["values"]), tuple(stored["edges"]))

        inputs = {name: tuple(item(stored) for stored in items) for name, items in values["inputs"].items()}
        return cls(inputs, values["separator"])


def numbers_only(column: NDArray[Any], name: str, where: str) -> NDArray[np.float64]:
    """A column of finite numbers.

    Raises:
        DataError: One is text, missing or infinite; the message names the row.
    """
    if column.dtype.kind != "f":
        row, value = _first_text(column)
        raise DataError(
            f"{where}: every feature must be a number, but column {name!r} has {value!r} in data row {row + 1} "
            f"(below the header); correct it, encode it as numbers, or leave it out with data.features"
        )
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        found = "no value (NaN)" if np.isnan(column[row]) else "infinity"
        raise DataError(
            f"{where}: every feature must be a finite number, but column {name!r} has {found} in data row "
            f"{row + 1} (below the header); remove such rows or fill the values"
        )
    return column


def fit_table(
    inputs: Mapping[str, tuple[str, ...]],
    needs: Mapping[str, InputNeed],
    bins: Mapping[str, int],
    train: Columns,
    separator: str,
    where: str,
) -> TableEncoding:
    """Number the categories of the training examples.

    Args:
        inputs: Columns of each input.
        needs: The model's inputs; those of whole numbers have columns of categories.
        bins: Columns of numbers that become categories.
        train: The training examples.
        separator: Character between two columns.
        where: What is read, for messages.

    Raises:
        DataError: Columns do not hold what they must, or there are more categories than the model has places for.
    """

    def item(name: str, column: str) -> str | Categories:
        if not needs[name].integer:
            return column
        if column in bins:
            return Categories.of_bins(column, train[column], bins[column], where)
        return Categories.of_values(column, train[column], where)

    encoding = TableEncoding(
        {name: tuple(item(name, c) for c in columns) for name, columns in inputs.items()}, separator
    )
    for name, need in needs.items():
        if need.integer and need.size is not None and encoding.size(name) > need.size:
            parts = ", ".join(f"{c.column} {c.size}" for c in encoding.inputs[name] if isinstance(c, Categories))
            raise DataError(
                f"{where}: the embedding of input {name!r} must have a place for each of the {encoding.size(name)} "
                f"categories in use ({parts}; each with one for unknown values), but has {need.size}; set its size to "
                f"{encoding.size(name)}"
            )
    return encoding


def _first_text(column: NDArray[Any]) -> tuple[int, Any]:
    """The first value that is not a number, with its row."""
    for row, value in enumerate(column):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, value
    return 0, column[0]
