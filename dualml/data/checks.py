"""Checks that every source shares: files, arrays, shapes. Messages say what must hold, what was found, what to do."""

from __future__ import annotations

import difflib
import math
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualml.data.normalisation import Normalisation
from dualml.data.rows import Rows, blocks
from dualml.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs and targets as a source holds them, before any check.

    Attributes:
        inputs: Shape ``(n, *example)``.
        targets: Shape ``(n, *rest)``; numbers or text.
        where: File or files they come from, for messages.
        table: Whether rows are counted as people count lines of a table.
    """

    inputs: Rows
    targets: Rows
    where: str
    table: bool = False

    def row(self, index: int) -> str:
        """How a row is called in messages."""
        return f"data row {index + 1} (below the header)" if self.table else f"example {index} (counting from 0)"


@dataclass(frozen=True, eq=False)
class Raw:
    """What a source holds.

    Attributes:
        train: Examples to train with, from which missing splits are taken.
        validation: The source's own validation split, if it has one.
        test: The source's own test split, if it has one.
        class_names: Names of the classes, if the source knows them.
        normalize: What ``normalize: null`` means for this source.
        images: Whether examples are images, whose values have one mean and one largest value.
        largest: Largest possible value of an input, if there is one.
        normalisation: A scaling the source brings along.
    """

    train: Part
    validation: Part | None = None
    test: Part | None = None
    class_names: tuple[str, ...] | None = None
    normalize: str = "none"
    images: bool = False
    largest: float | None = None
    normalisation: Normalisation | None = None

    def parts(self) -> list[Part]:
        """The parts there are: training, validation, test."""
        return [part for part in (self.train, self.validation, self.test) if part is not None]


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def find_file(folder: Path, name: str, key: str) -> Path:
    """The file a setting names.

    Args:
        folder: Where a relative path starts.
        name: The path in the config.
        key: The setting, for messages: ``data.path``.

    Raises:
        DataError: There is no such file, or it is a folder or a device.
    """
    path, mode = _look(folder, name, key, "file")
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: {key} must name a file, but this is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{path}: {key} must name a regular file, but this is a device or pipe; save the data in a file"
        )
    return path


def find_folder(folder: Path, name: str, key: str) -> Path:
    """The folder a setting names; like ``find_file``."""
    path, mode = _look(folder, name, key, "folder")
    if not stat.S_ISDIR(mode):
        raise DataError(f"{path}: {key} must name a folder, but this is a file; name the folder that holds it")
    return path


def _look(folder: Path, name: str, key: str, what: str) -> tuple[Path, int]:
    path = Path(name)
    try:
        path = folder / path.expanduser()
        return path, path.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # also a zero byte in it, or the home of "~nobody"
        shown = str(path) if path.name.isprintable() else repr(str(path))
        raise DataError(
            f"{shown}: {key} must name a {what}, but it cannot be opened ({reason(error)})."
            f"{nearest(path.name, _names(path.parent))} Correct {key}; a relative path starts at {folder.absolute()}"
        ) from error


def reason(error: BaseException) -> str:
    """An exception in one line; of the operating system, in its words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else described(error)


def described(error: BaseException) -> str:
    """An exception's type and text in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def check_lengths(part: Part) -> None:
    """Inputs and targets have an axis of examples, as many of each, and at least one."""
    for name, array in (("inputs", part.inputs), ("targets", part.targets)):
        if len(array.shape) == 0:
            raise DataError(
                f"{part.where}: {name} must have an axis that counts examples, but hold a single value; "
                f"store an array with one row for each example"
            )
    if len(part.inputs) != len(part.targets):
        raise DataError(
            f"{part.where}: there must be one target for each input, but there are {len(part.inputs)} inputs and "
            f"{len(part.targets)} targets; correct the file that is too short or too long"
        )
    if len(part.inputs) == 0:
        raise DataError(
            f"{part.where}: there must be at least one example, but there is none; check how it was written"
        )


def check_numbers(part: Part) -> None:
    """Inputs are real numbers without NaN and infinity; read block by block, so that a map stays on disk."""
    if part.inputs.dtype.kind not in "biuf":
        raise DataError(
            f"{part.where}: inputs must be real numbers, but have dtype {part.inputs.dtype}; "
            f"convert them to float or to unsigned bytes"
        )
    check_finite(part, part.inputs, "input")


def check_finite(part: Part, array: Rows, name: str) -> None:
    """No NaN and no infinity; the first row that has one is named."""
    if array.dtype.kind != "f":
        return
    for block in blocks(array):
        values = np.asarray(array[block])
        finite = np.isfinite(values)
        if not finite.all():
            where = tuple(int(axis) for axis in np.argwhere(~finite)[0])
            found = "NaN" if np.isnan(values[where]) else "infinity"
            position = f" at position {list(where[1:])}" if len(where) > 1 else ""
            raise DataError(
                f"{part.where}: every {name} must be a finite number, but {part.row(block.start + where[0])} "
                f"holds {found}{position}; remove such rows or replace the values"
            )


def check_shapes(raw: Raw, input_shape: tuple[int, ...]) -> None:
    """One example fits the model's input.

    Raises:
        DataError: Parts differ, the number of values differs, or the axes are in another order. A reshape
            would go through in that last case, and mix up rows, columns and channels without a sound.
    """
    shape = tuple(raw.train.inputs.shape[1:])
    for part in raw.parts():
        other = tuple(part.inputs.shape[1:])
        if other != shape:
            raise DataError(
                f"{part.where}: an example must have the shape {shape} as in the training data, but has {other}; "
                f"write both in the same way"
            )
    if math.prod(shape) != math.prod(input_shape):
        raise DataError(
            f"{raw.train.where}: an example must have as many values as the model's input, shape {input_shape} "
            f"({math.prod(input_shape)} values), but has the shape {shape} ({math.prod(shape)} values); "
            f"{_shape_remedy(raw, shape, input_shape)}"
        )
    stored = [size for size in shape if size != 1]
    wanted = [size for size in input_shape if size != 1]
    if stored != wanted and sorted(stored) == sorted(wanted):
        raise DataError(
            f"{raw.train.where}: an example must have its axes in the order of the model's input, shape {input_shape}, "
            f"but has the shape {shape}; store it with numpy.moveaxis (channels are last), or set "
            f"model.input: {list(shape)}"
        )


def _shape_remedy(raw: Raw, shape: tuple[int, ...], input_shape: tuple[int, ...]) -> str:
    remedy = f"set model.input: {list(shape) or [1]}"
    side = math.isqrt(math.prod(input_shape))
    if raw.images and side * side == math.prod(input_shape):
        remedy += f", or data.image_size: {side}"
    elif raw.train.table:
        remedy += ", or list as many columns in data.features"
    return remedy


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        return []
