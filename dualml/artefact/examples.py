"""New examples from a file: guarded, then read as what its ending says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from dualml import guards
from dualml.artefact.open import Artefact
from dualml.data.arrays import read_npy
from dualml.errors import DataError
from dualml.guards import json_text
from dualml.guards.files import LARGEST, read_bounded

ENDINGS = (".npy", ".npz", ".json", ".jsonl", ".csv", ".tsv", ".txt")
"""Files that are read."""
_WRAPPERS = ("inputs", "instances")
"""Keys that a JSON file may put around its examples, as requests to servers do."""


def read_examples(path: Path, artefact: Artefact) -> Any:
    """Raw examples, as ``Artefact.prepare`` takes them.

    Args:
        path: ``.npy`` with one array; ``.npz`` with an array for each input; ``.json`` with a list of examples, or an
            object with one for each input or column; ``.jsonl`` with an example in each line; ``.csv`` or ``.tsv`` with
            an example in each row; ``.txt`` with a text in each line.
        artefact: The model they are for.

    Raises:
        GuardError: The file is not safe to open.
        DataError: It does not hold examples for this model.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise DataError(f"{path}: INPUT must be one of {', '.join(ENDINGS)}, but ends in {ending or 'nothing'}")
    if ending in (".json", ".jsonl"):
        data = read_bounded(path, LARGEST["json"])
        lines = ending == ".jsonl"
        value = json_text.parse_lines(data, str(path)) if lines else json_text.parse(data, str(path))
        return _from_json(value, artefact, path)
    guards.check(path)
    if ending == ".npy":
        return read_npy(path, memory_map=None)
    if ending == ".npz":
        return artefact.preparation.read(path)
    if artefact.preparation.encoding is not None:
        return artefact.preparation.read(path)
    if ending == ".txt":
        raise DataError(f"{path}: the model takes numbers, not text; give them as .npy, .npz, .csv or .json")
    return _from_csv(path, artefact, "\t" if ending == ".tsv" else ",")


def _from_json(value: Any, artefact: Artefact, path: Path) -> Any:
    names = [item.name for item in artefact.manifest.inputs]
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if key in _WRAPPERS and key not in names:
            value = inner
    if isinstance(value, dict):
        return {name: _array(item, f"{path}: {name}") for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        keys = list(value[0])
        for row, item in enumerate(value):
            if set(item) != set(keys):
                raise DataError(
                    f"{path}: every example must have the keys {', '.join(keys)}, but example {row} has other ones"
                )
        return {key: _array([item[key] for item in value], f"{path}: {key}") for key in keys}
    if not isinstance(value, list):
        raise DataError(f"{path}: must hold a list of examples, or an object with one for each input, but does not")
    return _array(value, str(path))


def _array(value: Any, where: str) -> Any:
    """A list as an array of numbers, or of text."""
    if isinstance(value, list) and any(isinstance(item, str) for item in value):
        found = np.empty(len(value), dtype=object)
        found[:] = value
        return found
    try:
        return np.asarray(value)
    except ValueError:
        raise DataError(f"{where}: all examples must have the same shape, but lists in it differ in length") from None


def _from_csv(path: Path, artefact: Artefact, separator: str) -> Any:
    if len(artefact.manifest.inputs) > 1:
        raise DataError(
            f"{path}: the model has {len(artefact.manifest.inputs)} inputs, so examples must come as .npz or .json "
            "with an array for each"
        )
    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, cells in enumerate(csv.reader(file, delimiter=separator, strict=True), 1):
                row = _numbers(cells)
                if row is None and number == 1:
                    continue  # names of the columns
                if row is None or (rows and len(row) != len(rows[0])):
                    what = "holds something else than numbers" if row is None else f"has {len(row)} values"
                    raise DataError(
                        f"{path}: every row must hold the same number of numbers, but row {number} {what}; correct it"
                    )
                if row:
                    rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}: must be a table of numbers, but cannot be read: {error}") from None
    if not rows:
        raise DataError(f"{path}: must hold at least one example, but has no row of numbers")
    return np.array(rows)


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None
