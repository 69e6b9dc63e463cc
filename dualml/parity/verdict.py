"""From what was measured to a verdict: equal or different, rounding or real, where first, which side, why."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

import dualml
from dualml.parity.causes import configured_cause, spec_differences
from dualml.parity.judge import LIMIT
from dualml.parity.records import Key
from dualml.parity.report import Cause, Check, Report, Verdict, ladder_position
from dualml.parity.runs import StoredResults
from dualml.parity.side import PROBE
from dualml.parity.structure import Mismatch
from dualml.parity.training import TrainingPath
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.mixed import MIXED

Kind = Literal["rounding", "semantic"]
Deviates = Literal["left", "right", "both", "unknown"]
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")

ROUNDING_BITS = (20.0, 38.0)
"""Between which ``S`` counts as rounding: 29, give or take what kinks and ties can do."""

NOT_CHECKED = ({"what": "devices other than the one used", "why": "every check ran on the device the config names"},)


@dataclass
class Evidence:
    """What a comparison measured.

    Attributes:
        left: The left side's spec.
        right: The right side's.
        checks: Everything compared.
        descriptions: Backend, versions and data of both sides.
        structure: What keeps the two specs from being compared tensor for tensor, if anything does.
        steps: For each precision, updates of the free run and those judged in full.
        held_back: Predictions and metrics at the end, by precision.
        skipped: What was not compared, and why.
        undefined: Values not judged because the reference is not finite there.
        right_follows_own: Whether the right side agrees with the reference of its own spec.
        left_follows_own: The same for the left side.
        runs: What the stored results of two runs say.
        training: Whether the update that trains is the one that was judged.
    """

    left: Spec
    right: Spec
    checks: list[Check] = field(default_factory=list)
    descriptions: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    structure: Mismatch | None = None
    steps: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    held_back: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    undefined: int = 0
    right_follows_own: bool = True
    left_follows_own: bool = True
    runs: StoredResults | None = None
    training: TrainingPath = field(default_factory=TrainingPath)
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


@dataclass(frozen=True)
class Decision:
    """What decides.

    Attributes:
        verdict: ``equal``, ``different`` or ``undecided``.
        kind: What the first difference is.
        first: Step, phase, node and tensor of the first divergence.
        deviates: Which side is off.
        cause: Why.
        scaling: Differences in both precisions; ``None``: those over everything judged.
    """

    verdict: Verdict
    kind: Kind | None
    first: dict[str, Any] | None = None
    deviates: Deviates | None = None
    cause: Cause | None = None
    scaling: Mapping[str, float | None] | None = None


def report(evidence: Evidence, replay: str, seconds: float) -> Report:
    """Decide, and put everything into a report."""
    reasons = undecided_reasons(evidence)
    finding = (
        structural_finding(evidence)
        or failing_finding(evidence)
        or training_finding(evidence)
        or stored_finding(evidence)
        or agreement(evidence, reasons)
    )
    return Report(
        verdict=finding.verdict,
        kind=finding.kind,
        first_divergence=finding.first,
        deviates=finding.deviates,
        cause=finding.cause,
        checks=tuple(replace(check, kind=kind_of(check, evidence, finding.verdict)) for check in evidence.checks),
        coverage=coverage(evidence),
        precision_scaling=evidence.scaling() if finding.scaling is None else finding.scaling,
        largest=largest(evidence),
        held_back=evidence.held_back,
        environment=environment(evidence),
        replay=replay,
        seconds=seconds,
        reasons=tuple(reasons) if finding.verdict == "undecided" else (),
        runs=None if evidence.runs is None else evidence.runs.facts,
    )


def place(step: int, phase: str, node: str, tensor: str) -> dict[str, Any]:
    """A first divergence as the report holds it."""
    return {"step": step, "phase": phase, "node": node, "tensor": tensor}


def structural_finding(evidence: Evidence) -> Decision | None:
    """The two specs cannot be compared tensor for tensor."""
    mismatch = evidence.structure
    if mismatch is None:
        return None
    first = place(0, mismatch.phase, mismatch.node, mismatch.tensor)
    cause = configured_cause(evidence.left, evidence.right, followed=True)
    return Decision("different", "semantic", first, "unknown", cause)


def failing_finding(evidence: Evidence) -> Decision | None:
    """A judged array lies outside its bound on rounding, in either precision, or bits that must be equal are not."""
    failures = sorted((check for check in evidence.checks if check.ok is False), key=ladder_position)
    if not failures:
        return None
    check = failures[0]
    followed = evidence.left_follows_own and evidence.right_follows_own
    return Decision(
        "different",
        kind_of(check, evidence, "different"),
        place(check.step, check.phase, check.node, check.tensor),
        deviating(evidence, check),
        configured_cause(evidence.left, evidence.right, followed),
        evidence.scaling(Key(check.phase, check.node, check.tensor), check.step),
    )


def training_finding(evidence: Evidence) -> Decision | None:
    """An update that trains is not the update that was judged."""
    off = [side for side in SIDES if evidence.training.differs(side)]
    if not off:
        return None
    first = place(evidence.training.first_step, "update", evidence.left.graph.output, "trained weights")
    said = "what trains (Trainer.run) does another update than gradients and apply do"
    deviates: Deviates = "both" if len(off) == len(SIDES) else off[0]
    cause = Cause("unknown", False, None, None, said)
    return Decision("different", "semantic", first, deviates, cause, evidence.training.scaling(off[0]))


def stored_finding(evidence: Evidence) -> Decision | None:
    """Two runs of the same meaning that were not trained equally long."""
    runs = evidence.runs
    if runs is None or runs.steps[0] == runs.steps[1]:
        return None
    said = f"the left run did {runs.steps[0]} updates, the right one {runs.steps[1]}"
    first = place(min(runs.steps) + 1, "prediction", evidence.left.graph.output, "stored weights")
    return Decision("different", "semantic", first, "unknown", Cause("unknown", False, *runs.steps, said))


def agreement(evidence: Evidence, reasons: list[str]) -> Decision:
    """Nothing judged differs."""
    gaps = [check.max_abs for check in evidence.checks]
    if evidence.runs is not None:
        gaps += evidence.runs.facts["weights"].values()
    return Decision("undecided" if reasons else "equal", "rounding" if any(gap > 0 for gap in gaps) else None)


def kind_of(check: Check, evidence: Evidence, verdict: Verdict) -> Kind | None:
    """What one difference is.

    float64 decides, and so do arrays that must be the same bits (weights, inputs). A difference that is outside its
    bound in float32 alone is rounding if float64 shrinks it as it shrinks rounding. Free runs are rounding as long as
    every judged update is.
    """
    if check.max_abs == 0 and check.ok is not False:
        return None
    if check.ok is False:
        if check.precision == "float64" or check.limit == 0.0:
            return "semantic"
        bits = evidence.scaling(Key(check.phase, check.node, check.tensor), check.step)["bits"]
        return "rounding" if bits is not None and ROUNDING_BITS[0] <= bits <= ROUNDING_BITS[1] else "semantic"
    return "rounding" if check.ok or verdict == "equal" else None


def undecided_reasons(evidence: Evidence) -> list[str]:
    """What is missing for a verdict."""
    reasons = []
    judged = {check.precision for check in evidence.checks if check.limit == LIMIT}
    for precision in ("float32", "float64"):
        if evidence.structure is None and precision not in judged:
            reasons.append(f"nothing was judged in {precision}")
    if evidence.structure is None and MIXED in (evidence.left.precision, evidence.right.precision):
        reasons.append(
            f"{MIXED} is not certified: no bound on the rounding of a product in bfloat16 is proven, so its run was "
            "recorded and not judged. What the spec means was judged in float64 and float32, and every check agrees; "
            "for a verdict, compare with --set precision=float32"
        )
    if evidence.undefined:
        reasons.append(
            f"{evidence.undefined} values are not finite in the float64 reference either, or do not fit into float32, "
            "so they could not be judged; lower the learning rate or scale the inputs"
        )
    if evidence.runs is not None and evidence.left.precision == "float64":
        facts = evidence.runs.facts
        parted = facts.get("examples", 0) - facts.get("same_class", 0)
        if parted:
            reasons.append(
                f"the stored weights give other classes for {parted} held-back examples, although every judged update "
                "agrees; were both runs trained with this version?"
            )
    return reasons


def deviating(evidence: Evidence, check: Check) -> Deviates:
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
