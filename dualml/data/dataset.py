"""What loading gives: up to three splits, the names of the classes and how inputs are prepared."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dualml.data.encoding import Encoding
from dualml.data.normalisation import Normalisation
from dualml.data.rows import Inputs, MappedRows, Rows, SameAs, Targets, as_rows, blocks, by_name, each, is_mapped
from dualml.errors import DataError

AS_STORED = Normalisation()
"""The scaling that changes nothing."""

SAMPLED_ROWS = 64
"""How many rows of a memory-mapped array enter the fingerprint."""

Shapes: TypeAlias = tuple[int, ...] | Mapping[str, tuple[int, ...] | None] | None
Scalings: TypeAlias = Normalisation | Mapping[str, Normalisation]


@dataclass(frozen=True, eq=False)
class Split:
    """Examples with their targets.

    Several inputs or targets are a mapping by name, and so is then what belongs to each of them.

    Attributes:
        inputs: Raw inputs in their stored dtype, shape ``(n, *example)``; memory-mapped ones stay on disk.
        targets: Class numbers (any integer dtype), shape ``(n,)`` or ``(n, *positions)``; values (float), shape
            ``(n, *output)``; or ``SameAs`` an input.
        normalisation: How ``gather`` and ``whole`` scale inputs.
        input_shape: Shape of one example as the model takes it; ``None`` is the stored shape.
        output_shape: Shape of one example's values as the model gives them; ``None`` is the stored shape.
        weights: What each example's loss is multiplied by, shape ``(n,)``; ``None``: 1.
        integer: Whether inputs are whole numbers that stay int64 and are not scaled, for all or for each. ``None``: a
            single input is not; of several, those with an integer dtype are.

    Raises:
        DataError: The lengths differ, or an example does not have as many values as ``input_shape``.

    Example:
        >>> import numpy as np
        >>> split = Split(np.eye(3), np.array([2, 0, 1]))
        >>> x, y = split.gather(np.array([2, 0]), "float32")
        >>> x.tolist(), y.tolist()
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [1, 2])
    """

    inputs: Inputs
    targets: Targets
    normalisation: Scalings = AS_STORED
    input_shape: Shapes = None
    output_shape: Shapes = None
    weights: Rows | None = None
    integer: bool | Mapping[str, bool] | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "targets", "weights"):
            object.__setattr__(self, name, each(getattr(self, name), as_rows))
        lengths = {}
        for name, array, _ in self._arrays():
            if len(array.shape) == 0:
                raise DataError(f"split: {name} must have an axis that counts examples, but it is a single number")
            lengths[name] = len(array)
        if len(set(lengths.values())) > 1:
            found = " and ".join(f"{count} {name}" for name, count in lengths.items())
            several = "inputs and targets" if set(lengths) == {"inputs", "targets"} else "all arrays"
            raise DataError(f"split: {several} must have equal lengths, but there are {found}")
        for name, array, shape in self._arrays():
            if shape is not None and math.prod(shape) != math.prod(array.shape[1:]):
                raise DataError(f"split: {name} of shape {array.shape[1:]} cannot be given the shape {shape}")
        inputs = by_name(self.inputs, "input")
        for name, target in by_name(self.targets, "targets").items():
            if not isinstance(target, SameAs):
                continue
            if target.input not in inputs and len(inputs) > 1:
                raise DataError(f"split: target {name} must be one of the inputs {', '.join(inputs)}: {target.input}")
            shape, given = _of(self.output_shape, name), next(iter(inputs.values()))
            source = inputs.get(target.input, given)
            if shape is not None and math.prod(shape) != math.prod(source.shape[1:]):
                raise DataError(
                    f"split: an input of shape {tuple(source.shape[1:])} cannot be the target of an output of shape "
                    f"{shape}"
                )

    def _arrays(self) -> Iterator[tuple[str, Rows, tuple[int, ...] | None]]:
        """Every stored array with its name for messages and the shape it is given."""
        for role, value, shapes in (
            ("inputs", self.inputs, self.input_shape),
            ("targets", self.targets, self.output_shape),
        ):
            for name, array in by_name(value, "").items():
                if not isinstance(array, SameAs):
                    yield f"{role}/{name}".rstrip("/"), array, _of(shapes, name)
        if self.weights is not None:
            yield "weights", self.weights, ()

    def __len__(self) -> int:
        return len(next(iter(by_name(self.inputs, "").values())))

    @property
    def memory_mapped(self) -> bool:
        """Whether any array is read from disk when asked for."""
        return any(is_mapped(array) for _, array, _ in self._arrays())

    @property
    def example_shape(self) -> Any:
        """Shape of one example as ``gather`` gives it; of several inputs, a mapping."""
        shapes = {name: self._shape(name, array) for name, array in by_name(self.inputs, "").items()}
        return shapes if isinstance(self.inputs, Mapping) else shapes[""]

    def gather(self, indices: NDArray[np.integer[Any]] | Sequence[int], dtype: DTypeLike) -> tuple[Any, Any]:
        """Some examples, ready for a model.

        Args:
            indices: Which examples, in which order, shape ``(k,)``.
            dtype: float32 or float64.

        Returns:
            Normalised inputs, shape ``(k, *input_shape)``, dtype ``dtype``, or whole numbers, dtype int64; and class
            numbers, shape ``(k,)`` or ``(k, *positions)``, dtype int64, or values, shape ``(k, *output_shape)``, dtype
            ``dtype``. Several inputs or targets are a dictionary of such arrays. All are new arrays.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return self._taken(rows, len(rows), dtype)

    def whole(self, dtype: DTypeLike) -> tuple[Any, Any]:
        """All examples in order, like ``gather``."""
        return self._taken(slice(None), len(self), dtype)

    def gather_weights(
        self, indices: NDArray[np.integer[Any]] | Sequence[int], dtype: DTypeLike
    ) -> NDArray[Any] | None:
        """Weights of some examples, shape ``(k,)``, dtype ``dtype``; ``None`` if there are none."""
        if self.weights is None:
            return None
        rows = np.asarray(indices, dtype=np.int64)
        return np.array(self.weights[rows], dtype=dtype).reshape(len(rows))

    def _taken(self, rows: Any, count: int, dtype: DTypeLike) -> tuple[Any, Any]:
        inputs = {
            name: self._input(name, array, rows, count, dtype) for name, array in by_name(self.inputs, "").items()
        }
        targets: dict[str, Any] = {}
        for name, array in by_name(self.targets, "").items():
            if isinstance(array, SameAs):
                values = inputs.get(array.input, next(iter(inputs.values())))
                shape = _of(self.output_shape, name)
                targets[name] = values.reshape(values.shape if shape is None else (count, *shape)).copy()
            else:
                targets[name] = self._target(name, array, rows, count, dtype)
        return (
            inputs if isinstance(self.inputs, Mapping) else inputs[""],
            targets if isinstance(self.targets, Mapping) else targets[""],
        )

    def is_integer(self, name: str, array: Rows) -> bool:
        """Whether an input stays whole numbers."""
        if self.integer is None:
            return isinstance(self.inputs, Mapping) and array.dtype.kind in "iu"
        return self.integer if isinstance(self.integer, bool) else self.integer[name]

    def _shape(self, name: str, array: Rows) -> tuple[int, ...]:
        shape = _of(self.input_shape, name)
        return tuple(array.shape[1:]) if shape is None else shape

    def _input(self, name: str, array: Rows, rows: Any, count: int, dtype: DTypeLike) -> NDArray[Any]:
        shape = (count, *self._shape(name, array))
        if self.is_integer(name, array):
            return np.array(array[rows], dtype=np.int64).reshape(shape)
        scaling = self.normalisation
        if isinstance(scaling, Mapping):
            scaling = scaling.get(name, AS_STORED)
        return scaling.apply(np.asarray(array[rows]), dtype).reshape(shape)

    def _target(self, name: str, array: Rows, rows: Any, count: int, dtype: DTypeLike) -> NDArray[Any]:
        shape = _of(self.output_shape, name)
        whole_numbers = array.dtype.kind in "iub"
        values = np.array(array[rows], dtype=np.int64 if whole_numbers else dtype)
        return values.reshape(count, *(array.shape[1:] if shape is None else shape))


