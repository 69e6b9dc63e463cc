"""Writing an artefact: from a run, or from a spec and weights; kept only if it predicts what the model does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeAlias

from dualml import __version__, guards
from dualml.api import Run, checked, needs_of
from dualml.artefact.batching import batch_difference, is_invariant
from dualml.artefact.manifest import (
    MANIFEST,
    MODEL,
    ONNX,
    SPEC,
    FileInfo,
    InputInfo,
    Manifest,
    OutputInfo,
    canonical,
    is_model_name,
)
from dualml.artefact.open import Artefact, open_artefact
from dualml.artefact.session import Session
from dualml.data import Preparation
from dualml.errors import ArtefactError
from dualml.protocol import Arrays
from dualml.spec.config import Spec
from dualml.training.run_directory import StoredRun, open_run
from dualml.weights import check_weights, umask, write_tensors

Source: TypeAlias = "Run | StoredRun | str | Path | tuple[Spec, Arrays]"
"""What an artefact can be made of: a run, its directory, or a spec with weights."""
WHERE_IT_RAN = ("backend", "device")
"""Settings of a spec that say where it was trained, not what it is."""


def create(
    source: Source,
    path: str | Path,
    *,
    name: str | None = None,
    weights: str = "last",
    backends: Sequence[str] | None = None,
    preparation: Preparation | None = None,
    class_names: Any = None,
    onnx: bytes | None = None,
    parity: Mapping[str, Any] | None = None,
    compression: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Artefact:
    """Write an artefact.

    Args:
        source: A run, a run directory, or a spec with weights in the neutral layout.
        path: The folder to write; it must not exist, or be empty.
        name: The model's name; left out, the run's.
        weights: Of a run directory: ``last``, or ``best`` for those of the best epoch.
        backends: Which backends the ONNX model is compared with, beside the float64 reference; left out, all that are
            installed; none with ``()``.
        preparation: How raw inputs are treated; left out, as the run did.
        class_names: Names of the classes of the main output, or by output; left out, the run's.
        onnx: An ONNX model to keep in place of the one of the spec: one that was made smaller.
        parity: What was found when ``onnx`` was compared with the model; needed with it.
        compression: What made ``onnx`` smaller.
        metrics: Of ``onnx`` on the test split; left out, the run's.

    Returns:
        The artefact, opened.

    Raises:
        ArtefactError: The folder cannot be written or holds something.
        ParityError: The ONNX model does not predict what the model does; nothing was written.
        UnsupportedError: The model has a part that ONNX cannot express.

    Example:
        >>> from dualml.artefact import create
        >>> create("runs/mlp-torch", "mlp").manifest.outputs[0].prediction  # doctest: +SKIP
        'softmax'
    """
    path = Path(path)
    check_target(path)
    spec, arrays, draft = _parts(source, weights)
    graph = spec.graph
    own = onnx is not None
    if onnx is None:
        from dualml.export.check import check, needs_onnx

        needs_onnx()
        from dualml.export.onnx import emit  # needs them

        onnx = emit(graph, arrays)
        found = check(onnx, graph, arrays, backends=backends)
        found.require("the ONNX model")
        parity = {"differences": found.to_dict()["differences"]}
    elif parity is None:
        raise ArtefactError("create: with an ONNX model of your own, say in parity how far it is from the model")
    guards.check_bytes(onnx, ".onnx", ONNX)
    draft = replace(
        draft,
        name=_model_name(name or draft.name, named=name is not None),
        preprocessing=draft.preprocessing if preparation is None else preparation.to_dict(),
        class_names=draft.class_names if class_names is None else _names(class_names),
        metrics=draft.metrics if metrics is None else metrics,
        parity=parity,
        compression=compression,
        versions=_versions(),
    )
    difference = batch_difference(Session(onnx), draft.inputs)
    draft = replace(draft, batch_difference=difference, batch_invariant=is_invariant(difference, exact=own))
    _write(path, draft, onnx, spec_bytes(spec), lambda file: write_tensors(file, arrays, {"kind": "model"}))
    return open_artefact(path)


def spec_bytes(spec: Spec) -> bytes:
    """The content of ``spec.json``: the resolved spec without where it ran and where its data lay."""
    values = {key: value for key, value in spec.resolved.to_dict().items() if key not in WHERE_IT_RAN}
    if values.get("data") is not None:
        values["data"] = _without_folders(values["data"])
    return canonical(values)


def check_target(path: Path) -> None:
    """Refuse a folder that cannot become an artefact, before the work is done.

    Raises:
        ArtefactError: It is a file or holds something, or its parent is missing.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ArtefactError(f"{path}: must be a folder to write, but is a file or link; choose another (--out)")
    if path.is_dir() and any(path.iterdir()):
        raise ArtefactError(f"{path}: is not empty; choose another folder (--out), or remove it")
    if not path.absolute().parent.is_dir():
        raise ArtefactError(f"{path}: the folder {path.parent} does not exist; make it first")


