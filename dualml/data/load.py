"""From settings to a dataset: read, check, split, normalise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data import normalisation, targets
from dualml.data.arrays import read_npy_files, read_npz
from dualml.data.checks import Part, Raw, check_lengths, check_numbers, check_shapes
from dualml.data.choice import named_inputs, named_targets
from dualml.data.dataset import AS_STORED, Dataset, Split
from dualml.data.images import read_digits, read_fashion_mnist, read_idx_files
from dualml.data.needs import Needs, OutputNeed
from dualml.data.normalisation import Normalisation
from dualml.data.problems import reason
from dualml.data.python_source import read_python
from dualml.data.rows import SameAs, share
from dualml.data.tables import read_scikit_learn, read_table
from dualml.data.texts import read_language_model, read_texts, read_word_languages
from dualml.errors import DataError
from dualml.randomness import permutation
from dualml.spec.data import (
    CsvData,
    DataSource,
    DigitsData,
    FashionMnistData,
    IdxData,
    LanguageModelData,
    NpyData,
    NpzData,
    ParquetData,
    PythonData,
    ScikitLearnData,
    TextData,
    WordLanguagesData,
)

_READERS: dict[type[DataSource], Callable[[Any, Path, Needs], Raw]] = {
    DigitsData: lambda settings, _folder, _needs: read_digits(settings),
    IdxData: lambda settings, folder, _needs: read_idx_files(settings, folder),
    FashionMnistData: lambda settings, folder, _needs: read_fashion_mnist(settings, folder),
    NpzData: read_npz,
    NpyData: lambda settings, folder, _needs: read_npy_files(settings, folder),
    CsvData: read_table,
    ParquetData: read_table,
    ScikitLearnData: lambda settings, _folder, needs: read_scikit_learn(settings, needs),
    TextData: read_texts,
    WordLanguagesData: read_word_languages,
    LanguageModelData: read_language_model,
    PythonData: lambda settings, folder, _needs: read_python(settings, folder),
}


def load_for(settings: DataSource, *, folder: Path, seed: int, needs: Needs) -> Dataset:
    """Load, check and split the data of a model.

    Examples are shuffled by a permutation that depends on nothing but ``seed`` and their number. The first
    ones become the test split, the next ones the validation split and the others the training split, unless the
    source has its own test or validation split, which then keeps its order. What is learnt from the data (scaling,
    vocabulary, categories) is learnt from the training split.

    Args:
        settings: One of the sources of ``dualml.spec.data``.
        folder: Where relative paths start: the folder of the config file.
        seed: The spec's seed.
        needs: The model's inputs and outputs.

    Returns:
        The splits. ``gather`` gives an array for a model with one input, and a dictionary by name for one with
        several; in the same way for outputs.

    Raises:
        DataError: Anything is wrong with the files or arrays.

    Example:
        >>> from dualml.data import InputNeed, Needs, OutputNeed
        >>> from dualml.spec.data import DigitsData
        >>> needs = Needs({"input": InputNeed((64,))}, {"output": OutputNeed("class", classes=10)})
        >>> data = load_for(DigitsData(), folder=Path(), seed=0, needs=needs)
        >>> len(data.train), len(data.validation), len(data.test)
        (1294, 144, 359)
    """
    try:
        raw = _READERS[type(settings)](settings, Path(folder), needs)
        for part in raw.parts():
            check_lengths(part)
        if raw.fit is None:
            raw = _checked(raw, settings, needs)
        raw, names = _with_targets(named_targets(raw, settings, needs), settings, needs)
        raw = _divided(raw, settings, seed)
        if raw.fit is not None:
            encoding = raw.fit(raw.train, needs)
            raw = raw.mapped(lambda part: replace(part, inputs=encoding.encode(part.inputs)))
            raw = _checked(replace(raw, encoding=encoding), settings, needs)
        return _dataset(raw, settings, names, needs)
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


def _checked(raw: Raw, settings: DataSource, needs: Needs) -> Raw:
    """The parts with their inputs by the model's names, checked against what it takes."""
    raw = raw.mapped(lambda part: replace(part, inputs=named_inputs(part, needs)))
    check_shapes(raw, needs)
    for part in raw.parts():
        check_numbers(part, needs)
    if settings.normalize not in (None, "none") and all(need.integer for need in needs.inputs.values()):
        raise DataError(
            f"{raw.train.where}: data.normalize: {settings.normalize} must have inputs to scale, but the model's take "
            f"whole numbers; remove data.normalize"
        )
    return raw


