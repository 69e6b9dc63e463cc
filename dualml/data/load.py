"""From settings to a dataset: read, check, split, normalise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualml.data import normalisation, targets
from dualml.data.arrays import read_npy_files, read_npz
from dualml.data.checks import Part, Raw, check_lengths, check_numbers, check_shapes, reason
from dualml.data.dataset import Dataset, Split
from dualml.data.images import read_digits, read_fashion_mnist, read_idx_files
from dualml.data.normalisation import Normalisation
from dualml.data.python_source import read_python
from dualml.data.rows import take
from dualml.data.tables import read_table
from dualml.errors import DataError
from dualml.randomness import permutation
from dualml.spec.data import (
    CsvData,
    DataSource,
    DigitsData,
    FashionMnistData,
    IdxData,
    NpyData,
    NpzData,
    ParquetData,
    PythonData,
)

_READERS: dict[type[DataSource], Callable[[Any, Path], Raw]] = {
    DigitsData: lambda settings, _folder: read_digits(settings),
    IdxData: read_idx_files,
    FashionMnistData: read_fashion_mnist,
    NpzData: read_npz,
    NpyData: read_npy_files,
    CsvData: read_table,
    ParquetData: read_table,
    PythonData: read_python,
}


def load_data(
    settings: DataSource,
    *,
    folder: Path,
    seed: int,
    input_shape: tuple[int, ...],
    target: Literal["class", "value"],
    classes: int | None = None,
    output_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Load, check and split the data of a spec.

    Examples are shuffled by a permutation that depends on nothing but ``seed`` and their number. The first
    ones become the test split, the next ones the validation split and the others the training split, unless the
    source has its own test or validation split, which then keeps its order.

    Args:
        settings: One of the sources of ``dualml.spec.data``.
        folder: Where relative paths start: the folder of the config file.
        seed: The spec's seed.
        input_shape: Shape of one example as the model takes it.
        target: Whether the model predicts classes or values.
        classes: How many classes it predicts.
        output_shape: Shape of one example's values, if it predicts values.

    Returns:
        The splits, whose ``gather`` gives inputs of ``input_shape``.

    Raises:
        DataError: Anything is wrong with the files or arrays.

    Example:
        >>> from pathlib import Path
        >>> from dualml.spec.data import DigitsData
        >>> data = load_data(
        ...     DigitsData(), folder=Path(), seed=0, input_shape=(64,), target="class", classes=10
        ... )
        >>> len(data.train), len(data.validation), len(data.test)
        (1294, 144, 359)
    """
    try:
        raw = _READERS[type(settings)](settings, Path(folder))
        for part in raw.parts():
            check_lengths(part)
        check_shapes(raw, input_shape)
        for part in raw.parts():
            check_numbers(part)
        raw, names = _with_targets(raw, settings, target, classes, output_shape)
        return _dataset(_divided(raw, settings, seed), settings, names, input_shape, output_shape)
    except OSError as error:  # a file that vanishes or a folder that may not be listed
        raise DataError(
            f"{_place(settings)}: the data must be readable, but is not ({reason(error)}); check the files and their "
            f"permissions"
        ) from error
    except MemoryError as error:
        raise DataError(
            f"{_place(settings)}: the data must fit into memory, but does not ({error or 'out of memory'}); use a "
            f"smaller data.image_size, or store arrays as .npy files and set data.source: npy, data.memory_map: true"
        ) from error


def _with_targets(
    raw: Raw,
    settings: DataSource,
    target: Literal["class", "value"],
    classes: int | None,
    output_shape: tuple[int, ...] | None,
) -> tuple[Raw, tuple[str, ...] | None]:
    parts = raw.parts()
    names: tuple[str, ...] | None = None
    checked: list[Any]
    if target == "class":
        checked, names = targets.class_numbers(parts, classes, raw.class_names, settings.class_names)
    else:
        checked = [targets.values(part, output_shape) for part in parts]
    new = iter(replace(part, targets=array) for part, array in zip(parts, checked, strict=True))
    return (
        replace(
            raw,
            train=next(new),
            validation=next(new) if raw.validation else None,
            test=next(new) if raw.test else None,
        ),
        names,
    )


def _divided(raw: Raw, settings: DataSource, seed: int) -> Raw:
    """Give the missing splits their share of the training examples."""
    count = len(raw.train.inputs)
    order = permutation(seed, "data/split", count)
    tests = 0 if raw.test else share(settings.test, count)
    validations = 0 if raw.validation else share(settings.validation, count - tests)
    if count - tests - validations < 1:
        raise DataError(
            f"{raw.train.where}: there must be an example left to train with, but of {count} the test split takes "
            f"{tests} and the validation split {validations}; lower data.test and data.validation, or set them to 0"
        )

    def part(rows: NDArray[np.int64]) -> Part | None:
        return (
            replace(raw.train, inputs=take(raw.train.inputs, rows), targets=take(raw.train.targets, rows))
            if len(rows)
            else None
        )

    train = part(order[tests + validations :][: settings.limit])
    assert train is not None  # counted above
    return replace(
        raw,
        train=train,
        validation=raw.validation or part(order[tests : tests + validations]),
        test=raw.test or part(order[:tests]),
    )


def share(fraction: float, count: int) -> int:
    """How many of ``count`` examples a fraction is: rounded half up, and at least one unless it is 0."""
    return max(1, math.floor(fraction * count + 0.5)) if fraction > 0 else 0


def _dataset(
    raw: Raw,
    settings: DataSource,
    names: tuple[str, ...] | None,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...] | None,
) -> Dataset:
    def split(part: Part | None) -> Split | None:
        if part is None:
            return None
        shape = None if len(part.targets.shape) == 1 and part.targets.dtype.kind == "i" else output_shape
        return Split(part.inputs, part.targets, input_shape=input_shape, output_shape=shape)

    train = split(raw.train)
    assert train is not None
    return Dataset(
        train,
        split(raw.validation),
        split(raw.test),
        names,
        _normalisation(raw, settings).reshaped(input_shape),
    )


def _normalisation(raw: Raw, settings: DataSource) -> Normalisation:
    inputs = raw.train.inputs
    if settings.normalize is None and raw.normalisation is not None:
        return raw.normalisation
    choice = settings.normalize or raw.normalize
    if choice == "unit":
        return normalisation.unit(inputs, raw.largest, raw.train.where)
    if choice == "standard":
        return normalisation.standard(inputs, raw.images, raw.train.where)
    return Normalisation()


def _place(settings: DataSource) -> str:
    for name in ("path", "inputs", "folder", "train_images", "function"):
        value = getattr(settings, name, None)
        if value is not None:
            return str(value)
    return str(getattr(settings, "source", "data"))
