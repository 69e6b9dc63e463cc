"""An export is run and compared before it is kept: with the float64 reference, and with every backend that is here.

Predictions may differ by ``PREDICTION_LIMIT`` (values that are not probabilities by ``VALUE_LIMIT`` of the largest),
and the most probable class may not change wherever it leads by more than ``MARGIN``. Some models make more of
float32's roundings: where an export exceeds the limit, float64 decides. It may differ by as much as a few times what
roundings of the inputs and weights alone would change, and it need not be nearer to the reference than a backend is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dualml import randomness, registry
from dualml.errors import BackendUnavailableError, ParityError, UnsupportedError
from dualml.protocol import Array, Arrays, Backend
from dualml.spec.graph import Graph, Precision

PREDICTION_LIMIT: Mapping[Precision, float] = {"float32": 2e-6, "float64": 1e-12}
"""How far probabilities may be apart."""
VALUE_LIMIT: Mapping[Precision, float] = {"float32": 1e-5, "float64": 1e-12}
"""How far other values may be apart, relative to the largest (but at least 1)."""
MARGIN = 1e-4
"""Lead of the most probable class from which on it must be the same."""
AS_NEAR = 2.0
"""An export may be so many times as far from the reference as a backend is."""
ROUNDINGS = 8.0
"""Where roundings matter, how many times their effect an export may differ by."""
ROWS = 512
"""Examples that are compared with backends."""
REFERENCE_ROWS = 32
"""Examples that are compared with the reference, which is slow."""
REFERENCE = "reference"

Run = Callable[[Arrays], Arrays]
"""Predictions by output's name from inputs by name."""


@dataclass(frozen=True)
class Difference:
    """How far an export is from something that computes the same.

    Attributes:
        against: ``reference`` or a backend's name.
        output: Name of the output.
        rows: Examples compared.
        largest: Largest difference of a prediction.
        limit: What it may be.
        changed: Rows whose most probable class differs though it leads by more than ``MARGIN``.
        ok: Whether the export is right.
    """

    against: str
    output: str
    rows: int
    largest: float
    limit: float
    changed: int
    ok: bool


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        differences: One for each output and each thing compared with.
        batch_invariant: Whether a row's prediction is bit for bit the same alone and beside others.
    """

    differences: tuple[Difference, ...]
    batch_invariant: bool

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return all(item.ok for item in self.differences)

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return max(item.largest for item in self.differences)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {"batch_invariant": self.batch_invariant, "differences": [asdict(item) for item in self.differences]}

    def lines(self) -> list[str]:
        """One line for each difference, for people."""
        return [
            f"{item.output} vs {item.against}: max |difference| {item.largest:.2g} on {item.rows} rows"
            + (f", {item.changed} other classes" if item.changed else "")
            + ("" if item.ok else f"  (at most {item.limit:.2g})")
            for item in self.differences
        ]

    def require(self, what: str) -> None:
        """Refuse an export that is not the model.

        Raises:
            ParityError: Something differs.
        """
        if not self.ok:
            found = "; ".join(line for line, item in zip(self.lines(), self.differences, strict=True) if not item.ok)
            raise ParityError(f"{what}: must predict what the model does, but {found}; nothing was written")


def examples(graph: Graph, rows: int, seed: int = 0) -> dict[str, Array]:
    """Inputs to compare with: normal numbers, every other row uniform in [0, 1); whole numbers below their limit."""
    found: dict[str, Array] = {}
    for item in graph.inputs:
        shape, path = (rows, *item.shape), f"export/{item.name}"
        if item.integer:
            limits = [node.settings.integers_below() for node in graph.nodes if item.name in node.inputs]
            below = min((limit for limit in limits if limit is not None), default=100)
            found[item.name] = np.floor(randomness.uniform(seed, path, shape) * below).astype(np.int64)
            continue
        values = randomness.normal(seed, path, shape)
        values[1::2] = randomness.uniform(seed, f"{path}/uniform", shape)[1::2]
        found[item.name] = values.astype(graph.precision)
    return found


def reference_predictions(graph: Graph, weights: Arrays, inputs: Arrays) -> dict[str, Array]:
    """What the float64 reference predicts, by output's name."""
    from dualml.reference.losses.predictions import predictions
    from dualml.reference.network import forward

    values = forward(graph, weights, dict(inputs))
    return {
        label: predictions(graph.predictions[name], values[name])
        for name, label in zip(graph.outputs, graph.output_names, strict=True)
    }


def backend_predictions(backend: Backend, graph: Graph, weights: Arrays, inputs: Arrays) -> dict[str, Array]:
    """What a backend predicts, by output's name."""
    network = backend.build(graph, weights)
    return {
        label: network.predict(dict(inputs), output=name)
        for name, label in zip(graph.outputs, graph.output_names, strict=True)
    }


