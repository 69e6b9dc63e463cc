"""Folders that serving engines load as they are: a Triton model repository, a TensorFlow Serving base path, KServe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualml.errors import RunError
from dualml.export.compare import Checked
from dualml.export.formats import check_new_folder, export, in_precision, staged
from dualml.protocol import Arrays
from dualml.spec.graph import Graph, Precision
from dualml.spec.layers import Shape

VERSION = "1"
"""Folder of the model's version: engines want a number and take the largest."""
MOST_ROWS = 1024
"""Most examples in a request to Triton."""
LABELS = "{output}.labels.txt"
"""File of an output's class names."""
STORAGE = "pvc://models"
"""Where KServe looks for the folder if nothing else is said."""

_TRITON_TYPES = {"float32": "TYPE_FP32", "float64": "TYPE_FP64", "int64": "TYPE_INT64"}
_DNS = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Content:
    """What a bundle is made of.

    Attributes:
        graph: The model.
        weights: All parameters and buffers.
        name: The model's name.
        labels: Class names by output's name.
        backends: Names of backends to compare with; ``None``: all that are installed.
    """

    graph: Graph
    weights: Arrays
    name: str
    labels: Mapping[str, Sequence[str]]
    backends: Sequence[str] | None


def write_bundle(
    kind: str,
    graph: Graph,
    weights: Arrays,
    path: Path,
    *,
    name: str,
    labels: Mapping[str, Sequence[str]] | None = None,
    storage: str = STORAGE,
    precision: Precision | None = None,
    backends: Sequence[str] | None = None,
) -> Checked:
    """Write a bundle; what does not predict what the model does is removed.

    Args:
        kind: ``triton``, ``tfserving`` or ``kserve``.
        graph: The model.
        weights: All parameters and buffers.
        path: Folder to make.
        name: The model's name.
        labels: Class names by output's name.
        storage: For KServe, the URI of the place that the folder ``models`` will be copied to.
        precision: Of the exported model; left out, the graph's.
        backends: Names of backends to compare with; left out, all that are installed.

    Raises:
        UnsupportedError: The format cannot express a part of the model.
        RunError: The name or the path will not do.
    """
    if kind not in BUNDLES:
        raise RunError(f"--bundle must be one of {', '.join(BUNDLES)}, got {kind!r}")
    check_name(kind, name)
    if not path.absolute().parent.is_dir():
        raise RunError(f"--out {path}: the folder {path.parent} does not exist; make it first")
    check_new_folder(path)
    content = Content(in_precision(graph, precision), weights, name, labels or {}, backends)
    with staged(path) as stage:
        stage.mkdir()
        if kind == "triton":
            return _triton(content, stage)
        if kind == "tfserving":
            return _tfserving(content, stage)
        return _kserve(content, stage, storage)


BUNDLES = ("triton", "tfserving", "kserve")
"""What ``--bundle`` says."""


def check_name(kind: str, name: str) -> None:
    """Refuse a name that engines do not take.

    Raises:
        RunError: Says what it may be.
    """
    if kind == "kserve" and not _DNS.fullmatch(name):
        raise RunError(
            f"--name {name!r}: KServe wants at most 63 lower-case letters, digits and '-', no '-' at the ends"
        )
    if not _NAME.fullmatch(name):
        raise RunError(f"--name {name!r}: must be letters, digits, '_', '.' and '-', and begin with a letter or digit")


def default_name(kind: str, path: Path) -> str:
    """A name made of a path's last part."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.name).strip("_.-") or "model"
    return re.sub(r"[^a-z0-9]+", "-", plain.lower())[:63].strip("-") if kind == "kserve" else plain


def _triton(content: Content, folder: Path) -> Checked:
    """``<name>/config.pbtxt`` and ``<name>/1/model.onnx``, for Triton's ONNX Runtime backend."""
    model = folder / content.name
    (model / VERSION).mkdir(parents=True)
    checked = export("onnx", content.graph, content.weights, model / VERSION / "model.onnx", backends=content.backends)
    for output, names in content.labels.items():
        text = "".join(f"{' '.join(str(name).split())}\n" for name in names)
        (model / LABELS.format(output=output)).write_text(text, encoding="utf-8")
    (model / "config.pbtxt").write_text(triton_config(content, checked.batch_invariant), encoding="utf-8")
    return checked


def triton_config(content: Content, batch_invariant: bool) -> str:
    """The configuration: names, types and shapes without the axis of examples.

    Requests are put together only where a row's answer does not depend on its neighbours.
    """
    graph = content.graph
    lines = [f'name: "{content.name}"', 'backend: "onnxruntime"', f"max_batch_size: {MOST_ROWS}"]
    for item in graph.inputs:
        lines += _tensor("input", item.name, "int64" if item.integer else graph.precision, item.shape)
    for node, label in zip(graph.outputs, graph.output_names, strict=True):
        more = [f'label_filename: "{LABELS.format(output=label)}"'] if label in content.labels else []
        lines += _tensor("output", label, graph.precision, graph.by_name[node].shape, more)
    if batch_invariant:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _tensor(kind: str, name: str, dtype: str, shape: Shape, more: Sequence[str] = ()) -> list[str]:
    settings = [f'name: "{name}"', f"data_type: {_TRITON_TYPES[dtype]}", f"dims: {list(shape)}", *more]
    return [f"{kind} {{", *(f"  {line}" for line in settings), "}"]


def _tfserving(content: Content, folder: Path) -> Checked:
    """``<name>/1/saved_model.pb`` with its variables, and ``models.config``, which names it."""
    (folder / content.name).mkdir()
    checked = export(
        "savedmodel", content.graph, content.weights, folder / content.name / VERSION, backends=content.backends
    )
    lines = [
        "model_config_list {",
        "  config {",
        f'    name: "{content.name}"',
        f'    base_path: "/models/{content.name}"',
        '    model_platform: "tensorflow"',
        "  }",
        "}",
    ]
    (folder / "models.config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return checked


def _kserve(content: Content, folder: Path, storage: str) -> Checked:
    """A Triton repository in ``models``, and the ``InferenceService`` that serves it."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", storage):
        raise RunError(f"--storage {storage!r}: must be a URI such as gs://bucket/models or pvc://claim/models")
    (folder / "models").mkdir()
    checked = _triton(content, folder / "models")
    service = f"""\
# Copy the folder models to {storage}, then: kubectl apply -f inferenceservice.yaml
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {content.name}
spec:
  predictor:
    model:
      modelFormat:
        name: triton
      protocolVersion: v2
      storageUri: {storage}
"""
    (folder / "inferenceservice.yaml").write_text(service, encoding="utf-8")
    return checked
