"""``docs/fault-benchmark.md`` and the tables of the terminal, from the outcomes of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.faults.figures import Alarms, Figures, alarms, figures, grouped, overhead, power, split
from benchmarks.faults.outcome import UNKNOWN, Outcome
from benchmarks.faults.work import repeat

HEADINGS = ("", "cases", "detected", "right place", "right cause", "unknown", "wrong cause")
CURVE_HEADINGS = ("fault", "magnitude", "cases", "detected", "right cause")


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [
        "| " + " | ".join(headings) + " |",
        "|" + "|".join("---" if i == 0 else "---:" for i in range(len(headings))) + "|",
    ]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def part(count: int, of: int) -> str:
    """A count with its share."""
    return f"{count} ({count / of:.1%})" if of else "0"


def row(name: str, of: Figures) -> tuple[str, ...]:
    """One line of figures."""
    counts = (of.detected, of.placed, of.right, of.unknown, of.wrong)
    return name, str(of.cases), *(part(count, of.cases) for count in counts)


def plain_row(name: str, of: Figures) -> tuple[str, ...]:
    """The same without shares."""
    return name, *map(str, (of.cases, of.detected, of.placed, of.right, of.unknown, of.wrong))


def document(outcomes: Sequence[Outcome], environment: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        outcomes: Of a run of all cases.
        environment: Versions, for the first lines.
    """
    catalogue, outside, clean = split(outcomes)
    said = ", ".join(f"{name} {version}" for name, version in environment.items())
    parts = [
        "# The fault benchmark",
        _wrapped(
            "`python -m benchmarks.faults` puts known faults into pairs of native models and asks `dualml diff` about "
            "each: is there a difference, where does it begin, why? Beside them stand clean pairs, in which there is "
            "nothing to find. Every pair is checked without dualml first (`--verify`): a faulty side computes "
            "something else than its sound twin, and clean pairs agree in plain float64 training. This page is "
            "generated from the results (`--document`); nothing in it is written by hand."
        ),
        said + ".",
        "## Figures",
        table(
            HEADINGS,
            [row("faults of the catalogue", figures(catalogue)), row("faults outside the catalogue", figures(outside))],
        ),
        _wrapped(
            "A fault outside the catalogue has no cause id: `unknown` at the right place is the right answer, any id a "
            "wrong one. Right place: the first finding names the layer, the update and the rung of the ladder where "
            "the fault is."
        ),
        _alarms(alarms(clean)),
        _overhead(overhead(outcomes)),
        _others(outcomes),
        "## By network",
        table(HEADINGS, [plain_row(name, figures(group)) for name, group in grouped(catalogue, "family").items()]),
        "## By cause",
        table(
            HEADINGS,
            [plain_row(f"`{name}`", figures(group)) for name, group in sorted(grouped(catalogue, "cause").items())],
        ),
        "## How small a fault is found",
        _wrapped(
            "Magnitudes are relative to the right value where the curve says so. float32 rounds at 6e-8: a comparison "
            "of float32 values with a tolerance cannot get below that."
        ),
        table(CURVE_HEADINGS, curve_rows(catalogue)),
        "## Every case that is not as it should be",
        misses(outcomes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def curve_rows(outcomes: Sequence[Outcome]) -> list[tuple[Any, ...]]:
    """The power curves, a point a line."""
    points = power(outcomes)
    return [(point.curve, f"{point.magnitude:.1e}", point.cases, point.detected, point.right) for point in points]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)


def _alarms(of: Alarms) -> str:
    return (
        f"Clean pairs: {of.cases}; equal {of.equal}, false alarms {of.different}, undecided {of.undecided}, "
        f"no report {of.errors}."
    )


def _overhead(of: Mapping[str, float]) -> str:
    if not of:
        return ""
    return _wrapped(
        f"A comparison takes {of['seconds']:.2g} s (median), {of['times']:.3g} times as long as three plain updates of "
        "both sides: every rung runs in both precisions, and every array is held against the reference."
    )


def _others(outcomes: Sequence[Outcome]) -> str:
    extra = sum(bool(item.extra) for item in outcomes if not item.clean)
    present = [item for item in outcomes if not item.error and not item.clean]
    missing = sum(bool(item.missing) for item in present)
    return (
        f"Reports with a further finding that nothing put in explains: {extra}.\n"
        f"Reports that leave out what the stock layers of the two frameworks do otherwise: {missing}."
    )


def wrong_with(item: Outcome) -> str:
    """What is wrong with an outcome, in a few words; empty if nothing is."""
    if item.error:
        return f"no report: {item.error}"
    if item.good:
        return ""
    first = next(iter(item.found), None)
    where = (
        ""
        if first is None
        else f"{first.cause} at step {first.step}, {first.phase}, {first.names[0]} | {first.names[1]}"
    )
    if item.clean:
        return f"false alarm: {where}" if item.found else f"clean, but {item.verdict}"
    if item.named == "missed":
        return f"missed; the verdict is {item.verdict}"
    said = []
    if item.named != "right" and not (item.cause == UNKNOWN and item.named == UNKNOWN):
        said.append(f"cause {item.named}")
    if not item.placed:
        said.append("wrong place")
    if not item.detected:
        said.append(f"the verdict is {item.verdict}")
    if item.extra:
        said.append(f"further findings: {', '.join(item.extra)}")
    return f"{'; '.join(said)}: {where}"


def misses(outcomes: Sequence[Outcome]) -> str:
    """A list of everything that is not as it should be, with the command that repeats it."""
    lines = [
        f"- `{item.id}`: {said.replace('|', '<->')}\n  `{repeat(item.id)}`"
        for item in sorted(outcomes, key=lambda item: item.id)
        if (said := wrong_with(item))
    ]
    return "\n".join(lines) if lines else "None."
