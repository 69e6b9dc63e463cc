"""``compress``: a finished run becomes a smaller model, which is measured and, if it is good enough, kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dualml.api import dataset_of
from dualml.artefact.batching import batch_difference
from dualml.artefact.creation import check_target, create, described
from dualml.artefact.manifest import Manifest
from dualml.artefact.session import Session
from dualml.compress.distance import distances, ranges_of
from dualml.compress.editing import has_kernel
from dualml.compress.latency import ROUNDS
from dualml.compress.measured import Measured, evenly_spaced, held_back, measure
from dualml.compress.report import Report
from dualml.data import Dataset
from dualml.errors import RunError, UnsupportedError
from dualml.export.check import needs_onnx
from dualml.export.formats import staged
from dualml.spelling import nearest
from dualml.training.progress import Observer
from dualml.training.run_directory import StoredRun, open_run

METHODS = ("int8", "neurons", "svd")
UNSTRUCTURED = "unstructured"
"""What others call the pruning of single weights, which is not done here."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "int8": {"max_loss": 0.005, "calibration": 512},
    "neurons": {"max_loss": 0.01, "keep": 0.5, "epochs": 4, "lr": None, "backend": None},
    "svd": {"max_loss": 0.01, "keep": 0.5, "energy": None, "epochs": 4, "lr": None, "backend": None},
}
"""What can be said of each method, and what holds if it is not."""