def _with_targets(
    raw: Raw, settings: DataSource, needs: Needs
) -> tuple[Raw, tuple[str, ...] | Mapping[str, tuple[str, ...]] | None]:
    """The parts with checked targets of every output, and the names of the classes."""
    parts = raw.parts()
    checked: list[dict[str, Any]] = [{} for _ in parts]
    names: dict[str, tuple[str, ...] | None] = {}
    labelled = [
        name
        for name, need in needs.outputs.items()
        if need.kind == "class" and not isinstance(raw.train.named_targets[name], SameAs)
    ]
    for name, need in needs.outputs.items():
        of_output = [replace(part, targets=part.named_targets[name]) for part in parts]
        arrays: Sequence[Any]
        if isinstance(of_output[0].targets, SameAs):
            arrays = [part.targets for part in of_output]
        elif need.kind == "class":
            only = len(labelled) == 1
            arrays, names[name] = targets.class_numbers(
                of_output, need, raw.class_names if only else None, settings.class_names if only else None
            )
        else:
            arrays = [targets.values(part, need.shape) for part in of_output]
        for result, array in zip(checked, arrays, strict=True):
            result[name] = array
    new = iter(checked)
    raw = raw.mapped(lambda part: replace(part, targets=next(new)))
    if len(names) < 2:
        return raw, next(iter(names.values()), None)
    return raw, {name: known for name, known in names.items() if known is not None}


def _divided(raw: Raw, settings: DataSource, seed: int) -> Raw:
    """Give the missing splits their share of the training examples."""
    count = len(raw.train)
    order = permutation(seed, "data/split", count)
    tests = 0 if raw.test or raw.final else share(settings.test, count)
    validations = 0 if raw.validation or raw.final else share(settings.validation, count - tests)
    if count - tests - validations < 1:
        raise DataError(
            f"{raw.train.where}: there must be an example left to train with, but of {count} the test split takes "
            f"{tests} and the validation split {validations}; lower data.test and data.validation, or set them to 0"
        )

    def part(rows: NDArray[np.int64]) -> Part | None:
        return raw.train.taken(rows) if len(rows) else None

    train = part(order[tests + validations :][: settings.limit])
    assert train is not None  # counted above
    return replace(
        raw,
        train=train,
        validation=raw.validation or part(order[tests : tests + validations]),
        test=raw.test or part(order[:tests]),
    )


def _dataset(
    raw: Raw,
    settings: DataSource,
    names: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None,
    needs: Needs,
) -> Dataset:
    """The splits, with mappings only where the model has several inputs or outputs."""
    several_inputs, several_outputs = len(needs.inputs) > 1, len(needs.outputs) > 1

    def plain(values: Mapping[str, Any], several: bool) -> Any:
        return dict(values) if several else next(iter(values.values()))

    def shape(part: Part, name: str, need: OutputNeed) -> tuple[int, ...] | None:
        target = part.named_targets[name]
        return need.shape if isinstance(target, SameAs) or target.dtype.kind == "f" else None

    def split(part: Part | None) -> Split | None:
        if part is None:
            return None
        return Split(
            plain(part.named_inputs, several_inputs),
            plain(part.named_targets, several_outputs),
            input_shape=plain({name: need.shape for name, need in needs.inputs.items()}, several_inputs),
            output_shape=plain({n: shape(part, n, need) for n, need in needs.outputs.items()}, several_outputs),
            weights=part.weights,
            integer=plain({name: need.integer for name, need in needs.inputs.items()}, several_inputs),
        )

    train = split(raw.train)
    assert train is not None
    scalings = {
        name: _normalisation(raw, settings, name).reshaped(need.shape)
        for name, need in needs.inputs.items()
        if not need.integer
    }
    scaling = scalings if several_inputs else next(iter(scalings.values()), AS_STORED)
    return Dataset(train, split(raw.validation), split(raw.test), names, scaling, raw.encoding)


def _normalisation(raw: Raw, settings: DataSource, name: str) -> Normalisation:
    inputs = raw.train.named_inputs[name]
    if settings.normalize is None and raw.normalisation is not None:
        known = raw.normalisation
        return known.get(name, AS_STORED) if isinstance(known, Mapping) else known
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
