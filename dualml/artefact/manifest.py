"""The manifest: what an artefact is, in one JSON file that carries its own digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from dualml.data.needs import InputNeed
from dualml.errors import ArtefactError
from dualml.guards import json_text

FORMAT = "dualml.artefact/1"
MANIFEST = "manifest.json"
MODEL = "model.safetensors"
SPEC = "spec.json"
ONNX = "model.onnx"
FILES = (MODEL, ONNX, SPEC)
"""What an artefact holds beside its manifest."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_DTYPES = ("float32", "float64", "int64")
_PREDICTIONS = ("softmax", "sigmoid", "identity")
_LARGEST = 1 << 40
_MOST_VALUES = 1 << 27
"""Numbers of one example: who opens an artefact may make one to try the model with."""


@dataclass(frozen=True)
class InputInfo:
    """One input.

    Attributes:
        name: What the ONNX model calls it.
        shape: Shape of one example.
        dtype: ``float32``, ``float64`` or ``int64``.
        size: Whole numbers must be below this; ``None``: any, or no whole numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int | None = None

    @property
    def need(self) -> InputNeed:
        """What it asks of examples."""
        return InputNeed(self.shape, self.dtype == "int64", self.size)


@dataclass(frozen=True)
class OutputInfo:
    """One output.

    Attributes:
        name: What the ONNX model calls it.
        shape: Shape of one example's prediction.
        dtype: ``float32`` or ``float64``.
        prediction: ``softmax``, ``sigmoid`` or ``identity``: what was applied to the last layer already.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    prediction: str


@dataclass(frozen=True)
class FileInfo:
    """One file: its digest and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> FileInfo:
        """Those of some content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True)
class Manifest:
    """What an artefact is.

    Attributes:
        name: The model's name, by which it is served.
        inputs: In the model's order.
        outputs: In the model's order; the first is the main one.
        preprocessing: What ``Preparation.from_dict`` takes.
        class_names: Of the main output, or by output; ``None`` if not known.
        metrics: Of the run on its test split; empty without a run.
        parity: How far ONNX Runtime is from the float64 reference, and what was compared.
        batch_invariant: Whether an example's prediction is the same whatever stands beside it in its batch.
        batch_difference: The largest difference that was measured.
        versions: Of dualml and of the libraries that wrote the files.
        training: Which backend trained it, with which versions, on which data; ``None`` without a run.
        compression: What made the ONNX model smaller; ``None`` if nothing did.
        files: Digest and size of each file.
    """

    name: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    preprocessing: Mapping[str, Any]
    class_names: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    batch_invariant: bool = False
    batch_difference: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    compression: Mapping[str, Any] | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict)

    @property
    def needs(self) -> dict[str, InputNeed]:
        """What the inputs ask of examples."""
        return {item.name: item.need for item in self.inputs}

    def output(self, name: str | None = None) -> OutputInfo:
        """One output; the main one for ``None``.

        Raises:
            ArtefactError: There is none of that name.
        """
        if name is None:
            return self.outputs[0]
        found = next((item for item in self.outputs if item.name == name), None)
        if found is None:
            known = ", ".join(item.name for item in self.outputs)
            raise ArtefactError(f"the model has no output {name!r}; it has {known}")
        return found

    def names_of_classes(self, output: str | None = None) -> tuple[str, ...] | None:
        """Names of the classes of an output, if they are known."""
        if isinstance(self.class_names, Mapping):
            return self.class_names.get(self.output(output).name)
        return self.class_names if self.output(output) == self.outputs[0] else None

    def with_files(self, contents: Mapping[str, FileInfo]) -> Manifest:
        """The same with the digests of its files."""
        return replace(self, files=dict(contents))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``manifest.json`` holds them, without the digest."""
        names = self.class_names
        return {
            "format": FORMAT,
            "name": self.name,
            "inputs": [
                {"name": item.name, "shape": list(item.shape), "dtype": item.dtype, "size": item.size}
                for item in self.inputs
            ],
            "outputs": [
                {"name": item.name, "shape": list(item.shape), "dtype": item.dtype, "prediction": item.prediction}
                for item in self.outputs
            ],
            "preprocessing": dict(self.preprocessing),
            "class_names": {name: list(item) for name, item in names.items()}
            if isinstance(names, Mapping)
            else names and list(names),
            "metrics": dict(self.metrics),
            "parity": dict(self.parity),
            "batch_invariant": self.batch_invariant,
            "batch_difference": self.batch_difference,
            "versions": dict(self.versions),
            "training": self.training,
            "compression": self.compression,
            "files": {name: {"sha256": item.sha256, "size": item.size} for name, item in self.files.items()},
        }

    def to_bytes(self) -> bytes:
        """The content of ``manifest.json``: canonical, with the digest of everything else in it."""
        values = self.to_dict()
        return canonical({**values, "sha256": digest(values)})


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, numbers as Python writes them, a line for each entry.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def digest(value: Any) -> str:
    """The sha256 of a value's canonical text."""
    return hashlib.sha256(canonical(value)).hexdigest()


