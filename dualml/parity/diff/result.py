"""From what was measured to findings, a verdict and a report."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

import dualml
from dualml.native.forms import rows
from dualml.native.reading import Reading
from dualml.parity.diff.configurations import configurations
from dualml.parity.diff.engine import Comparison
from dualml.parity.diff.forms import held_otherwise, part_of_them
from dualml.parity.diff.ledger import Ledger
from dualml.parity.diff.merge import found
from dualml.parity.diff.pairs import Matched
from dualml.parity.diff.run import Run
from dualml.parity.findings import Finding, LayerPair, LayerSide, NativeComparison, Trajectory
from dualml.parity.judge import LIMIT
from dualml.parity.records import Key
from dualml.parity.report import Check, Report, Verdict
from dualml.parity.verdict import NOT_CHECKED, ROUNDING_BITS


def report(comparison: Comparison, names: tuple[str, str], replay: str, seconds: float) -> Report:
    """Decide, and put everything into a report.

    Args:
        comparison: A finished comparison.
        names: What the user calls the sides, or nothing.
        replay: The command that repeats it.
        seconds: How long it took.
    """
    run, ledger = comparison.run, comparison.ledger
    assert run is not None, "the comparison has run"
    float32_only(ledger)
    findings = found(run, ledger)
    reasons = undecided_reasons(run, ledger, findings, comparison.trajectories)
    verdict: Verdict = "different" if findings else "undecided" if reasons else "equal"
    first = findings[0] if findings else None
    if ledger.silent_rate is not None:
        ledger.notes.append(silent_rate(ledger, ledger.silent_rate))
    gaps = [check.max_abs for check in ledger.checks]
    scaling = (
        ledger.scaling() if first is None else ledger.scaling(first.step, Key(first.phase, first.node, first.tensor))
    )
    return Report(
        verdict=verdict,
        kind="semantic" if first is not None else "rounding" if any(gap > 0 for gap in gaps) else None,
        first_divergence=None if first is None else place_of(first),
        deviates=None if first is None else first.deviates,
        cause=None if first is None else first.cause,
        checks=tuple(ledger.checks),
        coverage=coverage(comparison),
        precision_scaling=scaling,
        largest=largest(ledger),
        held_back=comparison.predictions,
        environment=environment(run, names),
        replay=replay,
        seconds=seconds,
        reasons=tuple(reasons) if verdict == "undecided" else (),
        native=NativeComparison(
            findings=tuple(findings),
            pairs=tuple(layer_pairs(comparison, run)),
            weights=comparison.weights,
            matched=matched_weights(run),
            unmatched=unmatched(run),
            configurations=configurations(run.left.model, run.right.model),
            trajectories=tuple(comparison.trajectories),
        ),
    )


def silent_rate(ledger: Ledger, check: Check) -> str:
    """What would part the two as soon as the learning rate changes."""
    explain = ledger.explanations.get((check.step, Key(check.phase, check.node, check.tensor)))
    cause = explain().cause.id if explain is not None else "unknown"
    return (
        f"the optimizers do the same as long as the learning rate stays, and part when it changes ({cause}); neither "
        "side has a schedule of its own, so this is no difference between the two as they are"
    )


def place_of(finding: Finding) -> dict[str, Any]:
    """A first divergence as the report holds it."""
    return {"step": finding.step, "phase": finding.phase, "node": finding.node, "tensor": finding.tensor}


def float32_only(ledger: Ledger) -> None:
    """Checks that fail in float32 alone and shrink as rounding does: another algorithm's rounding, no difference."""
    lenient = [check for check in ledger.checks if check.ok is False and check.kind == "rounding"]
    for check in lenient:
        ledger.skip(
            f"a certified bound for {check.node} ({check.phase}) in float32",
            f"its rounding is {check.units:.2g} times the bound, as fast algorithms' is; in float64 it is within it",
        )
    ledger.checks = [check if check not in lenient else Check(**{**vars(check), "ok": None}) for check in ledger.checks]


def undecided_reasons(
    run: Run, ledger: Ledger, findings: list[Finding], trajectories: Sequence[Trajectory]
) -> list[str]:
    """What is missing for a verdict."""
    reasons = []
    judged = {check.precision for check in ledger.checks if check.limit == LIMIT and check.units is not None}
    for precision in ("float64", "float32"):
        if precision not in judged:
            reasons.append(f"nothing was judged against the reference in {precision}")
    if ledger.undefined:
        reasons.append(
            f"{ledger.undefined} values are not finite in the float64 reference either, or do not fit into float32, so "
            "they could not be judged; scale the inputs or check the weights for NaN"
        )
    for _, key in sorted(ledger.wrong_reference):
        reasons.append(f"{key.node} ({key.phase} {key.tensor}): both sides agree and the reference does not; report it")
    for check in ledger.doubtful[:3]:
        measured = ledger.scaling(check.step, Key(check.phase, check.node, check.tensor))["bits"]
        said = "not defined" if measured is None else f"{measured:.1f} bits"
        reasons.append(
            f"{check.node} ({check.phase} {check.tensor}) has no certified bound, and precision scaling leaves it open "
            f"(S = {said}; rounding is 29, a real difference 0): kinks or ties may do that"
        )
    if not findings and any("training" in item["what"] or "recorded" in item["why"] for item in ledger.skipped):
        reasons += free_run_reasons(trajectories)
    missing = [item.name for item in run.matching.pairs if item.meant is None]
    if missing and not findings:
        reasons.append(f"{', '.join(missing)} could not be compared; say what they stand for in a mapping file (--map)")
    return reasons