def _of(shapes: Shapes, name: str) -> tuple[int, ...] | None:
    return shapes.get(name) if isinstance(shapes, Mapping) else shapes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a training needs to know about its data.

    Attributes:
        train: Examples to train with.
        validation: Examples to watch the training with, if any.
        test: Examples nothing is decided with, if any.
        class_names: Names of the classes in the order of their numbers, if known; of several outputs of classes a
            mapping.
        normalisation: Scaling of inputs, the same in every split; left out, it is that of ``train``.
        encoding: How text and categories became numbers, if there are any.
    """

    train: Split
    validation: Split | None = None
    test: Split | None = None
    class_names: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = None
    normalisation: Scalings | None = None
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        normalisation = self.train.normalisation if self.normalisation is None else self.normalisation
        object.__setattr__(self, "normalisation", normalisation)
        for name, split in self.splits().items():
            object.__setattr__(self, name, replace(split, normalisation=normalisation))

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def example_shape(self) -> Any:
        """Shape of one example as the model takes it; of several inputs, a mapping."""
        return self.train.example_shape

    def fingerprint(self) -> str:
        """SHA-256 of the raw data, as hexadecimal digits.

        It covers name, dtype, shape and bytes (row-major) of inputs, targets and weights of every split. Of a
        memory-mapped array, which may be larger than memory, it covers the stored dtype and shape, the file's
        size and time of modification, the numbers of the chosen rows and ``SAMPLED_ROWS`` of them, evenly spaced:
        a copy of the file made without its times has another fingerprint.
        """
        digest = hashlib.sha256()
        for name, split in self.splits().items():
            for role, array, _ in split._arrays():
                digest.update(f"{name}/{role} {array.dtype.str} {tuple(array.shape)}\n".encode())
                if is_mapped(array):
                    _sample(array, digest)
                else:
                    for block in blocks(array):
                        digest.update(np.ascontiguousarray(array[block]).tobytes())
        return digest.hexdigest()


def _sample(array: Rows, digest: Any) -> None:
    stored = array.array if isinstance(array, MappedRows) else array
    filename = getattr(stored, "filename", None)
    digest.update(f"mapped {stored.shape}\n".encode())
    if filename is not None:
        status = Path(filename).stat()
        digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    if isinstance(array, MappedRows):
        digest.update(array.rows.tobytes())
    chosen = np.unique(np.linspace(0, len(array) - 1, min(SAMPLED_ROWS, len(array))).astype(np.int64))
    digest.update(np.ascontiguousarray(array[chosen]).tobytes())
