"""Checks that every source shares: arrays and shapes. Messages say what must hold, what was found, what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.encoding import Encoding
from dualml.data.needs import InputNeed, Needs
from dualml.data.normalisation import Normalisation
from dualml.data.problems import find_file as find_file
from dualml.data.rows import Inputs, Rows, SameAs, Targets, blocks, by_name, each, take
from dualml.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs and targets as a source holds them, before any check.

    Attributes:
        inputs: Shape ``(n, *example)``; several are a mapping by name. What an encoding turns into numbers later is
            an array of objects.
        targets: Shape ``(n, *rest)``; numbers or text; several are a mapping by name.
        where: File or files they come from, for messages.
        table: Whether rows are counted as people count lines of a table.
        weights: One number for each example, shape ``(n,)``, if there are weights.
    """

    inputs: Inputs
    targets: Targets
    where: str
    table: bool = False
    weights: Rows | None = None

    @property
    def named_inputs(self) -> dict[str, Rows]:
        """Inputs by name; a single one is called ``inputs``."""
        return by_name(self.inputs, "inputs")

    @property
    def named_targets(self) -> dict[str, Rows | SameAs]:
        """Targets by name; single ones are called ``targets``."""
        return by_name(self.targets, "targets")

    def __len__(self) -> int:
        return len(next(iter(self.named_inputs.values())))

    def taken(self, rows: NDArray[np.int64]) -> Part:
        """Some of the examples."""
        inputs, targets, weights = (
            each(value, lambda array: take(array, rows)) for value in (self.inputs, self.targets, self.weights)
        )
        return replace(self, inputs=inputs, targets=targets, weights=weights)

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
        normalisation: A scaling the source brings along, or one for each input.
        encoding: How raw inputs become numbers, if the source has fitted it already.
        fit: Fits the encoding to the training examples, once they are known.
        final: Whether the splits are those the source gives, none being taken from the training examples.
    """

    train: Part
    validation: Part | None = None
    test: Part | None = None
    class_names: tuple[str, ...] | None = None
    normalize: str = "none"
    images: bool = False
    largest: float | None = None
    normalisation: Normalisation | Mapping[str, Normalisation] | None = None
    encoding: Encoding | None = None
    fit: Callable[[Part, Needs], Encoding] | None = None
    final: bool = False

    def parts(self) -> list[Part]:
        """The parts there are: training, validation, test."""
        return [part for part in self._all() if part is not None]

    def mapped(self, function: Callable[[Part], Part]) -> Raw:
        """The same with ``function`` of each part, training first."""
        train, validation, test = (None if part is None else function(part) for part in self._all())
        assert train is not None
        return replace(self, train=train, validation=validation, test=test)

    def _all(self) -> tuple[Part | None, ...]:
        return self.train, self.validation, self.test


def check_lengths(part: Part) -> None:
    """Inputs, targets and weights have an axis of examples, as many of each, and at least one."""
    arrays: dict[str, Rows] = {}
    for what, group in (("input", part.named_inputs), ("target", part.named_targets)):
        for name, array in group.items():
            if not isinstance(array, SameAs):
                arrays[f"{what}s" if len(group) == 1 else f"{what} {name!r}"] = array
    if part.weights is not None:
        arrays["weights"] = part.weights
    for name, array in arrays.items():
        if len(array.shape) == 0:
            raise DataError(
                f"{part.where}: {name} must have an axis that counts examples, but hold a single value; "
                f"store an array with one row for each example"
            )
    first, count = next((name, len(array)) for name, array in arrays.items())
    for name, array in arrays.items():
        if len(array) != count and (first, name) == ("inputs", "targets"):
            raise DataError(
                f"{part.where}: there must be one target for each input, but there are {count} inputs and "
                f"{len(array)} targets; correct the file that is too short or too long"
            )
        if len(array) != count:
            raise DataError(
                f"{part.where}: all arrays must have one row for each example, but {first} has {count} and {name} "
                f"{len(array)}; correct the array that is too short or too long"
            )
    if count == 0:
        raise DataError(
            f"{part.where}: there must be at least one example, but there is none; check how it was written"
        )


def check_numbers(part: Part, needs: Needs) -> None:
    """Inputs are finite real numbers, or ids in their range; read block by block, so that a map stays on disk."""
    several = len(needs.inputs) > 1
    for name, need in needs.inputs.items():
        array, called = part.named_inputs[name], f"input {name!r}" if several else "input"
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{part.where}: {called if several else 'inputs'} must be real numbers, but have dtype {array.dtype}; "
                f"convert them to float or to unsigned bytes"
            )
        check_finite(part, array, called)
        if need.integer:
            _check_ids(part, array, called, need)
    if part.weights is not None:
        _check_weights(part, part.weights)


def _check_ids(part: Part, array: Rows, called: str, need: InputNeed) -> None:
    for block in blocks(array):
        values = np.asarray(array[block])
        place = first_wrong_id(values, need.size)
        if place is not None:
            most = "" if need.size is None else f" to {need.size - 1}"
            remedy = "number them from 0" if need.size is None else "correct them or raise the size of the embedding"
            raise DataError(
                f"{part.where}: {called} must hold whole numbers from 0{most}, but {part.row(block.start + place[0])} "
                f"has {values[place]} at position {list(place[1:])}; {remedy}"
            )


def first_wrong_id(values: NDArray[Any], size: int | None) -> tuple[int, ...] | None:
    """Where the first value is that is no whole number from 0 to ``size - 1``; ``None`` if all are."""
    wrong = values < 0
    if size is not None:
        wrong = wrong | (values >= size)
    if values.dtype.kind == "f":
        wrong = wrong | (values != np.floor(values))  # also NaN, which equals nothing
    return tuple(int(axis) for axis in np.argwhere(wrong)[0]) if wrong.any() else None


def _check_weights(part: Part, weights: Rows) -> None:
    shape = tuple(weights.shape)
    if weights.dtype.kind not in "biuf" or math.prod(shape) != len(weights):
        raise DataError(
            f"{part.where}: weights must be one number for each example, shape ({len(weights)},), but have shape "
            f"{shape} and dtype {weights.dtype}; store such an array or remove data.weights"
        )
    check_finite(part, weights, "weight")
    values = np.asarray(weights)
    if (values < 0).any():
        row = int(np.argwhere(values < 0)[0][0])
        raise DataError(
            f"{part.where}: weights must be 0 or more, but {part.row(row)} has {values.reshape(-1)[row]}; correct it"
        )
    if not values.any():
        raise DataError(f"{part.where}: at least one weight must be above 0, but all are 0; correct the weights")


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


def check_shapes(raw: Raw, needs: Needs) -> None:
    """One example fits the model's inputs.

    Raises:
        DataError: Parts differ, the number of values differs, or the axes are in another order. A reshape
            would go through in that last case, and mix up rows, columns and channels without a sound.
    """
    for name, need in needs.inputs.items():
        _check_shape(raw, name, need, several=len(needs.inputs) > 1)


def _check_shape(raw: Raw, name: str, need: InputNeed, *, several: bool) -> None:
    shape, input_shape = tuple(raw.train.named_inputs[name].shape[1:]), need.shape
    an_example, the_input, key = ("an example", "the model's input", "model.input")
    if several:
        an_example, the_input = f"an example of input {name!r}", f"the model's input {name!r}"
        key = f"model.inputs.{name}"
    for part in raw.parts():
        other = tuple(part.named_inputs[name].shape[1:])
        if other != shape:
            raise DataError(
                f"{part.where}: {an_example} must have the shape {shape} as in the training data, but has {other}; "
                f"write both in the same way"
            )
    if math.prod(shape) != math.prod(input_shape):
        raise DataError(
            f"{raw.train.where}: {an_example} must have as many values as {the_input}, shape {input_shape} "
            f"({math.prod(input_shape)} values), but has the shape {shape} ({math.prod(shape)} values); "
            f"{_shape_remedy(raw, shape, need, key)}"
        )
    stored = [size for size in shape if size != 1]
    wanted = [size for size in input_shape if size != 1]
    if stored != wanted and sorted(stored) == sorted(wanted):
        raise DataError(
            f"{raw.train.where}: {an_example} must have its axes in the order of {the_input}, shape {input_shape}, "
            f"but has the shape {shape}; store it with numpy.moveaxis (channels are last), or set "
            f"{key}: {list(shape)}"
        )


def _shape_remedy(raw: Raw, shape: tuple[int, ...], need: InputNeed, key: str) -> str:
    sizes = list(shape) or [1]
    remedy = f"set {key}: {{shape: {sizes}, dtype: integer}}" if need.integer else f"set {key}: {sizes}"
    side = math.isqrt(math.prod(need.shape))
    if raw.images and side * side == math.prod(need.shape):
        remedy += f", or data.image_size: {side}"
    elif raw.train.table:
        remedy += ", or list as many columns in data.features"
    return remedy
