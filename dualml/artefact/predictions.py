"""Predictions to a file: as what its ending says, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualml.artefact.manifest import Manifest
from dualml.errors import DataError, RunError
from dualml.weights import write_atomically

if TYPE_CHECKING:
    from dualml.protocol import Arrays

ENDINGS = (".npy", ".npz", ".csv", ".json")
"""Files that are written; a bare name is ``.npy``."""


def check_out(path: Path) -> None:
    """Refuse a file that cannot be written, before the work is done.

    Raises:
        RunError: It is a folder, its folder does not exist, or its ending is unknown.
    """
    if path.is_dir():
        raise RunError(f"--out {path}: must be a file, but is a folder; name the file to write")
    if path.suffix and path.suffix.lower() not in ENDINGS:
        raise RunError(f"--out {path}: must end in one of {', '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise RunError(f"--out {path}: the folder {path.parent} does not exist; make it first")


def write_predictions(path: Path, found: Arrays, manifest: Manifest) -> None:
    """Write predictions.

    Args:
        path: ``.npy`` and ``.csv`` hold the first of them; ``.npz`` and ``.json`` all, by output.
        found: Predictions by output.
        manifest: Of the model, for the names of classes.

    Raises:
        DataError: The predictions do not fit that format.
        RunError: The file cannot be written.
    """
    writers: dict[str, Callable[[Path], None]] = {
        ".npz": lambda temporary: _write_npz(temporary, found),
        ".csv": lambda temporary: _write_csv(temporary, found, manifest),
        ".json": lambda temporary: _write_json(temporary, found, manifest),
    }
    write = writers.get(path.suffix.lower(), lambda temporary: _write_npy(temporary, found))
    try:
        write_atomically(path, write)
    except OSError as error:
        raise RunError(f"--out {path}: cannot be written: {error.strerror}") from None


def _write_npy(path: Path, found: Arrays) -> None:
    with path.open("wb") as file:  # np.save would add .npy to a bare name
        np.save(file, next(iter(found.values())), allow_pickle=False)


def _write_npz(path: Path, found: Arrays) -> None:
    arrays: dict[str, Any] = dict(found)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _write_csv(path: Path, found: Arrays, manifest: Manifest) -> None:
    name, values = next(iter(found.items()))
    rows = values.reshape(len(values), -1)
    classes = manifest.names_of_classes(name)
    if classes is None or len(classes) != rows.shape[1]:
        classes = (name,) if rows.shape[1] == 1 else tuple(f"{name}_{index}" for index in range(rows.shape[1]))
    digits = 9 if values.dtype == np.float32 else 17  # as many as give every bit back
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(classes)
        writer.writerows([f"{value:.{digits}g}" for value in row] for row in rows.tolist())


def _write_json(path: Path, found: Arrays, manifest: Manifest) -> None:
    values: dict[str, Any] = {"outputs": {name: array.tolist() for name, array in found.items()}}
    names = {name: manifest.names_of_classes(name) for name in found}
    values["class_names"] = {name: list(item) for name, item in names.items() if item}
    try:
        text = json.dumps(values, allow_nan=False)
    except ValueError:
        raise DataError("a prediction is NaN or infinite, which JSON cannot hold; write .npy or .csv") from None
    path.write_text(text + "\n", encoding="utf-8")
