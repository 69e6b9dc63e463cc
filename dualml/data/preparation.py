"""What a run remembers of its data, so that new examples are treated like those of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dualml.data.arrays import read_npy
from dualml.data.categories import TableEncoding
from dualml.data.checks import first_wrong_id
from dualml.data.dataset import AS_STORED, Dataset, Scalings
from dualml.data.encoding import Encoding
from dualml.data.needs import InputNeed
from dualml.data.normalisation import Normalisation
from dualml.data.rows import by_name
from dualml.data.vocabulary import TextEncoding, as_texts
from dualml.errors import DataError

_ENCODINGS: dict[str, type[TextEncoding] | type[TableEncoding]] = {"text": TextEncoding, "table": TableEncoding}


@dataclass(frozen=True, eq=False)
class Preparation:
    """From raw examples to what a model takes.

    Attributes:
        normalisation: Scaling of the input, or of each input of values.
        encoding: How text and categories become numbers, if there are any.
    """

    normalisation: Scalings = AS_STORED
    encoding: Encoding | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Preparation:
        """That of a training's data."""
        return cls(AS_STORED if dataset.normalisation is None else dataset.normalisation, dataset.encoding)

    def read(self, path: Path) -> Any:
        """New examples from a file.

        Args:
            path: An existing file: ``.npy`` with one array, ``.npz`` with an array for each input, or what the encoding
                reads: a text file with one text a line, or a CSV or Parquet file with the training's columns.

        Raises:
            DataError: The file cannot be read, or the model was not trained on such examples.
        """
        ending = path.suffix.lower()
        if ending == ".npz":
            try:
                with np.load(path, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            except Exception as error:  # zipfile and zlib raise a dozen types for damaged archives
                raise DataError(f"{path}: must be an .npz archive of numbers, but cannot be read: {error}") from error
        if ending in (".txt", ".csv", ".tsv", ".parquet"):
            if self.encoding is None:
                raise DataError(
                    f"{path}: the model was trained on arrays, so examples must come in a .npy file; save them with "
                    f"numpy.save"
                )
            return self.encoding.read(path)
        return read_npy(path)

    def apply(self, examples: Any, inputs: Mapping[str, InputNeed], dtype: DTypeLike) -> Any:
        """Raw examples as the model takes them: encoded, checked, scaled, in its shapes and precision.

        Args:
            examples: An array for a model with one input, a mapping by input for one with several; or what the
                encoding takes: texts, or columns of a table.
            inputs: The model's inputs.
            dtype: float32 or float64.

        Returns:
            An array, or a dictionary for several inputs; of shape ``(n, *input)``, dtype ``dtype`` or int64.

        Raises:
            DataError: They are no such examples.
        """
        found = by_name(self._encoded(examples, inputs), next(iter(inputs)))
        if set(found) != set(inputs):
            raise DataError(f"inputs must be those of the model, {', '.join(inputs)}, but are {', '.join(found)}")
        counts = {name: len(array) for name, array in found.items() if np.ndim(array)}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(f"inputs must all have one row for each example, but have: {shown}")
        result = {name: self._input(name, found[name], need, dtype) for name, need in inputs.items()}
        return result if len(inputs) > 1 else next(iter(result.values()))

    def _encoded(self, examples: Any, inputs: Mapping[str, InputNeed]) -> Any:
        if isinstance(self.encoding, TextEncoding):
            if isinstance(examples, str):
                examples = [examples]
            if isinstance(examples, list | tuple):
                examples = as_texts(examples)
            if np.asarray(examples).dtype.kind in "OU":
                return self.encoding.encode(as_texts([_plain(text) for text in np.asarray(examples)]))
        if isinstance(self.encoding, TableEncoding) and isinstance(examples, Mapping) and set(examples) != set(inputs):
            missing = [name for name in self.encoding.columns if name not in examples]
            if missing:
                raise DataError(f"inputs must hold every column of the training, but {', '.join(missing)} is missing")
            columns = {name: np.asarray(examples[name]) for name in self.encoding.columns}
            return self.encoding.encode(
                {
                    name: array.astype(np.float64 if array.dtype.kind in "biuf" else object)
                    for name, array in columns.items()
                }
            )
        return examples

    def _input(self, name: str, examples: Any, need: InputNeed, dtype: DTypeLike) -> NDArray[Any]:
        array = np.asarray(examples)
        if array.dtype.kind not in "iufb":
            raise DataError(f"inputs must be numbers, got an array of {array.dtype}")
        if array.ndim == 0 or len(array) == 0:
            raise DataError("inputs must hold at least one example, got none")
        if array[0].size != math.prod(need.shape):
            raise DataError(
                f"inputs must have {math.prod(need.shape)} values for each example (shape {list(need.shape)}), "
                f"got an array of shape {list(array.shape)}; its first axis counts examples"
            )
        if need.integer:
            return _ids(array, need).reshape(len(array), *need.shape)
        scaling = self.normalisation
        if isinstance(scaling, Mapping):
            scaling = scaling.get(name, AS_STORED)
        with np.errstate(over="ignore"):
            prepared = np.ascontiguousarray(scaling.apply(array, dtype))
        finite = np.isfinite(prepared).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise DataError(
                f"inputs must be finite in {np.dtype(dtype).name}, but example {int(np.argmin(finite))} (from 0) is not"
            )
        return prepared.reshape(len(array), *need.shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``normalisation`` and ``encoding``."""
        scaling = self.normalisation
        return {
            "normalisation": {name: item.to_dict() for name, item in scaling.items()}
            if isinstance(scaling, Mapping)
            else scaling.to_dict(),
            "encoding": None if self.encoding is None else self.encoding.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """The inverse of ``to_dict``; other keys are not looked at, and ``encoding`` may be missing.

        Raises:
            DataError: Something is missing or not what it must be.
        """
        stored = values["normalisation"]
        scaling: Scalings
        if isinstance(stored, Mapping) and all(isinstance(item, Mapping) for item in stored.values()):
            scaling = {name: Normalisation.from_dict(item) for name, item in stored.items()}
        else:
            scaling = Normalisation.from_dict(stored)
        encoding = values.get("encoding")
        if encoding is None:
            return cls(scaling)
        try:
            return cls(scaling, _ENCODINGS[encoding["kind"]].from_dict(encoding))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            found = f"{type(error).__name__}: {error}"
            raise DataError(f"encoding: must be what a training stored, but cannot be read ({found})") from error


def _plain(text: Any) -> Any:
    return str(text) if isinstance(text, str) else text


def _ids(array: NDArray[Any], need: InputNeed) -> NDArray[np.int64]:
    place = first_wrong_id(array, need.size)
    if place is not None:
        most = "" if need.size is None else f" to {need.size - 1}"
        raise DataError(
            f"inputs must be whole numbers from 0{most}, but example {place[0]} (from 0) has {array[place]}"
        )
    return array.astype(np.int64)
