"""``compress``: a finished run becomes a smaller model, which is measured and, if it is good enough, kept."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

from dualml.api import dataset_of
from dualml.artefact.batching import batch_difference
from dualml.artefact.creation import check_target, create, described
from dualml.artefact.manifest import Manifest
from dualml.artefact.session import Session
from dualml.compress.latency import ROUNDS
from dualml.compress.measured import evenly_spaced, held_back, measure
from dualml.compress.report import Report
from dualml.errors import RunError, UnsupportedError
from dualml.export.check import check, needs_onnx
from dualml.spelling import nearest
from dualml.training.run_directory import StoredRun, open_run

METHODS = ("int8",)
CALIBRATION = 512
"""Training examples that int8 is calibrated on."""
MAX_LOSS = {"int8": 0.005}
"""How much worse the metric may become, if nothing is said."""


def compress(
    run: str | Path,
    method: str,
    *,
    out: str | Path | None = None,
    weights: str = "last",
    max_loss: float | None = None,
    calibration: int | None = None,
    rounds: int = ROUNDS,
) -> Report:
    """Make a finished run's model smaller.

    Args:
        run: A run directory.
        method: ``int8``: weights and activations as bytes; an artefact for ONNX Runtime.
        out: What to write; left out, beside the run, with the method's name. Nothing is written if too much is lost.
        weights: ``last``, or ``best`` for those of the best epoch.
        max_loss: How much worse the metric may become on held-back examples: accuracy from 0.97 to 0.96 is 0.01. Of a
            metric of which less is better: the growth as a share of what it was.
        calibration: ``int8``: how many training examples the scales are measured on; left out, ``CALIBRATION``.
        rounds: How often latencies are measured; 0: not at all.

    Returns:
        What came of it; ``report.kept`` says whether it was written.

    Raises:
        DualmlError: The run or its data cannot be used, or the method has nothing to work on.

    Example:
        >>> from dualml.compress import compress
        >>> compress("runs/mlp-torch", "int8").ratio  # doctest: +SKIP
        0.258
    """
    if method not in METHODS:
        raise RunError(f"--method must be one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    if max_loss is not None and not 0.0 <= max_loss < math.inf:
        raise RunError(f"--max-loss must be 0 or more, got {max_loss}")
    if calibration is not None and calibration < 1:
        raise RunError(f"--calibration must be at least 1, got {calibration}")
    needs_onnx()
    stored = open_run(run)
    path = default_path(stored.path, method) if out is None else Path(out)
    check_target(path)
    limit = MAX_LOSS[method] if max_loss is None else max_loss
    return _int8(stored, path, weights, limit, calibration or CALIBRATION, rounds)


def default_path(run: Path, method: str) -> Path:
    """Beside the run, with the method's name."""
    whole = run.resolve()
    return whole.with_name(f"{whole.name}.{method}")


def _int8(stored: StoredRun, path: Path, which: str, limit: float, calibration: int, rounds: int) -> Report:
    from dualml.compress.int8 import quantise
    from dualml.export.onnx import emit

    spec, graph = stored.spec, stored.spec.graph
    if spec.dtype != "float32":
        raise UnsupportedError("--method int8 needs a model of float32, but the precision of this run is float64")
    dataset = dataset_of(stored)
    held_back(dataset)
    arrays = stored.weights(which)
    whole = emit(graph, arrays)
    rows = evenly_spaced(spec, dataset.train, calibration)
    inputs = described(Manifest("model", (), (), {}), spec).inputs
    found = quantise(whole, rows)
    difference = batch_difference(Session(found.model), inputs)
    if difference > 0 and found.kept:  # a float layer computes a row alone otherwise than among others
        other = quantise(whole, rows, keep_outputs=False)
        without = batch_difference(Session(other.model), inputs)
        found, difference = (other, without) if without < difference else (found, difference)
    measured = measure(whole, found.model, spec, dataset, rounds)
    others = [node.name for node in graph.nodes if any(len(item.shape) > 1 for item in node.parameters)]
    none = {name: "it has no integer form here" for name in others if name not in {*found.kept, *found.layers}}
    settings = {"calibration": len(next(iter(rows.values()))), "weights": which}
    report = Report(
        "int8",
        str(path),
        "artefact",
        limit,
        measured,
        dict.fromkeys(found.layers, "int8"),
        {**found.kept, **none},
        settings,
        difference,
    )
    if not report.kept:
        return replace(report, path=None)
    differences = check(found.model, graph, arrays, backends=()).to_dict()["differences"]
    create(
        stored,
        path,
        weights=which,
        onnx=found.model,
        parity={"differences": differences},
        compression={
            "method": "int8",
            "settings": settings,
            "layers": sorted(report.layers),
            "size": measured.size,
            "size_before": measured.size_before,
            "max_loss": limit,
            "quality": asdict(measured.quality),
        },
        metrics=measured.quality.metrics if measured.quality.split == "test" else {},
    )
    return report
