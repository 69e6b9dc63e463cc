"""Figures of a run: detection, place, causes, false alarms, overhead and the power curves."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.faults.outcome import UNKNOWN, Outcome


@dataclass(frozen=True)
class Figures:
    """Counts of one group of faulty cases.

    Attributes:
        cases: How many.
        detected: The verdict is ``different`` because of the fault.
        placed: The first finding is at the right node, step and rung.
        right: Its cause is the right one.
        wrong: Its cause is another one.
        unknown: Its cause is ``unknown``.
        errors: No report.
    """

    cases: int
    detected: int
    placed: int
    right: int
    wrong: int
    unknown: int
    errors: int


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """Count faulty cases."""
    return Figures(
        cases=len(outcomes),
        detected=sum(item.detected for item in outcomes),
        placed=sum(item.placed for item in outcomes),
        right=sum(item.named == "right" for item in outcomes),
        wrong=sum(item.named == "wrong" for item in outcomes),
        unknown=sum(item.named == UNKNOWN for item in outcomes),
        errors=sum(bool(item.error) for item in outcomes),
    )


@dataclass(frozen=True)
class Alarms:
    """Counts of clean pairs."""

    cases: int
    equal: int
    different: int
    undecided: int
    errors: int


def alarms(outcomes: Sequence[Outcome]) -> Alarms:
    """Count clean pairs by what was said of them; a finding in an ``equal`` report is an alarm as well."""
    loud = [item for item in outcomes if item.verdict == "different" or (item.found and not item.error)]
    return Alarms(
        cases=len(outcomes),
        equal=sum(item.verdict == "equal" and not item.found for item in outcomes),
        different=len(loud),
        undecided=sum(item.verdict == "undecided" and not item.found for item in outcomes),
        errors=sum(bool(item.error) for item in outcomes),
    )


def split(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome], list[Outcome]]:
    """Faults of the catalogue, faults outside it, clean pairs."""
    return (
        [item for item in outcomes if item.cause not in ("", UNKNOWN)],
        [item for item in outcomes if item.cause == UNKNOWN],
        [item for item in outcomes if item.clean],
    )


def grouped(outcomes: Sequence[Outcome], by: str) -> dict[str, list[Outcome]]:
    """By an attribute, in the order met."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for item in outcomes:
        found[getattr(item, by)].append(item)
    return dict(found)


@dataclass(frozen=True)
class Point:
    """One magnitude on a power curve."""

    curve: str
    magnitude: float
    cases: int
    detected: int
    right: int


def power(outcomes: Sequence[Outcome]) -> list[Point]:
    """Power curves: for each magnitude of each continuous fault how many were detected and rightly named."""
    found: dict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for item in outcomes:
        if item.curve and item.magnitude is not None:
            found[item.curve, float(f"{item.magnitude:.3g}")].append(item)
    return [
        Point(
            curve,
            magnitude,
            len(group),
            sum(item.detected for item in group),
            sum(item.named == "right" for item in group),
        )
        for (curve, magnitude), group in sorted(found.items(), key=lambda pair: (pair[0][0], -pair[0][1]))
    ]


def overhead(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Seconds of a comparison, and how many times as long as plain updates of both sides it takes (medians)."""
    timed = [item for item in outcomes if item.seconds > 0 and item.plain > 0]
    if not timed:
        return {}
    return {
        "seconds": statistics.median(item.seconds for item in timed),
        "plain": statistics.median(item.plain for item in timed),
        "times": statistics.median(item.seconds / item.plain for item in timed),
    }


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All figures as plain values."""
    catalogue, outside, clean = split(outcomes)
    return {
        "catalogue": vars(figures(catalogue)),
        "outside": vars(figures(outside)),
        "clean": vars(alarms(clean)),
        "extra_findings": sum(bool(item.extra) for item in (*catalogue, *outside)),
        "differences_of_stock_layers_not_found": sum(bool(item.missing) for item in outcomes if not item.error),
        "overhead": overhead(outcomes),
    }
