"""Targets: class numbers or values, checked against what the model predicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.checks import Part, check_finite
from dualml.data.needs import OutputNeed
from dualml.data.problems import nearest
from dualml.data.rows import Rows, SameAs
from dualml.errors import DataError


def class_numbers(
    parts: Sequence[Part], need: OutputNeed, names: tuple[str, ...] | None, given: tuple[str, ...] | None
) -> tuple[list[NDArray[np.int64]], tuple[str, ...] | None]:
    """The targets of every part as class numbers.

    Args:
        parts: Training part first, each with the targets of one output: whole numbers from 0, or text.
        need: How many classes the model has, where it has one, and which number stands for no label.
        names: Names the source knows.
        given: Names from the config, which come before all others and set the order of text labels.

    Returns:
        For each part class numbers, shape ``(n, *need.positions)``, dtype int64; and the names of the classes, if
        known.

    Raises:
        DataError: A label is no class number, out of range, or not among the names.
    """
    classes = need.classes
    labels = [_one_per_position(part, need.positions) for part in parts]
    text = [array.dtype.kind in "US" for array in labels]
    if any(text) and not all(text):
        odd = parts[text.index(not text[0])]
        raise DataError(
            f"{odd.where}: labels must be text in all files or numbers in all files, but are numbers here and text "
            f"elsewhere or the reverse; write them in one way"
        )
    if given is not None and classes is not None and len(given) != classes:
        raise DataError(
            f"{parts[0].where}: data.class_names must have one name for each of the model's {classes} classes, "
            f"but has {len(given)}; add or remove names, or change the units of the last layer"
        )
    if all(text):
        return _from_text(parts, [_decoded(*pair) for pair in zip(parts, labels, strict=True)], classes, given)
    numbers = [_whole_numbers(part, array, need) for part, array in zip(parts, labels, strict=True)]
    known = given or names
    if known is not None and classes is not None and len(known) < classes:
        known = (*known, *(str(number) for number in range(len(known), classes)))
    return numbers, known


def values(part: Part, output_shape: tuple[int, ...] | None) -> Rows:
    """The targets of one part as floating-point numbers.

    Args:
        part: Targets of shape ``(n, *rest)``.
        output_shape: Shape of one example's output; ``rest`` must have as many values.

    Returns:
        The targets in their stored shape and floating-point dtype; other numbers become float64.
    """
    targets = _stored(part)
    if targets.dtype.kind not in "biuf":
        raise DataError(
            f"{part.where}: targets must be real numbers for this loss, but have dtype {targets.dtype}; "
            f"convert them, or choose a loss for classes (loss: cross_entropy)"
        )
    shape = tuple(targets.shape[1:])
    if output_shape is not None and math.prod(shape) != math.prod(output_shape):
        raise DataError(
            f"{part.where}: a target must have as many values as the model's output, shape {output_shape} "
            f"({math.prod(output_shape)} values), but has the shape {shape} ({math.prod(shape)} values); "
            f"change the last layer or store other targets"
        )
    check_finite(part, targets, "target")
    return targets if targets.dtype.kind == "f" else np.asarray(targets, dtype=np.float64)


def _stored(part: Part) -> Rows:
    """The targets of a part that has those of one output."""
    targets = part.targets
    assert not isinstance(targets, SameAs | Mapping), "targets are chosen by output before they are checked"
    return targets


def _one_per_position(part: Part, positions: tuple[int, ...]) -> NDArray[Any]:
    targets = _stored(part)
    if targets.dtype.kind not in "biufUS":
        raise DataError(
            f"{part.where}: labels must be whole numbers or text, but have dtype {targets.dtype}; "
            f"store class numbers that count from 0"
        )
    shape = tuple(targets.shape[1:])
    if not positions and math.prod(shape) != 1:
        hint = "; if they are one-hot, store numpy.argmax(targets, axis=1)" if len(shape) == 1 else ""
        raise DataError(
            f"{part.where}: there must be one label for each example, but targets have the shape "
            f"{tuple(targets.shape)}{hint or '; store class numbers of shape (examples,)'}"
        )
    if positions and (shape != positions or targets.dtype.kind in "US"):
        raise DataError(
            f"{part.where}: there must be one class number for each of the model's positions, shape {positions}, but "
            f"the targets of one example have the shape {shape} and dtype {targets.dtype}; store class numbers of "
            f"that shape, or let the model give one output for each example"
        )
    return np.asarray(targets).reshape(len(targets), *positions)


def _whole_numbers(part: Part, labels: NDArray[Any], need: OutputNeed) -> NDArray[np.int64]:
    classes = need.classes
    if labels.dtype.kind == "f":
        check_finite(part, labels, "label")
        broken = labels != np.floor(labels)
        if broken.any():
            place = _first(broken)
            raise DataError(
                f"{part.where}: labels must be whole numbers, but {part.row(place[0])} has {labels[place]}; store "
                f"class numbers, or choose a loss for values (loss: mse)"
            )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    # A comparison, not a cast, first: 2^64 - 1 as int64 would pass for -1, and 1e300 for anything.
    largest = classes - 1 if classes is not None else 2**62
    wrong = (labels < 0) | (labels > largest)
    if need.ignored is not None:
        wrong &= labels != need.ignored
    if wrong.any():
        place = _first(wrong)
        allowed = f"from 0 to {classes - 1}" if classes is not None else "0 or more"
        raise DataError(
            f"{part.where}: labels must be {allowed}, but {part.row(place[0])} has {labels[place]}; "
            f"{_range_remedy(labels, classes)}"
        )
    return labels.astype(np.int64)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argwhere(wrong)[0])


def _range_remedy(labels: NDArray[Any], classes: int | None) -> str:
    low, high = float(labels.min()), float(labels.max())
    if classes is not None and low == 1 and high == classes:
        return "they seem to count from 1: subtract 1"
    if low < 0:
        return "number the classes from 0, and remove examples marked with a negative label"
    return f"set the units of the last layer to {high + 1:.0f}, or correct the labels"


def _decoded(part: Part, labels: NDArray[Any]) -> NDArray[np.str_]:
    if labels.dtype.kind == "U":
        return labels
    try:
        return np.char.decode(labels, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{part.where}: labels must be text in UTF-8, but {error}; store them as str") from error


def _from_text(
    parts: Sequence[Part], labels: list[NDArray[np.str_]], classes: int | None, given: tuple[str, ...] | None
) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    found = sorted({str(label) for array in labels for label in np.unique(array)})
    if given is None and classes is not None and len(found) != classes:
        shown = ", ".join(found[:10]) + (", …" if len(found) > 10 else "")
        raise DataError(
            f"{parts[0].where}: there must be as many different labels as the model has classes, {classes}, but "
            f"there are {len(found)} ({shown}); set the units of the last layer to {len(found)}, or name all "
            f"classes in data.class_names"
        )
    names = given or tuple(found)
    number = {name: index for index, name in enumerate(names)}
    for part, array in zip(parts, labels, strict=True):
        unknown = np.array([str(label) not in number for label in array], dtype=np.bool_)
        if unknown.any():
            row = int(np.argmax(unknown))
            raise DataError(
                f"{part.where}: every label must be one of data.class_names ({', '.join(names)}), but {part.row(row)} "
                f"has {str(array[row])!r}.{nearest(str(array[row]), names)} Add it to data.class_names or correct it"
            )
    return [np.array([number[str(label)] for label in array], dtype=np.int64) for array in labels], names
