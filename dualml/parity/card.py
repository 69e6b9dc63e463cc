"""The card: what a comparison found, in a dozen lines."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from dualml.metrics.text import shown
from dualml.parity import native_card
from dualml.parity.judge import LIMIT
from dualml.parity.report import Report, worst

LABEL = 19
"""Columns of the labels on the left."""


def card(report: Report, width: int | None = None) -> str:
    """The report as text for a terminal.

    Args:
        report: What was found.
        width: Columns; ``None``: the terminal's, or 120 where there is none.
    """
    columns = shutil.get_terminal_size((120, 24)).columns if width is None else width
    return "\n".join(_wrapped(line, max(columns, 2 * LABEL)) for line in _lines(report))


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent=" " * LABEL, break_long_words=False, break_on_hyphens=False)


def _line(label: str, text: str) -> str:
    return f"{label:<{LABEL}}{text}"


def _lines(report: Report) -> Iterator[str]:
    left, right = report.environment["left"], report.environment["right"]
    if report.native is not None:
        head = f"dualml diff: {report.verdict.upper()}    {_name(left)} <-> {_name(right)}    float32 + float64"
        yield f"{head}    {report.seconds:.1f} s"
        yield from (_line(label, text) for label, text in native_card.lines(report, report.native))
        return
    precision = report.environment["precision"]
    others = " + ".join(other for other in ("float64", "float32") if other != precision)
    yield (
        f"dualml compare: {report.verdict.upper()}    {_name(left)} <-> {_name(right)}    "
        f"{precision} + {others}    {report.seconds:.1f} s"
    )
    first = report.first_divergence
    if first is not None:
        yield _line("first divergence", _first(report, first))
        yield _line("deviates", _deviates(report))
    yield _line("compared", _compared(report))
    for name, values in report.largest.items():
        free = report.coverage["steps"][name]["free"]
        gaps = ", ".join(f"{what} within {value:.1e}" for what, value in sorted(values.items(), reverse=True))
        yield _line(name, f"{gaps} over {free:,} free-running steps")
    yield _line("kind", _kind(report))
    for values in report.held_back.values():
        yield _line("held-back data", _held_back(values))
    if report.runs is not None:
        yield _line("stored weights", _runs(report.runs))
    if report.cause is not None:
        confirmed = "CONFIRMED  " if report.cause.confirmed else ""
        yield _line("cause", f"{confirmed}{report.cause.id}")
        yield _line("evidence", report.cause.evidence)
        for text in report.cause.fix.values():
            yield _line("fix", text)
    for reason in report.reasons:
        yield _line("undecided because", reason)
    for number, item in enumerate(report.coverage["skipped"]):
        yield _line("not checked" if number == 0 else "", f"{item['what']}: {item['why']}")
    yield _line("replay", report.replay)


def _name(side: dict[str, Any]) -> str:
    versions = side.get("versions", {})
    version = versions.get(side["backend"]) or next(iter(versions.values()), "")
    return f"{side['backend']} {version}".strip()


def _first(report: Report, first: dict[str, Any]) -> str:
    failing = report.failures
    place = f"step {first['step']} · {first['phase']} · {first['node']} {first['tensor']}"
    if not failing:
        return place
    units = failing[0].units
    rho = "" if units is None or failing[0].limit != LIMIT else f"    rho {units:.1e} (limit {LIMIT:g})"
    return f"{place}    max_abs {failing[0].max_abs:.1e}{rho}    and {len(failing) - 1} later checks"


def _deviates(report: Report) -> str:
    failing = report.failures
    if report.deviates == "unknown" or not failing:
        return "not a matter of one side: each was asked for something else"
    check = failing[0]
    name = report.environment.get(report.deviates or "", {}).get("backend", report.deviates)
    return f"{name} (rho {check.left:.1e} left, {check.right:.1e} right, against the float64 reference)"


def _compared(report: Report) -> str:
    rho = worst(report.checks)
    judged = {name: len(steps["judged"]) for name, steps in report.coverage["steps"].items()}
    steps = ", ".join(f"{count} steps in {name}" for name, count in judged.items())
    failed = len(report.failures)
    if rho is not None and failed == 0:
        rho = math.floor(1000 * rho) / 1000  # 0.9996 is not 1
    text = f"{report.coverage['compared']} tensors, {report.coverage['checks']} checks ({steps} judged in full)"
    if rho is not None and report.deviates != "unknown":  # with two specs, rho measures the specs
        text += f", worst rho {rho:.3g} (limit {LIMIT:g})"
    return f"{text}, {failed} fail" if failed else text


def _kind(report: Report) -> str:
    scaling = report.precision_scaling
    bits = scaling.get("bits")
    if report.kind == "semantic" and bits is None:
        return "real"
    if report.kind is None:
        return "none: every bit is the same"
    measured = f"S = {bits:.1f} bits; 29 is rounding, 0 a real difference" if bits is not None else "S not defined"
    both = f"{scaling['float32']:.1e} in float32, {scaling['float64']:.1e} in float64"
    return f"{'real' if report.kind == 'semantic' else report.kind}: {both} ({measured})"


def _held_back(values: dict[str, Any] | Any) -> str:
    parts = [f"{values['examples']:,} examples: predictions within {values['max_abs']:.1e}"]
    if "same_class" in values:
        parts.append(f"same class on {values['same_class']:,}")
    for name in sorted(values["left"], key=lambda name: (name != "loss", name)):
        left, right = values["left"][name], values["right"][name]
        if not isinstance(left, list):
            parts.append(f"{name} {shown(left)} | {shown(right)}")
    return ", ".join(parts)


def _runs(runs: Any) -> str:
    parts = [f"within {max(runs['weights'].values(), default=float('inf')):.1e} of each other"]
    if "predictions" in runs:
        parts.append(f"predictions within {runs['predictions']:.1e}")
    if "same_class" in runs:
        parts.append(f"same class on {runs['same_class']:,} of {runs['examples']:,}")
    return ", ".join(parts)
