"""Opening an artefact: every file is guarded and held against its digest before anything parses it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml import guards
from dualml.artefact.manifest import FILES, MANIFEST, MODEL, ONNX, SPEC, FileInfo, Manifest, read_manifest
from dualml.artefact.session import Session, run_in_batches
from dualml.data.preparation import Preparation
from dualml.errors import ArtefactError, ConfigError, DataError, GuardError, WeightsError
from dualml.guards import json_text, safetensors_file
from dualml.guards.files import LARGEST, MIB, regular

if TYPE_CHECKING:
    from dualml.protocol import Array, Arrays
    from dualml.spec.config import Spec

_KINDS = {ONNX: "onnx", SPEC: "json"}
BATCH = 1024
"""Examples in one pass of ``Artefact.predict``."""


@dataclass(frozen=True)
class Artefact:
    """An artefact that has been checked.

    Attributes:
        path: The folder.
        manifest: What it is.
        onnx: The ONNX model's bytes.
        spec_json: The bytes of ``spec.json``.
    """

    path: Path
    manifest: Manifest
    onnx: bytes = field(repr=False)
    spec_json: bytes = field(repr=False)

    @cached_property
    def preparation(self) -> Preparation:
        """How the training treated its inputs."""
        try:
            found = Preparation.from_dict(self.manifest.preprocessing)
        except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
            raise ArtefactError(f"{self.path / MANIFEST}: preprocessing cannot be read: {error}") from None
        length = getattr(found.encoding, "length", None)
        if length is not None and (length,) != self.manifest.inputs[0].shape:
            raise ArtefactError(
                f"{self.path / MANIFEST}: texts must have as many tokens as the input takes, "
                f"{list(self.manifest.inputs[0].shape)}, but preprocessing makes {str(length)[:40]}"
            )
        return found

    @cached_property
    def session(self) -> Session:
        """The model in ONNX Runtime, on one thread; ``open_session`` gives others."""
        return self.open_session()

    def open_session(self, threads: int = 1) -> Session:
        """The model in ONNX Runtime.

        Raises:
            ArtefactError: It cannot be loaded, or does not have the inputs and outputs of the manifest.
        """
        session = Session(self.onnx, threads=threads, where=str(self.path / ONNX))
        wanted = {item.name: (item.dtype, item.shape) for item in self.manifest.inputs}
        outputs = {item.name: (item.dtype, item.shape) for item in self.manifest.outputs}
        for kind, items, native in (("input", wanted, session.inputs), ("output", outputs, session.outputs)):
            if sorted(items) != sorted(native):
                raise ArtefactError(
                    f"{self.path / ONNX}: must have the {kind}s {', '.join(items)} of the manifest, "
                    f"but has {', '.join(native)}"
                )
            for name, (dtype, shape) in items.items():
                if not native[name].is_one_of(dtype, shape):
                    raise ArtefactError(
                        f"{self.path / ONNX}: {kind} {name} must be {dtype} {list(shape)}, as the manifest says, "
                        f"but is {native[name].dtype} {list(native[name].shape[1:])}"
                    )
        return session

    def prepare(self, examples: Any) -> dict[str, Array]:
        """Raw examples as the model takes them, by input.

        Args:
            examples: As for ``dualml.predict``: scaled and encoded as the training's were.

        Raises:
            DataError: They do not fit the model.
        """
        needs = self.manifest.needs
        dtype = next((item.dtype for item in self.manifest.inputs if item.dtype != "int64"), "float32")
        prepared = self.preparation.apply(examples, needs, dtype)
        return prepared if len(needs) > 1 else {next(iter(needs)): prepared}

    def run(self, inputs: Arrays, outputs: list[str] | None = None) -> dict[str, Array]:
        """Predictions for prepared inputs, by output; all outputs unless some are named."""
        names = [item.name for item in self.manifest.outputs] if outputs is None else outputs
        return run_in_batches(self.session, inputs, names, BATCH)

    def predict(self, examples: Any, *, output: str | None = None) -> Array:
        """Predictions for raw examples, through ONNX Runtime.

        Args:
            examples: As for ``prepare``.
            output: Which output; left out, the main one.

        Returns:
            Shape ``(examples, *output)``.

        Raises:
            DataError: The examples do not fit the model.
            ArtefactError: There is no such output.
        """
        name = self.manifest.output(output).name
        return self.run(self.prepare(examples), [name])[name]

    @cached_property
    def spec(self) -> Spec:
        """The resolved spec; its data settings name files without their folders.

        Raises:
            ArtefactError: ``spec.json`` is not a spec of this version of dualml.
        """
        from pydantic import ValidationError

        from dualml.api import checked
        from dualml.spec.config import Spec

        where = self.path / SPEC
        try:
            return checked(Spec.model_validate(json_text.parse(self.spec_json, str(where))))
        except (ValidationError, ConfigError) as error:
            raise ArtefactError(f"{where}: is no spec of this version of dualml: {error}") from None

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The weights, neutral names and layout.

        Raises:
            ArtefactError: They are not the spec's.
        """
        from dualml.weights import check_weights, read_tensors

        path = self.path / MODEL
        _check_file(path, self.manifest.files[MODEL], _streamed(path))
        try:
            arrays, _ = read_tensors(path)
            check_weights(arrays, self.spec.graph, str(path))
        except WeightsError as error:
            raise ArtefactError(str(error)) from None
        return arrays