def free_run_reasons(trajectories: Sequence[Trajectory]) -> list[str]:
    """Where not every layer could be judged, both sides running freely must part as rounding takes them apart."""
    last = {item.precision: item.gap[-1] for item in trajectories}
    one, two = last.get("float32", 0.0), last.get("float64", 0.0)
    if not two or not one:
        return []
    measured = math.log2(one / two) if math.isfinite(one) and math.isfinite(two) else 0.0
    if measured >= ROUNDING_BITS[0]:
        return []
    return [
        f"after {len(trajectories[0].steps)} updates the outputs are {two:.1e} apart in float64, which rounding does "
        f"not explain (S = {measured:.1f} bits), and not every layer could be judged in training"
    ]


def coverage(comparison: Comparison) -> dict[str, Any]:
    """How much was compared, and what was not."""
    ledger = comparison.ledger
    judged = [check for check in ledger.checks if check.ok is not None]
    skipped = list(ledger.skipped)
    if ledger.ties:
        skipped.append(
            {
                "what": f"{ledger.ties} gradients at kinks and ties",
                "why": "several values are right there: frameworks choose by convention",
            }
        )
    run = comparison.run
    if run is not None and run.objectives.bare:
        skipped.append(
            {"what": "loss, optimizer, training steps", "why": "not both sides have a loss (dualml.Trainable)"}
        )
    return {
        "compared": len({(check.precision, check.phase, check.node, check.tensor) for check in judged}),
        "checks": len(judged),
        "steps": {
            precision: {"free": last, "judged": list(full)}
            for precision, (last, full) in comparison.judged_steps.items()
        },
        "skipped": [*skipped, *NOT_CHECKED],
        "notes": [*ledger.notes, *(run.objectives.notes if run is not None else ())],
    }


def largest(ledger: Ledger) -> dict[str, dict[str, float]]:
    """The largest differences of the free runs, by precision."""
    found_: dict[str, dict[str, float]] = {}
    names = {"prediction": "predictions", "loss": "loss"}
    for check in ledger.checks:
        if check.run == "free" and check.phase in names and check.tensor == "free run":
            of = found_.setdefault(check.precision, {})
            of[names[check.phase]] = max(of.get(names[check.phase], 0.0), check.max_abs)
    return found_


def environment(run: Run, names: tuple[str, str]) -> dict[str, Any]:
    """Versions of everything that took part."""
    sides: dict[str, Any] = {
        side.name: {"backend": side.model.framework, "name": name, "versions": side.model.versions()}
        for side, name in zip(run.sides, names, strict=True)
    }
    return {
        "dualml": dualml.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        **sides,
        "precision": "float64",
        "device": "cpu",
    }


def layer_pairs(comparison: Comparison, run: Run) -> list[LayerPair]:
    """The layers of both sides, side by side."""
    pairs = []
    for matched in run.matching.pairs:
        local = {name: found_[matched.name] for name, found_ in comparison.local.items() if matched.name in found_}
        gaps = {name: item[matched.name] for name, item in comparison.accumulated.items() if matched.name in item}
        pairs.append(
            LayerPair(
                tuple(_layer(run.left.reading, run.left.trace.values, name) for name in matched.pair.left),
                tuple(_layer(run.right.reading, run.right.trace.values, name) for name in matched.pair.right),
                matched.pair.how,
                local,
                gaps,
                status(comparison.ledger, matched),
            )
        )
    return pairs


def status(ledger: Ledger, matched: Matched) -> Literal["equal", "different", "not judged"]:
    """What the checks of a pair say."""
    checks = [item for item in ledger.checks if item.node == matched.name and item.run != "free"]
    judged = [item.ok for item in checks if item.ok is not None and item.phase in ("forward", "backward", "buffers")]
    if not judged:
        return "not judged"
    return "equal" if all(judged) else "different"


def _layer(reading: Reading, values: Any, name: str) -> LayerSide:
    place = reading.places[name]
    shape = tuple(values[place.value].shape)
    if not place.calls:
        return LayerSide(name, reading.graph.by_name[name].operation, "", "", shape)
    call = place.calls[-1]
    return LayerSide(call.name, call.native, call.code, call.where, shape, dict(call.settings), tuple(call.unsaid))


def matched_weights(run: Run) -> tuple[tuple[str, str, str], ...]:
    """Pairs of weights by their native names."""
    left, right = run.left.reading.weights, run.right.reading.weights
    elsewhere = part_of_them(run)
    found = {(left[name], right[other]): "" for name, other in run.matching.weights.items() if name not in elsewhere}
    for item in held_otherwise(run):
        for name, other, how in rows(item):
            said = found.get((left[name], right[other]), "")
            found[left[name], right[other]] = f"{said}, {how}" if said and how not in said else how
    return tuple((name, other, how) for (name, other), how in found.items())


def unmatched(run: Run) -> tuple[str, ...]:
    """What could not be matched or read."""
    said = list(run.alignment.unmatched)
    for side in run.sides:
        said += [f"{side.name}: {note}" for note in side.reading.notes]
    return tuple(dict.fromkeys(said))
