"""From what was measured to a verdict: equal or different, rounding or real, where first, which side, why."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

import dualml
from dualml import reference
from dualml.data import Dataset
from dualml.parity.causes import configured_cause, spec_differences
from dualml.parity.judge import LIMIT
from dualml.parity.records import Key, difference
from dualml.parity.report import Cause, Check, Report, Verdict, ladder_position
from dualml.parity.side import PREDICTION_ROWS, PROBE, held_back
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.graph import Graph
from dualml.training.run_directory import StoredRun

NOT_CHECKED = ({"what": "devices other than the one used", "why": "every check ran on the device the config names"},)


@dataclass
class Evidence:
    """What a comparison measured.

    Attributes:
        left: The left side's spec.
        right: The right side's.
        checks: Everything compared.
        descriptions: Backend, versions and data of both sides.
        structure: First node in which the two graphs differ, if they do.
        steps: For each precision, updates of the free run and those judged in full.
        held_back: Predictions and metrics at the end, by precision.
        skipped: What was not compared, and why.
        notes: What else a reader should know.
        undefined: Values not judged because the reference is not finite there.
        right_follows_own: Whether the right side agrees with the reference of its own spec.
        left_follows_own: The same for the left side.
        runs: What the stored results of two runs say.
    """

    left: Spec
    right: Spec
    checks: list[Check] = field(default_factory=list)
    descriptions: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    structure: str | None = None
    steps: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    held_back: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    undefined: int = 0
    right_follows_own: bool = True
    left_follows_own: bool = True
    runs: dict[str, Any] | None = None
    _squares: dict[tuple[Key, int, str], float] = field(default_factory=dict)

    @property
    def differ(self) -> bool:
        """Whether the two specs mean different things."""
        return bool(spec_differences(self.left, self.right))

    def add_scaling(self, key: Key, step: int, precision: str, left: Array, right: Array) -> None:
        """Remember how far apart the sides are in one precision, from the same state."""
        gap = left.astype(np.float64) - right.astype(np.float64)
        self._squares[key, step, precision] = float(np.sum(np.square(gap[np.isfinite(gap)])))

    def scaling(self, key: Key | None = None, step: int | None = None) -> dict[str, float | None]:
        """Differences in both precisions over the arrays compared in both, and their ratio in bits.

        Args:
            key: Only this array; ``None``: all.
            step: Only this step; ``None``: all.
        """
        norms = {"float32": 0.0, "float64": 0.0}
        for (name, at, precision), square in self._squares.items():
            other = "float64" if precision == "float32" else "float32"
            if (key is None or key == name) and (step is None or step == at) and (name, at, other) in self._squares:
                norms[precision] += square
        both = {precision: math.sqrt(square) for precision, square in norms.items()}
        bits = math.log2(both["float32"] / both["float64"]) if both["float32"] and both["float64"] else None
        return {**both, "bits": bits}


def structural_difference(left: Graph, right: Graph) -> str | None:
    """The first node in which two graphs differ in name, operation, wiring or shape; ``None`` if none does."""
    for one, two in zip(left.nodes, right.nodes, strict=False):
        if (one.name, one.operation, one.inputs, one.input_shapes, one.shape) != (
            two.name, two.operation, two.inputs, two.input_shapes, two.shape,
        ):  # fmt: skip
            return one.name
        if [item.shape for item in one.parameters] != [item.shape for item in two.parameters]:
            return one.name
    if len(left.nodes) != len(right.nodes):
        longer = left if len(left.nodes) > len(right.nodes) else right
        return longer.nodes[min(len(left.nodes), len(right.nodes))].name
    return None if left.input_shape == right.input_shape else "input"


def report(evidence: Evidence, replay: str, seconds: float) -> Report:
    """Decide."""
    failures = sorted((check for check in evidence.checks if check.ok is False), key=ladder_position)
    deciding = [check for check in failures if decides(check)]
    reasons = undecided_reasons(evidence)
    scaling = evidence.scaling()
    verdict: Verdict
    kind: Literal["rounding", "semantic"] | None
    cause: Cause | None = None
    first: dict[str, Any] | None = None
    deviates: Literal["left", "right", "both", "unknown"] | None = None
    if evidence.structure is not None:
        verdict, kind, deviates = "different", "semantic", "unknown"
        first = {"step": 0, "phase": "init", "node": evidence.structure, "tensor": "structure"}
        cause = configured_cause(evidence.left, evidence.right, followed=True)
    elif deciding:
        check = deciding[0]
        verdict, kind = "different", "semantic"
        first = {"step": check.step, "phase": check.phase, "node": check.node, "tensor": check.tensor}
        deviates = deviating(evidence, check)
        scaling = evidence.scaling(Key(check.phase, check.node, check.tensor), check.step)
        followed = evidence.left_follows_own and evidence.right_follows_own
        cause = configured_cause(evidence.left, evidence.right, followed)
    else:
        verdict = "undecided" if reasons else "equal"
        kind = "rounding" if any(check.max_abs > 0 for check in evidence.checks) else None
    return Report(
        verdict=verdict,
        kind=kind,
        first_divergence=first,
        deviates=deviates,
        cause=cause,
        checks=tuple(replace(check, kind=kind_of(check, verdict)) for check in evidence.checks),
        coverage=coverage(evidence),
        precision_scaling=scaling,
        largest=largest(evidence),
        held_back=evidence.held_back,
        environment=environment(evidence),
        replay=replay,
        seconds=seconds,
        reasons=tuple(reasons) if verdict == "undecided" else (),
        runs=evidence.runs,
    )


def decides(check: Check) -> bool:
    """Whether a failure of this check means that the two sides differ.

    float64 decides; arrays that must be the same bits (weights, inputs) decide in any precision.
    """
    return check.precision == "float64" or check.limit == 0.0


def kind_of(check: Check, verdict: Verdict) -> Literal["rounding", "semantic"] | None:
    """What one difference is. Free runs are rounding as long as every judged update is."""
    if check.max_abs == 0:
        return None
    if check.ok is False and decides(check):
        return "semantic"
    return "rounding" if check.ok or verdict == "equal" else None


def undecided_reasons(evidence: Evidence) -> list[str]:
    """What is missing for a verdict."""
    reasons = []
    judged = {check.precision for check in evidence.checks if check.limit == LIMIT}
    for precision in ("float32", "float64"):
        if evidence.structure is None and precision not in judged:
            reasons.append(f"nothing was judged in {precision}")
    if evidence.undefined:
        reasons.append(
            f"{evidence.undefined} values are not finite in the float64 reference either, so they could not be "
            "judged; lower the learning rate or scale the inputs"
        )
    return reasons


def deviating(evidence: Evidence, check: Check) -> Literal["left", "right", "both", "unknown"]:
    """Which side is off at a failing check."""
    if evidence.differ or check.left is None or check.right is None:
        return "unknown"  # with two specs there is no common reference; bits alone have no sides
    off = check.left > LIMIT, check.right > LIMIT
    return {(True, False): "left", (False, True): "right", (True, True): "both"}[off]  # type: ignore[return-value]


def coverage(evidence: Evidence) -> dict[str, Any]:
    """How much was compared, and what was not."""
    judged = [check for check in evidence.checks if check.ok is not None]
    tensors = {(check.precision, check.phase, check.node, check.tensor) for check in judged}
    return {
        "compared": len(tensors),
        "checks": len(judged),
        "steps": {
            precision: {"free": last, "judged": list(full)} for precision, (last, full) in evidence.steps.items()
        },
        "skipped": [
            *evidence.skipped,
            *NOT_CHECKED,
            *({"what": note, "why": "found while comparing"} for note in evidence.notes),
        ],
    }


def largest(evidence: Evidence) -> dict[str, dict[str, float]]:
    """The largest differences between the two free runs, by precision: of weights, predictions and losses."""
    found: dict[str, dict[str, float]] = {}
    names = {"update": "weights", "prediction": "predictions", "loss": "loss"}
    for check in evidence.checks:
        shared = check.phase != "prediction" or check.tensor == PROBE  # the others are for this step's batch
        if check.run == "free" and check.phase in names and check.tensor != "examples" and shared:
            of_precision = found.setdefault(check.precision, {})
            name = names[check.phase]
            of_precision[name] = max(of_precision.get(name, 0.0), check.max_abs)
    return found


def environment(evidence: Evidence) -> dict[str, Any]:
    """Versions of everything that took part."""
    return {
        "dualml": dualml.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "left": evidence.descriptions[0],
        "right": evidence.descriptions[1],
        "precision": evidence.left.precision,
        "device": evidence.left.device,
    }


def stored_results(left: StoredRun, right: StoredRun, dataset: Dataset) -> dict[str, Any]:
    """What two finished runs stored: their weights, and the predictions these give in the float64 reference."""
    weights = left.weights(), right.weights()
    shared = [name for name in weights[0] if name in weights[1]]
    found: dict[str, Any] = {
        "weights": {name: difference(weights[0][name], weights[1][name]) for name in shared},
        "epochs": [len(left.history()), len(right.history())],
        "test": [left.summary.get("test"), right.summary.get("test")],
    }
    if structural_difference(left.spec.graph, right.spec.graph) is None:
        split = held_back(dataset)
        inputs, _ = split.gather(np.arange(min(len(split), PREDICTION_ROWS)), "float64")
        graph = left.spec.graph
        given = [
            reference.predictions(graph.prediction, reference.forward(graph, item, inputs)[graph.output])
            for item in weights
        ]
        found["predictions"] = difference(given[0], given[1])
        if left.spec.loss.target == "class":
            found["same_class"] = int(np.sum(given[0].argmax(-1) == given[1].argmax(-1)))
            found["examples"] = len(given[0])
    return found