def is_artefact(path: str | Path) -> bool:
    """Whether a path is a folder with a manifest: an artefact, sound or not."""
    return (Path(path) / MANIFEST).is_file() or (Path(path) / MANIFEST).is_symlink()


def open_artefact(path: str | Path) -> Artefact:
    """Open an artefact: its manifest, the guards of every file, and every digest.

    Raises:
        ArtefactError: It is no artefact, or a file is missing, added or changed.
        GuardError: A file is not safe to open.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ArtefactError(f"{path}: must be an artefact, a folder that 'dualml export' wrote, but it {what}")
    if not is_artefact(path):
        raise ArtefactError(
            f"{path}: must be an artefact, but has no {MANIFEST}; write one with: dualml export RUN --out DIR"
        )
    manifest = read_manifest(guards.read_bounded(path / MANIFEST, LARGEST["json"]), str(path / MANIFEST))
    problems = list(_folder_problems(path))
    if problems:
        raise ArtefactError("\n".join(problems))
    contents = {}
    for name in (ONNX, SPEC):
        data = guards.read_bounded(path / name, LARGEST[_KINDS[name]])
        _check_file(path / name, manifest.files[name], FileInfo.of(data))
        guards.check_bytes(data, Path(name).suffix, str(path / name))
        contents[name] = data
    safetensors_file.check(path / MODEL)
    _check_file(path / MODEL, manifest.files[MODEL], _streamed(path / MODEL))
    return Artefact(path, manifest, contents[ONNX], contents[SPEC])


def _folder_problems(path: Path) -> Iterator[str]:
    present = {item.name for item in path.iterdir()}
    for name in sorted({*FILES, MANIFEST} - present):
        yield f"{path / name}: is missing"
    for name in sorted(present - {*FILES, MANIFEST}):
        yield f"{path / name}: is not part of the artefact; move it elsewhere"


def _check_file(path: Path, wanted: FileInfo, found: FileInfo) -> None:
    if wanted.size != found.size:
        raise ArtefactError(
            f"{path}: must have {wanted.size:,} bytes, as the manifest says, but has {found.size:,}; "
            "use the artefact as it was exported"
        )
    if wanted.sha256 != found.sha256:
        raise ArtefactError(
            f"{path}: has been changed since it was written (its sha256 is not the manifest's); "
            "use the artefact as it was exported"
        )


def _streamed(path: Path) -> FileInfo:
    """Digest and size of a file that may be large."""
    regular(path, LARGEST["safetensors"])
    try:
        with path.open("rb") as file:
            found = hashlib.sha256()
            size = 0
            while block := file.read(MIB):
                found.update(block)
                size += len(block)
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
    return FileInfo(found.hexdigest(), size)
