"""The formats of ``dualml export``: each is written from spec and weights, run, compared, and only then kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

from dualml import registry
from dualml.errors import RunError, UnsupportedError
from dualml.export.check import check, needs_onnx
from dualml.export.compare import Checked, Run, compare
from dualml.protocol import Arrays
from dualml.spec.graph import Graph, Precision
from dualml.spelling import nearest


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: What ``--format`` says.
        backend: Whose framework writes it; ``None``: neither is needed.
        ending: What the file's name ends in; empty for a folder.
        summary: What it is.
    """

    name: str
    backend: str | None
    ending: str
    summary: str


FORMATS = {
    item.name: item
    for item in (
        Format("onnx", None, ".onnx", "one ONNX file, written from the spec; it predicts"),
        Format("savedmodel", "tensorflow", "", "a TensorFlow SavedModel with one signature that predicts"),
        Format("keras", "tensorflow", ".keras", "a Keras model; its outputs are what the losses take"),
        Format("litert", "tensorflow", ".tflite", "a LiteRT file with one signature that predicts"),
        Format("torch", "torch", "", "a folder: an exported program that predicts, and a state_dict as safetensors"),
    )
}
"""By name."""


def needs(name: str) -> Format:
    """A format, if what writes it is installed.

    Raises:
        RunError: There is no such format.
        BackendUnavailableError: A package is missing.
    """
    if name not in FORMATS:
        raise RunError(f"--format must be one of {', '.join(FORMATS)}, got {name!r}{nearest(name, FORMATS)}")
    found = FORMATS[name]
    if found.backend is None:
        needs_onnx()
    else:
        registry.require(found.backend)
    return found


def check_target(kind: Format, path: Path) -> None:
    """Refuse a place that the export cannot be written to, before the work is done.

    Raises:
        RunError: Says why.
    """
    if not path.absolute().parent.is_dir():
        raise RunError(f"--out {path}: the folder {path.parent} does not exist; make it first")
    if kind.ending:
        if path.is_dir():
            raise RunError(f"--out {path}: must be a file, but is a folder; name the {kind.ending} file to write")
        if path.suffix != kind.ending:
            raise RunError(f"--out {path}: a file of --format {kind.name} must end in {kind.ending}")
        return
    check_new_folder(path)


def check_new_folder(path: Path) -> None:
    """Refuse a folder that holds something, or a file in its place.

    Raises:
        RunError: Says which.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"--out {path}: must be a folder, but is a file; choose another")
    if path.is_dir() and any(path.iterdir()):
        raise RunError(f"--out {path}: is not empty; choose another folder, or remove it first")


def in_precision(graph: Graph, precision: Precision | None) -> Graph:
    """The graph to export: of mixed precision in float32, else as it is or in the one asked for."""
    return replace(graph, mixed=False, precision=precision or graph.precision)


def export(
    name: str,
    graph: Graph,
    weights: Arrays,
    path: Path,
    *,
    precision: Precision | None = None,
    backends: Sequence[str] | None = None,
) -> Checked:
    """Write one format, run what was written and compare it; what differs is removed.

    Args:
        name: Of the format.
        graph: The model.
        weights: All parameters and buffers, trained in either backend.
        path: File or folder to write.
        precision: Of the exported model; left out, the graph's.
        backends: Names of backends to compare with; left out, all that are installed.

    Returns:
        What the comparison found.

    Raises:
        UnsupportedError: The format cannot express a part of the model.
        ParityError: What was written does not predict what the model does.
        RunError: The path cannot be written.
    """
    kind, graph = needs(name), in_precision(graph, precision)
    check_target(kind, path)
    with staged(path) as stage:
        if kind.backend is None:
            from dualml.export.onnx import emit

            data = emit(graph, weights)
            checked = check(data, graph, weights, backends=backends)
            stage.write_bytes(data)
        else:
            writers = import_module(f"dualml_{kind.backend}.export").FORMATS
            write = cast("Callable[[Graph, Arrays, Path], Run]", writers[name])
            try:
                checked = compare(write(graph, weights, stage), graph, weights, backends=backends)
            except UnsupportedError as error:
                raise UnsupportedError(f"--format {name}: {error}") from None
        checked.require(f"--format {name}")
    return checked


class staged:  # noqa: N801 (used as a function)
    """A place beside ``path`` to write to; it becomes ``path`` if all goes well, and nothing remains of it if not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        try:
            self.folder = tempfile.TemporaryDirectory(dir=self.path.absolute().parent, prefix=".dualml-export-")
        except OSError as error:
            raise RunError(f"--out {self.path}: cannot be written: {error.strerror}; choose another place") from None
        self.stage = Path(self.folder.name, self.path.name)
        return self.stage

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                if self.path.is_dir():
                    self.path.rmdir()  # an empty one
                os.replace(self.stage, self.path)
        finally:
            self.folder.cleanup()
        if isinstance(error, OSError):
            raise RunError(f"--out {self.path}: cannot be written: {error.strerror or error}") from None