def read_manifest(data: bytes, where: str) -> Manifest:
    """The manifest that some bytes are.

    Raises:
        GuardError: They are no JSON with one meaning.
        ArtefactError: They are no manifest, or not exactly as it was written.
    """
    found = json_text.parse(data, where)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        stated = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ArtefactError(f"{where}: must have the format {FORMAT!r}, but has {str(stated)[:60]!r}")
    said = found.pop("sha256", None)
    try:
        same = canonical({**found, "sha256": said}) == data and digest(found) == said
    except (ValueError, UnicodeError):
        same = False
    if not same:
        raise ArtefactError(
            f"{where}: has been changed since it was written (it no longer matches the digest in it); "
            "use the artefact as it was exported"
        )
    return _manifest(_Reader(found, where))


class _Reader:
    """Values of a mapping, each held against its type."""

    def __init__(self, values: Any, where: str) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise self.wrong("must be a mapping")
        self.values = values

    def wrong(self, what: str) -> ArtefactError:
        return ArtefactError(f"{self.where}: {what}; export the model again")

    def get(self, name: str, valid: Callable[[Any], bool], what: str) -> Any:
        if name not in self.values:
            raise self.wrong(f"{name} is missing")
        value = self.values[name]
        if not valid(value):
            raise self.wrong(f"{name} must be {what}, but is {str(value)[:60]!r}")
        return value

    def each(self, name: str) -> list[_Reader]:
        items = self.get(name, lambda value: isinstance(value, list) and 0 < len(value) <= 256, "a list that holds one")
        return [_Reader(item, f"{self.where}: {name}[{index}]") for index, item in enumerate(items)]

    def mapping(self, name: str, *, optional: bool = False) -> Any:
        return self.get(name, lambda value: isinstance(value, dict) or (optional and value is None), "a mapping")

    def name(self) -> str:
        found: str = self.get("name", lambda value: isinstance(value, str) and 0 < len(value) <= 256, "a name")
        return found

    def shape(self) -> tuple[int, ...]:
        what = f"a shape of at most {_MOST_VALUES:,} values"
        return tuple(self.get("shape", _is_shape, what))

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        found: str = self.get(name, lambda value: isinstance(value, str) and value in known, f"one of {known}")
        return found


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 16 and all(map(_is_size, value)) and prod(value) <= _MOST_VALUES


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_class_names(value: Any) -> bool:
    return value is None or _is_names(value) or (isinstance(value, dict) and all(map(_is_names, value.values())))


def _manifest(reader: _Reader) -> Manifest:
    inputs = tuple(
        InputInfo(
            item.name(),
            item.shape(),
            item.one_of("dtype", _DTYPES),
            item.get("size", lambda value: value is None or _is_size(value), "a whole number or null"),
        )
        for item in reader.each("inputs")
    )
    outputs = tuple(
        OutputInfo(item.name(), item.shape(), item.one_of("dtype", _DTYPES), item.one_of("prediction", _PREDICTIONS))
        for item in reader.each("outputs")
    )
    for names in ([item.name for item in inputs], [item.name for item in outputs]):
        if len(set(names)) < len(names):
            raise reader.wrong(f"names must differ, but are {', '.join(names)}")
    names = reader.get("class_names", _is_class_names, "a list of names, or one for each output")
    listed = {name: tuple(item) for name, item in names.items()} if isinstance(names, dict) else names and tuple(names)
    return Manifest(
        name=reader.get("name", is_model_name, "letters, digits, dots, dashes and underscores"),
        inputs=inputs,
        outputs=outputs,
        preprocessing=reader.mapping("preprocessing"),
        class_names=listed,
        metrics=reader.mapping("metrics"),
        parity=reader.mapping("parity"),
        batch_invariant=reader.get("batch_invariant", lambda value: isinstance(value, bool), "true or false"),
        batch_difference=reader.get(
            "batch_difference", lambda value: value is None or type(value) in (int, float), "a number or null"
        ),
        versions=reader.mapping("versions"),
        training=reader.mapping("training", optional=True),
        compression=reader.mapping("compression", optional=True),
        files=_files(reader),
    )


def _files(reader: _Reader) -> dict[str, FileInfo]:
    found = reader.mapping("files")
    if set(found) != set(FILES):
        raise reader.wrong(f"files must be {', '.join(FILES)}, but are {', '.join(found) or 'none'}")
    result = {}
    for name, values in found.items():
        item = _Reader(values, f"{reader.where}: files.{name}")
        sha256 = item.get("sha256", lambda value: isinstance(value, str) and bool(_DIGEST.match(value)), "a sha256")
        result[name] = FileInfo(sha256, item.get("size", _is_size, "a number of bytes"))
    return result


def is_model_name(value: Any) -> bool:
    """Whether a model can have that name: it becomes a part of addresses."""
    return isinstance(value, str) and bool(_NAME.match(value))