def compress(
    run: str | Path,
    method: str,
    *,
    out: str | Path | None = None,
    weights: str = "last",
    max_loss: float | None = None,
    calibration: int | None = None,
    keep: float | None = None,
    energy: float | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    backend: str | None = None,
    rounds: int = ROUNDS,
    observer: Observer | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Report:
    """Make a finished run's model smaller.

    Args:
        run: A run directory.
        method: ``int8``: weights and activations as bytes; an artefact for ONNX Runtime. ``neurons``: fewer units and
            filters; a run. ``svd``: layers of lower rank; a run.
        out: What to write; left out, beside the run, with the method's name. Nothing is written if too much is lost.
        weights: ``last``, or ``best`` for those of the best epoch.
        max_loss: How much worse the metric may become on held-back examples: accuracy from 0.97 to 0.96 is 0.01. Of a
            metric of which less is better: the growth as a share of what it was. Left out, as in ``DEFAULTS``.
        calibration: ``int8``: how many training examples the ranges are measured on.
        keep: ``neurons``: share of the units of each layer that stay. ``svd``: share of the weights of each.
        energy: ``svd``, instead: share of the sum of the squares of each kernel's singular values that stays.
        epochs: ``neurons``, ``svd``: how long the smaller model is trained on; 0: not at all.
        lr: Learning rate of that at first, from which it falls to 0; left out, the run's.
        backend: Where that is done; left out, where the run was trained.
        rounds: How often latencies are measured; 0: not at all.
        observer: Who is told of the progress of the training.
        interrupted: Asked now and then whether to stop; nothing is written then.

    Returns:
        What came of it; ``report.kept`` says whether it was written.

    Raises:
        DualmlError: The run or its data cannot be used, or the method has nothing to work on.

    Example:
        >>> from dualml.compress import compress
        >>> compress("runs/mlp-torch", "int8").measured.ratio  # doctest: +SKIP
        0.258
    """
    said = {"max_loss": max_loss, "calibration": calibration, "keep": keep, "energy": energy, "epochs": epochs}
    settings = _settings(method, said | {"lr": lr, "backend": backend})
    needs_onnx()
    stored = open_run(run)
    path = default_path(stored.path, method) if out is None else Path(out)
    check_target(path)
    task = _Task(stored, path, weights, settings, rounds)
    return _int8(task) if method == "int8" else _structured(task, method, observer, interrupted)


@dataclass(frozen=True)
class _Task:
    """What is to be done, checked.

    Attributes:
        stored: The run.
        path: What is written.
        weights: Which of its weights.
        settings: Of the method, every default filled in.
        rounds: Of measuring latencies.
    """

    stored: StoredRun
    path: Path
    weights: str
    settings: Mapping[str, Any]
    rounds: int

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data, with held-back examples."""
        found = dataset_of(self.stored)
        held_back(found)
        return found

    def report(self, method: str, kind: str, measured: Measured, layers: Mapping[str, str], **others: Any) -> Report:
        settings = {"weights": self.weights, **self.settings}
        limit = settings.pop("max_loss")
        found = Report(method, str(self.path), kind, limit, measured, layers, settings=settings, **others)
        return found if found.kept else replace(found, path=None)


def _settings(method: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method with its defaults.

    Raises:
        RunError: There is no such method, it has no such setting, or a value is out of range.
    """
    if method == UNSTRUCTURED:
        raise RunError(
            "--method unstructured: zeros among the weights save neither time nor space here: the file holds them as "
            "it holds other numbers, and ONNX Runtime multiplies by them; use neurons or svd, and then int8"
        )
    if method not in METHODS:
        raise RunError(f"--method must be one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    given = {name: value for name, value in said.items() if value is not None}
    for name in given:
        if name not in DEFAULTS[method]:
            others = ", ".join(one for one in METHODS if name in DEFAULTS[one])
            raise RunError(f"--{name}: is for --method {others}, not for {method}; leave it out")
    if "energy" in given and "keep" in given:
        raise RunError("--energy and --keep: each says how much stays; give one of them")
    ranges: Mapping[str, tuple[Callable[[Any], bool], str]] = {
        "max_loss": (lambda value: 0.0 <= value < math.inf, "0 or more"),
        "calibration": (lambda value: value >= 1, "at least 1"),
        "keep": (lambda value: 0.0 < value < 1.0, "above 0 and below 1"),
        "energy": (lambda value: 0.0 < value < 1.0, "above 0 and below 1"),
        "epochs": (lambda value: value >= 0, "0 or more"),
        "lr": (lambda value: 0.0 < value < math.inf, "above 0"),
    }
    for name, (holds, what) in ranges.items():
        if name in given and not holds(given[name]):
            raise RunError(f"--{name.replace('_', '-')} must be {what}, got {given[name]}")
    found = DEFAULTS[method] | given
    return found | {"keep": None} if "energy" in given else found


def default_path(run: Path, method: str) -> Path:
    """Beside the run, with the method's name."""
    whole = run.resolve()
    return whole.with_name(f"{whole.name}.{method}")


def _int8(task: _Task) -> Report:
    from dualml.compress.int8 import quantise
    from dualml.export.onnx import emit

    spec, graph = task.stored.spec, task.stored.spec.graph
    if spec.dtype != "float32":
        raise UnsupportedError("--method int8 needs a model of float32, but the precision of this run is float64")
    arrays = task.stored.weights(task.weights)
    whole = emit(graph, arrays)
    rows = evenly_spaced(spec, task.dataset.train, task.settings["calibration"])
    inputs = described(Manifest("model", (), (), {}), spec).inputs
    found = quantise(whole, rows)
    difference = batch_difference(Session(found.model), inputs)
    if difference > 0 and found.kept:  # a float layer computes a row alone otherwise than among others
        other = quantise(whole, rows, keep_outputs=False)
        without = batch_difference(Session(other.model), inputs)
        found, difference = (other, without) if without < difference else (found, difference)
    measured = measure(whole, found.model, spec, task.dataset, task.rounds)
    none = [node.name for node in graph.nodes if has_kernel(node) and node.name not in {*found.kept, *found.layers}]
    report = task.report(
        "int8",
        "artefact",
        measured,
        dict.fromkeys(found.layers, "int8"),
        kept_layers={**found.kept, **dict.fromkeys(none, "it has no integer form here")},
        batch_difference=difference,
    )
    if not report.kept:
        return report
    ranges = ranges_of(rows)
    create(
        task.stored,
        task.path,
        weights=task.weights,
        onnx=found.model,
        parity={"differences": distances(found.model, graph, arrays, ranges)},
        compression={**report.summary(), "ranges": ranges},
        metrics=measured.quality.metrics if measured.quality.split == "test" else {},
    )
    return report


class _TooMuchLostError(Exception):
    """Leaves the place where a run was written, so that nothing of it remains."""


def _structured(task: _Task, method: str, observer: Observer | None, interrupted: Callable[[], bool]) -> Report:
    from dualml.compress.low_rank import lower_rank
    from dualml.compress.neurons import cut_neurons
    from dualml.compress.tuning import add_to_summary, fine_tuned
    from dualml.export.onnx import emit

    spec, settings = task.stored.spec, task.settings
    arrays = task.stored.weights(task.weights)
    if method == "neurons":
        small = cut_neurons(spec, arrays, settings["keep"])
    else:
        small = lower_rank(spec, arrays, settings["keep"], settings["energy"])
    dataset = task.dataset
    backend, epochs, lr = settings["backend"], settings["epochs"], settings["lr"]
    try:
        with staged(task.path) as folder:
            weights = fine_tuned(small, task.stored, folder, backend, epochs, lr, observer, interrupted)
            whole, made = emit(spec.graph, arrays), emit(small.spec.graph, weights)
            measured = measure(whole, made, spec, dataset, task.rounds)
            report = task.report(method, "run", measured, small.layers, kept_layers=small.kept_layers)
            if not report.kept:
                raise _TooMuchLostError
            add_to_summary(folder, {"compression": report.summary(), "test": dict(measured.quality.metrics)})
    except _TooMuchLostError:
        pass
    return report