def _parts(source: Source, which: str) -> tuple[Spec, Arrays, Manifest]:
    """Spec, weights and what a manifest can say before the ONNX model is there."""
    if isinstance(source, str | Path):
        source = open_run(source)
    if isinstance(source, StoredRun):
        summary = source.summary
        data = summary["data"]
        draft = Manifest(
            source.path.absolute().name,
            (),
            (),
            source.preparation.to_dict(),
            _names(data["class_names"]),
            summary.get("test") or {},
            training=_training(source.spec, summary.get("versions"), data),
        )
        return source.spec, source.weights(which), described(draft, source.spec)
    if isinstance(source, Run):
        path = source.path
        draft = Manifest(
            path.absolute().name if path else "model",
            (),
            (),
            source.preparation.to_dict(),
            _names(source.class_names),
            source.test,
            training=_training(source.spec, None, {}),
        )
        return source.spec, source.weights, described(draft, source.spec)
    spec, arrays = source
    spec = checked(spec)
    check_weights(arrays, spec.graph)
    return spec, arrays, described(Manifest("model", (), (), Preparation().to_dict()), spec)


def described(draft: Manifest, spec: Spec) -> Manifest:
    """A manifest with the inputs and outputs of a spec."""
    graph, needs = spec.graph, needs_of(spec).inputs
    dtype = graph.precision
    inputs = tuple(
        InputInfo(item.name, item.shape, "int64" if item.integer else dtype, needs[item.name].size)
        for item in graph.inputs
    )
    outputs = tuple(
        OutputInfo(label, graph.by_name[node].shape, dtype, graph.predictions[node])
        for label, node in zip(graph.output_names, graph.outputs, strict=True)
    )
    return replace(draft, inputs=inputs, outputs=outputs)


def _training(spec: Spec, versions: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "backend": spec.backend,
        "versions": dict(versions or {}),
        "data": {key: data[key] for key in ("fingerprint", "sizes") if key in data},
    }


def _names(names: Any) -> Any:
    if isinstance(names, Mapping):
        return {output: tuple(item) for output, item in names.items()}
    return tuple(names) if names else None


def _model_name(name: str, *, named: bool) -> str:
    if is_model_name(name):
        return name
    if named:
        raise ArtefactError(
            f"the model's name must be up to 128 letters, digits, dots, dashes and underscores, but is {name!r}"
        )
    return "model"  # the run's folder has a name that cannot be one


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"dualml": __version__}
    for package in ("numpy", "onnx", "onnxruntime", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _without_folders(value: Any) -> Any:
    """File names without the folders of the machine they lay on."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute():
                return kind(value).name
    return value


def _write(path: Path, draft: Manifest, onnx: bytes, spec: bytes, write_weights: Callable[[Path], None]) -> None:
    """Write the folder whole or not at all."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.absolute().parent))
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be written: {error.strerror}; choose another folder (--out)") from None
    try:
        write_weights(temporary / MODEL)
        (temporary / ONNX).write_bytes(onnx)
        (temporary / SPEC).write_bytes(spec)
        files = {name: FileInfo.of((temporary / name).read_bytes()) for name in (MODEL, ONNX, SPEC)}
        (temporary / MANIFEST).write_bytes(draft.with_files(files).to_bytes())
        temporary.chmod(0o777 & ~umask())  # mkdtemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ArtefactError(f"{path}: cannot be written: {error.strerror}; nothing was left behind") from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
