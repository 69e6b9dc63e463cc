"""The card of ``dualml diff``: what was found about two native models, in a dozen lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from dualml.parity.findings import Finding, NativeComparison
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES
from dualml.parity.report import Report

Line = tuple[str, str]
"""Label and text."""

MOST_ALSO = 8
"""Further findings that get a line each."""
MOST_SKIPPED = 6
"""Reasons for what was not checked that get a line each."""
SAME = 3.0
"""Bits by which the gaps of float32 and float64 may differ to be called the same."""
CENSORED = 1e-300
"""A rho beyond its reciprocal is one against a bound of underflow alone, where every error is large."""


def lines(report: Report, native: NativeComparison) -> Iterator[Line]:
    """Labelled lines of the card, behind the headline.

    Args:
        report: What was found.
        native: What ``diff`` adds.
    """
    if native.findings:
        first, *more = native.findings
        yield from _first(report, first)
        yield "also", _count(more)
        alike = grouped(more)
        for group in alike[:MOST_ALSO]:
            yield "", also(group)
        if left_out := sum(map(len, alike[MOST_ALSO:])):
            yield "", f"and {left_out} more: --json or --html lists them"
    yield "compared", compared(report)
    yield "weights", weights(native)
    for name, values in report.held_back.items():
        yield f"outputs {name}", _outputs(values)
    for trajectory in native.trajectories:
        yield f"free run {trajectory.precision}", _free(trajectory)
    for reason in report.reasons:
        yield "undecided because", reason
    for number, text in enumerate(native.unmatched[:MOST_SKIPPED]):
        yield "not matched" if number == 0 else "", text
    for number, text in enumerate(report.coverage.get("notes", ())):
        yield "note" if number == 0 else "", text
    skipped = report.coverage["skipped"]
    for number, item in enumerate(skipped[:MOST_SKIPPED]):
        yield "not checked" if number == 0 else "", f"{item['what']}: {item['why']}"
    if len(skipped) > MOST_SKIPPED:
        yield "", f"and {len(skipped) - MOST_SKIPPED} more: --json lists them"
    if report.replay:
        yield "replay", report.replay


def _first(report: Report, finding: Finding) -> Iterator[Line]:
    yield "first divergence", f"step {finding.step} · {finding.phase} · {place(finding)}    rho {rho_of(finding)}"
    yield "upstream", upstream(report, finding)
    yield "deviates", deviates(report, finding)
    yield "kind", kind(finding)
    confirmed = "CONFIRMED  " if finding.cause.confirmed else ""
    yield "cause", f"{confirmed}{finding.cause.id}{_values(report, finding)}"
    yield "evidence", finding.cause.evidence
    fixes = list(finding.cause.fix.values())
    if fixes:
        yield "fix", "   or   ".join(fixes)


def place(finding: Finding) -> str:
    """Where a finding is, as both sides call it."""
    left, right = finding.names
    where = f"{left or 'nothing'} <-> {right or 'nothing'}" if left or right else finding.node
    return f"{where} {finding.tensor}" if finding.phase != "forward" else f"{where} ({finding.tensor})"


def rho_of(finding: Finding) -> str:
    """The larger rho of a finding, for people."""
    known = [value for value in finding.rho if not math.isnan(value)]
    if not known or math.isinf(max(known)):
        return f"none: the bits must be equal, max_abs {finding.max_abs:.1e}"
    largest = max(known)
    return f"> 1e300 (limit {LIMIT:g})" if largest * CENSORED > 1 else f"{largest:.1e} (limit {LIMIT:g})"


def upstream(report: Report, finding: Finding) -> str:
    """What was judged before the first finding and agrees."""
    position = finding.step, PHASES.index(finding.phase)
    before = [
        check
        for check in report.checks
        if check.ok is not None
        and check.precision == finding.precision
        and (check.step, PHASES.index(check.phase)) <= position
        and check.node != finding.node
    ]
    passing = [check for check in before if check.ok]
    worst = max((check.units for check in passing if check.units is not None and check.limit), default=0.0)
    return f"{len(passing)} of {len(before)} checks up to this rung agree, worst rho {agreeing(worst)}"


def agreeing(rho: float) -> str:
    """The rho of what agrees, rounded down: 0.9996 must not read as the limit."""
    digits = 2 if rho >= 0.1 else 1 - math.floor(math.log10(rho)) if rho > 0 else 0
    return f"{math.floor(rho * 10**digits) / 10**digits:.2g}"


def deviates(report: Report, finding: Finding) -> str:
    """Which side is off."""
    left, right = (report.environment[side]["backend"] for side in ("left", "right"))
    name = {"left": f"left, {left}", "right": f"right, {right}", "both": "both", "unknown": "not known"}[
        finding.deviates
    ]
    own = finding.rho[0]
    said = "" if math.isnan(own) else f" ({left} rho {own:.2g} against the reference of what it means)"
    return name + (said if finding.deviates == "right" else "")


def kind(finding: Finding) -> str:
    """Real, or rounding, with what precision scaling says."""
    if finding.bits is None:
        return "real: it is there in float64 as well"
    seen = "the same gap" if abs(finding.bits) < SAME else "a gap beyond its rounding"
    return f"real: float64 shows {seen} (S = {finding.bits + 0.0:.1f} bits; rounding would be 29)"


def _values(report: Report, finding: Finding) -> str:
    cause = finding.cause
    if cause.left is None and cause.right is None:
        return ""
    names = [report.environment[side]["backend"] for side in ("left", "right")]
    if names[0] == names[1]:
        names = ["left", "right"]
    values = shown(cause.right), shown(cause.left)
    if values[0] == values[1]:  # they differ behind the digits that are shown
        values = str(cause.right), str(cause.left)
    return f": {values[0]} ({names[1]}), {values[1]} ({names[0]})"


def shown(value: Any) -> str:
    """A setting as it is written."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _count(more: Sequence[Finding]) -> str:
    if not more:
        return "no other finding: with this one mended, everything judged agrees"
    return f"{len(more)} more finding{'s' if len(more) > 1 else ''}:"


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one cause with one fix in one phase together, in the order in which each first appears.

    What could not be named stays apart: two unknowns need not be one.
    """
    groups: dict[Any, list[Finding]] = {}
    for number, finding in enumerate(findings):
        named = finding.cause.id != UNKNOWN
        key = (finding.cause.id, finding.phase, *finding.cause.fix.values()) if named else number
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def also(group: Sequence[Finding]) -> str:
    """Further findings of one cause in a line."""
    finding, *more = group
    fixes = list(finding.cause.fix.values())
    fix = f"; fix: {fixes[0]}" if fixes else ""
    others = f"; as well {', '.join(item.names[0] or item.names[1] or item.node for item in more)}" if more else ""
    return f"{finding.cause.id}: step {finding.step} · {finding.phase} · {place(finding)}{others}{fix}"


def compared(report: Report) -> str:
    """How much was compared."""
    steps = ", ".join(
        f"{len(item['judged'])} step{'s' if len(item['judged']) > 1 else ''} in {name}"
        for name, item in report.coverage["steps"].items()
    )
    passing = [check.units for check in report.checks if check.ok and check.units is not None and check.limit]
    worst = f", worst agreeing rho {agreeing(max(passing))} (limit {LIMIT:g})" if passing else ""
    failing = sum(check.ok is False for check in report.checks)
    failed = f", {failed_text(failing)}" if failing else ""
    return f"{report.coverage['compared']} tensors, {report.coverage['checks']} checks ({steps}){worst}{failed}"


def failed_text(count: int) -> str:
    """How many checks fail."""
    return f"{count} fail{'s' if count == 1 else ''}"


def weights(native: NativeComparison) -> str:
    """What was done about the weights."""
    count = len(native.matched)
    if native.weights == "as they are":
        return f"{count} pairs compared as they are, bit for bit"
    return f"{count} pairs, {native.weights} to right (they had nothing in common, or it was asked for)"


def _outputs(values: Any) -> str:
    text = f"{values['examples']:,} examples: within {values['max_abs']:.1e} before training"
    return f"{text}, same class on {values['same_class']:,}" if "same_class" in values else text


def _free(trajectory: Any) -> str:
    text = f"outputs within {max(trajectory.gap):.1e} after {len(trajectory.steps)} steps"
    if trajectory.envelope is None:
        return text
    return f"{text}; rounding alone takes twins {max(trajectory.envelope):.1e} apart"
