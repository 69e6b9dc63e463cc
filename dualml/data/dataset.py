"""What loading gives: up to three splits, the names of the classes and the scaling of inputs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dualml.data.normalisation import Normalisation
from dualml.data.rows import MappedRows, Rows, as_rows, blocks, is_mapped
from dualml.errors import DataError

AS_STORED = Normalisation()
"""The scaling that changes nothing."""

SAMPLED_ROWS = 64
"""How many rows of a memory-mapped array enter the fingerprint."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples with their targets.

    Attributes:
        inputs: Raw inputs in their stored dtype, shape ``(n, *example)``; memory-mapped ones stay on disk.
        targets: Class numbers (any integer dtype), shape ``(n,)``, or values (float), shape ``(n, *output)``.
        normalisation: How ``gather`` and ``whole`` scale inputs.
        input_shape: Shape of one example as the model takes it; ``None`` is the stored shape.
        output_shape: Shape of one example's values as the model gives them; ``None`` is the stored shape.

    Raises:
        DataError: The lengths differ, or an example does not have as many values as ``input_shape``.

    Example:
        >>> import numpy as np
        >>> split = Split(np.eye(3), np.array([2, 0, 1]))
        >>> x, y = split.gather(np.array([2, 0]), "float32")
        >>> x.tolist(), y.tolist()
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [1, 2])
    """

    inputs: Rows
    targets: Rows
    normalisation: Normalisation = AS_STORED
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            array = as_rows(getattr(self, name))
            if len(array.shape) == 0:
                raise DataError(f"split: {name} must have an axis that counts examples, but it is a single number")
            object.__setattr__(self, name, array)
        if len(self.inputs) != len(self.targets):
            raise DataError(
                f"split: inputs and targets must have equal lengths, but there are {len(self.inputs)} inputs and "
                f"{len(self.targets)} targets"
            )
        for name, array, shape in (
            ("inputs", self.inputs, self.input_shape),
            ("targets", self.targets, self.output_shape),
        ):
            if shape is not None and math.prod(shape) != math.prod(array.shape[1:]):
                raise DataError(f"split: {name} of shape {array.shape[1:]} cannot be given the shape {shape}")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def memory_mapped(self) -> bool:
        """Whether inputs or targets are read from disk when asked for."""
        return is_mapped(self.inputs) or is_mapped(self.targets)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example as ``gather`` gives it."""
        return self.inputs.shape[1:] if self.input_shape is None else self.input_shape

    def gather(self, indices: NDArray[np.integer[Any]] | Sequence[int], dtype: DTypeLike) -> tuple[Any, Any]:
        """Some examples, ready for a model.

        Args:
            indices: Which examples, in which order, shape ``(k,)``.
            dtype: float32 or float64.

        Returns:
            Normalised inputs, shape ``(k, *input_shape)``, dtype ``dtype``; and class numbers, shape ``(k,)``,
            dtype int64, or values, shape ``(k, *output_shape)``, dtype ``dtype``. Both are new arrays.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return self._inputs(rows, len(rows), dtype), self._targets(rows, len(rows), dtype)

    def whole(self, dtype: DTypeLike) -> tuple[Any, Any]:
        """All examples in order, like ``gather``."""
        return self._inputs(slice(None), len(self), dtype), self._targets(slice(None), len(self), dtype)

    def _inputs(self, rows: Any, count: int, dtype: DTypeLike) -> NDArray[Any]:
        values = self.normalisation.apply(np.asarray(self.inputs[rows]), dtype)
        return values.reshape(count, *self.example_shape)

    def _targets(self, rows: Any, count: int, dtype: DTypeLike) -> NDArray[Any]:
        shape = self.targets.shape[1:] if self.output_shape is None else self.output_shape
        whole_numbers = self.targets.dtype.kind in "iub"
        values = np.array(self.targets[rows], dtype=np.int64 if whole_numbers else dtype)
        return values.reshape(count, *shape)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a training needs to know about its data.

    Attributes:
        train: Examples to train with.
        validation: Examples to watch the training with, if any.
        test: Examples nothing is decided with, if any.
        class_names: Names of the classes in the order of their numbers, if known.
        normalisation: Scaling of inputs, the same in every split; left out, it is that of ``train``.
    """

    train: Split
    validation: Split | None = None
    test: Split | None = None
    class_names: tuple[str, ...] | None = None
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        normalisation = self.normalisation or self.train.normalisation
        object.__setattr__(self, "normalisation", normalisation)
        for name, split in self.splits().items():
            object.__setattr__(self, name, replace(split, normalisation=normalisation))

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example as the model takes it."""
        return self.train.example_shape

    def fingerprint(self) -> str:
        """SHA-256 of the raw data, as hexadecimal digits.

        It covers name, dtype, shape and bytes (row-major) of inputs and targets of every split. Of a
        memory-mapped array, which may be larger than memory, it covers the stored dtype and shape, the file's
        size and time of modification, the numbers of the chosen rows and ``SAMPLED_ROWS`` of them, evenly spaced:
        a copy of the file made without its times has another fingerprint.
        """
        digest = hashlib.sha256()
        for name, split in self.splits().items():
            for role, array in (("inputs", split.inputs), ("targets", split.targets)):
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
