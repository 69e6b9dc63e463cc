"""Scaling of inputs: ``(x - offset) / scale``, with numbers taken from the training examples only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dualml.data.rows import Rows, blocks
from dualml.errors import DataError

Number = float | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Normalisation:
    """``(x - offset) / scale`` in float64, then cast to the model's precision.

    A run stores it, so that new inputs are treated like those of the training.

    Attributes:
        offset: One number, or one for each value of an example, shape ``example``, dtype float64.
        scale: Like ``offset``; never zero.

    Example:
        >>> import numpy as np
        >>> Normalisation(0.0, 16.0).apply(np.array([[0, 8, 16]], np.uint8), "float32").tolist()
        [[0.0, 0.5, 1.0]]
    """

    offset: Number = 0.0
    scale: Number = 1.0

    def __post_init__(self) -> None:
        for name in ("offset", "scale"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.isfinite(value).all():
                raise DataError(f"normalisation: {name} must be finite, but it holds NaN or infinity")
            object.__setattr__(self, name, value if value.ndim else float(value))
        if not np.all(self.scale):
            raise DataError("normalisation: scale must not be zero; use 1 for a value that never changes")

    @property
    def identity(self) -> bool:
        """Whether it leaves every value as it is."""
        return bool(np.all(np.equal(self.offset, 0.0)) and np.all(np.equal(self.scale, 1.0)))

    def apply(self, x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """Normalise examples.

        Args:
            x: Raw values as they are stored, shape ``(n, *example)``, any real dtype. Where ``offset`` or
                ``scale`` is an array, an example may have another shape with as many values (row-major).
            dtype: float32 or float64.

        Returns:
            A new array of the shape of ``x``, dtype ``dtype``.

        Raises:
            DataError: An example has another number of values than ``offset`` or ``scale``.
        """
        if x.ndim == 0:
            raise DataError("normalisation: inputs must have an axis that counts examples, but are a single value")
        offset, scale = self._fitted("offset", x), self._fitted("scale", x)
        identity = self.identity
        if identity and x.dtype.kind == "f":
            return np.array(x, dtype=dtype)
        result = np.empty(x.shape, dtype=dtype)
        for block in blocks(x):  # bounds the float64 copy of a large array of bytes
            values = np.asarray(x[block], dtype=np.float64)
            result[block] = values if identity else (values - offset) / scale
        return result

    def reshaped(self, shape: tuple[int, ...]) -> Normalisation:
        """The same numbers for examples of another shape with as many values.

        Raises:
            DataError: ``offset`` or ``scale`` has another number of values.
        """
        for name, value in (("offset", self.offset), ("scale", self.scale)):
            if np.ndim(value) and np.size(value) != math.prod(shape):
                raise DataError(
                    f"normalisation: {name} must be one number or one for each value of an example, shape {shape}, "
                    f"but has the shape {np.shape(value)}; use numpy.broadcast_to"
                )
        numbers = [np.reshape(value, shape) if np.ndim(value) else value for value in (self.offset, self.scale)]
        return Normalisation(*numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; floats keep every bit."""
        return {"offset": np.asarray(self.offset).tolist(), "scale": np.asarray(self.scale).tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalisation:
        """The inverse of ``to_dict``.

        Raises:
            DataError: Something is missing or not a number.
        """
        if not isinstance(values, Mapping) or set(values) != {"offset", "scale"}:
            found = ", ".join(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
            raise DataError(f"normalisation: must hold offset and scale, but holds {found or 'nothing'}")
        numbers = []
        for name in ("offset", "scale"):
            try:
                numbers.append(np.array(values[name], dtype=np.float64))
            except (TypeError, ValueError) as error:
                raise DataError(f"normalisation: {name} must be numbers, but: {error}") from error
        return cls(*numbers)

    def _fitted(self, name: str, x: NDArray[Any]) -> Number:
        value: Number = getattr(self, name)
        if not isinstance(value, np.ndarray) or value.shape == x.shape[1:]:
            return value
        if value.size != math.prod(x.shape[1:]):
            raise DataError(
                f"normalisation: an example must have {value.size} values (shape {value.shape}), "
                f"but it has shape {x.shape[1:]}; give raw inputs of the shape the model was trained with"
            )
        return value.reshape(x.shape[1:])


def unit(train: Rows, largest: float | None, where: str) -> Normalisation:
    """Division by the largest possible value, or by the largest magnitude in the training examples."""
    if largest is None:
        if train.dtype == np.uint8:
            largest = 255.0
        else:
            extremes = [_extremes(train[block], None) for block in blocks(train)]
            largest = max(max(-float(low), float(high)) for low, high in extremes)
    return _checked(0.0, largest or 1.0, where)


def standard(train: Rows, together: bool, where: str) -> Normalisation:
    """Mean 0 and standard deviation 1 over the training examples; a value that never changes becomes 0.

    Args:
        train: Inputs, shape ``(n, *example)``.
        together: One mean for all values instead of one for each.
        where: What is read, for messages.
    """
    axis = None if together else 0
    count = len(train) * (math.prod(train.shape[1:]) if together else 1)
    with np.errstate(over="ignore", invalid="ignore"):  # reported below, with the file's name
        low: Any = np.inf
        high: Any = -np.inf
        total: Any = 0.0
        for block in blocks(train):
            values = np.asarray(train[block], dtype=np.float64)
            smallest, largest = _extremes(values, axis)
            low, high = np.minimum(low, smallest), np.maximum(high, largest)
            total = total + values.sum(axis=axis)
        # A mean of equal numbers can be off by one rounding, and the deviation then is noise, not zero.
        mean = np.where(np.equal(low, high), low, total / count)
        squares: Any = 0.0
        for block in blocks(train):  # a second pass: sums of squares minus squares of sums would cancel
            squares = squares + ((np.asarray(train[block], dtype=np.float64) - mean) ** 2).sum(axis=axis)
        deviation = np.sqrt(squares / count)
    return _checked(mean, np.where(deviation == 0.0, 1.0, deviation), where)


def _extremes(values: NDArray[Any], axis: int | None) -> tuple[Any, Any]:
    values = np.asarray(values, dtype=np.float64)
    return values.min(axis=axis), values.max(axis=axis)


def _checked(offset: Any, scale: Any, where: str) -> Normalisation:
    if not (np.isfinite(offset).all() and np.isfinite(scale).all()):
        raise DataError(
            f"{where}: inputs must be small enough to compute their standard deviation in float64, but they "
            f"overflow; divide them by a constant first, or set data.normalize: none"
        )
    return Normalisation(offset, scale)