def installed(names: Sequence[str] | None = None) -> list[Backend]:
    """Backends by name; left out, all that are installed."""
    if names is not None:
        return [registry.load(name) for name in sorted(names, key=registry.load_order)]
    found = []
    for name in sorted(registry.names(), key=registry.load_order):
        try:
            registry.require(name)
            found.append(registry.load(name))
        except BackendUnavailableError:
            continue
    return found


def compare(
    run: Run,
    graph: Graph,
    weights: Arrays,
    *,
    backends: Sequence[str] | None = None,
    rows: int = ROWS,
    reference_rows: int = REFERENCE_ROWS,
) -> Checked:
    """Compare an export with the reference and with backends.

    Args:
        run: Runs the export.
        graph: The model it was made of.
        weights: All parameters and buffers.
        backends: Names of backends to compare with; left out, all that are installed.
        rows: Examples to compare with backends.
        reference_rows: Examples, the first of them, to compare with the reference.
    """
    graph = replace(graph, mixed=False)  # exports compute in what weights are kept in
    inputs = examples(graph, rows)
    few = {name: array[:reference_rows] for name, array in inputs.items()}
    exported = run(inputs)
    exact = reference_predictions(graph, weights, few)
    others: list[tuple[str, Arrays]] = [(REFERENCE, exact)]
    for backend in installed(backends):
        try:
            others.append((backend.name, backend_predictions(backend, graph, weights, inputs)))
        except UnsupportedError:
            if backends is not None:
                raise
    alone = run({name: array[:1] for name, array in inputs.items()})
    some = run({name: array[:7] for name, array in inputs.items()})
    alike = all(
        np.array_equal(part[label], exported[label][: len(part[label])]) for part in (alone, some) for label in exported
    )

    def differences(floors: Mapping[str, float]) -> tuple[Difference, ...]:
        return tuple(
            _difference(graph, against, label, exported[label], values[label], exact[label], floors.get(label, 0.0))
            for against, values in others
            for label in graph.output_names
        )

    found = differences({})
    if not all(item.ok for item in found) and graph.precision == "float32":
        found = differences(_effect_of_rounding(graph, weights, few, exact))
    return Checked(found, alike)


def _effect_of_rounding(graph: Graph, weights: Arrays, inputs: Arrays, exact: Arrays) -> dict[str, float]:
    """``ROUNDINGS`` times what a relative change of float32's unit in inputs and weights makes of each output."""
    unit = float(np.finfo(np.float32).eps)

    def moved(path: str, array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        sign = np.where(randomness.uniform(0, f"export/rounding/{path}", array.shape) < 0.5, -unit, unit)
        return array.astype(np.float64) * (1.0 + sign)

    changed = reference_predictions(
        graph,
        {name: moved(f"weights/{name}", array) for name, array in weights.items()},
        {name: moved(f"inputs/{name}", array) for name, array in inputs.items()},
    )
    return {name: ROUNDINGS * float(np.max(np.abs(changed[name] - exact[name]), initial=0.0)) for name in exact}


def _difference(
    graph: Graph, against: str, label: str, exported: Array, other: Array, exact: Array, floor: float = 0.0
) -> Difference:
    """Compare two arrays of predictions over the rows that both have; a NaN differs from everything."""
    kind = graph.predictions[graph.outputs[graph.output_names.index(label)]]
    rows = min(len(exported), len(other))
    left, right = exported[:rows].astype(np.float64), other[:rows].astype(np.float64)
    if left.shape != right.shape:
        raise ParityError(
            f"output {label!r} must have shape {list(right.shape)}, but the export gives {list(left.shape)}"
        )
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(left - right), initial=0.0))
    scale = max(1.0, float(np.max(np.abs(right), initial=0.0)))
    limit = PREDICTION_LIMIT[graph.precision] if kind != "identity" else VALUE_LIMIT[graph.precision] * scale
    own = float(np.max(np.abs(right[: len(exact)] - exact), initial=0.0))
    limit = max(limit, (AS_NEAR + 1.0) * own, floor)
    changed = _changed(left, right, max(MARGIN, 2.0 * floor)) if kind == "softmax" else 0
    return Difference(against, label, rows, largest, limit, changed, largest <= limit and changed == 0)


def _changed(left: Array, right: Array, margin: float) -> int:
    """Rows whose most probable class is another one, though it leads clearly."""
    if left.shape[-1] < 2:
        return 0
    best = np.sort(right, axis=-1)
    clear = best[..., -1] - best[..., -2] > margin
    return int(np.sum(clear & (left.argmax(axis=-1) != right.argmax(axis=-1))))


__all__ = ["Checked", "Difference", "Run", "compare", "examples"]
