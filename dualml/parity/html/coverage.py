"""What was compared and what was not, the checks nearest to their limits, the weights' mapping, the environment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dualml.parity.html.markup import Html, Section, copyable, element, folded, row, table
from dualml.parity.html.numbers import count, rho, setting, short
from dualml.parity.html.verdict import sides, versioned
from dualml.parity.judge import LIMIT
from dualml.parity.report import Check, Report

MOST_OPEN = 15
MOST_FAILING = 100
MOST_NEAR = 20
"""Checks shown of those that fail, at once and when asked for, and of those that hold."""
MOST_WEIGHTS = 300


def checks(report: Report) -> Section | None:
    """The checks that fail, and of the others those nearest to the limit."""
    judged = [check for check in report.checks if check.ok is not None]
    if not judged:
        return None
    failing = report.failures
    near = sorted(
        (check for check in judged if check.ok and check.units is not None and check.limit == LIMIT),
        key=lambda check: -(check.units or 0.0),
    )[:MOST_NEAR]
    names = sides(report)
    parts: list[Html] = []
    if failing:
        first = _checks(failing[:MOST_OPEN], names, "Checks that fail, the first divergence first")
        parts += [element("h3", f"{count(len(failing), 'check')} outside"), first]
        later = failing[MOST_OPEN:MOST_FAILING]
        if later:
            parts.append(folded(f"{len(later)} later ones", _checks(later, names, "Later checks that fail")))
        if len(failing) > MOST_FAILING:
            left_out = count(len(failing) - MOST_FAILING, "more check")
            parts.append(element("p", f"{left_out} in the JSON report.", class_="note"))
    if near:
        inside = _checks(near, names, "Checks that hold, the largest rho first")
        title = f"The {len(near)} nearest to the limit of those that hold"
        parts.append(folded(title, inside, open=not failing))
    lead = f"{count(len(judged), 'check')} judged; rho is the error in units of what correct rounding may reach there."
    return Section("checks", "Checks", lead, element("div", *parts))


def _checks(items: Iterable[Check], names: tuple[str, str], caption: str) -> Html:
    headings = [
        element("th", "step", scope="col", class_="number"),
        "rung",
        "node",
        "tensor",
        "precision",
        element("th", f"rho {names[0]}", scope="col", class_="number left"),
        element("th", f"rho {names[1]}", scope="col", class_="number right"),
        element("th", "largest difference", scope="col", class_="number"),
    ]
    rows = [
        row(
            element("td", check.step, class_="number"),
            check.phase,
            element("th", element("code", check.node), scope="row"),
            element("td", element("code", check.tensor)),
            check.precision,
            *(_rho(value, check.limit) for value in (check.left, check.right)),
            element("td", short(check.max_abs), class_="number"),
        )
        for check in items
    ]
    return table(headings, rows, caption=caption)


def _rho(value: float | None, limit: float | None) -> Html:
    outside = value is not None and (math.isnan(value) or (limit is not None and value > limit))
    return element("td", rho(value), class_="number bad" if outside else "number")


def coverage(report: Report) -> Section:
    """How much was compared, what was left out and why, how the weights were paired."""
    found = report.coverage
    facts = [("compared", f"{count(found.get('compared', 0), 'tensor')}, {count(found.get('checks', 0), 'check')}")]
    for precision, steps in found.get("steps", {}).items():
        judged = ", ".join(map(str, steps.get("judged", ()))) or "none"
        facts.append((precision, f"steps judged in full: {judged}; free run of {count(steps.get('free', 0), 'step')}"))
    known = {"compared", "checks", "steps", "skipped", "notes"}
    facts += [(name.replace("_", " "), setting(value)) for name, value in found.items() if name not in known]
    native = report.native
    if native is not None:
        facts.append(("weights", f"{native.weights}; {count(len(native.matched), 'pair')} matched"))
    parts: list[Html | None] = [_facts(facts)]
    reasons = [*report.reasons, *(native.unmatched if native is not None else ())]
    if reasons:
        parts += [
            element("h3", "Could not be judged or matched"),
            element("ul", *(element("li", text) for text in reasons)),
        ]
    if found.get("notes"):
        parts += [element("h3", "Notes"), element("ul", *(element("li", text) for text in found["notes"]))]
    skipped = found.get("skipped", ())
    if skipped:
        rows = [row(element("th", item["what"], scope="row"), item["why"]) for item in skipped]
        parts += [element("h3", "Not checked"), table(["what", "why"], rows, caption="What was not checked, and why")]
    if native is not None and native.matched:
        rows = [
            row(element("td", element("code", left)), element("td", element("code", right)), how)
            for left, right, how in native.matched[:MOST_WEIGHTS]
        ]
        names = sides(report)
        shown = table([names[0], names[1], "layout"], rows, caption="Weights that stand for each other")
        parts.append(folded(f"{count(len(native.matched), 'pair')} of weights", shown))
    return Section("coverage", "Coverage", "Nothing is skipped silently.", element("div", *parts))


def environment(report: Report) -> Section:
    """Versions of everything that took part, and the command that repeats it."""
    facts: list[tuple[str, Any]] = []
    for side, name in zip(("left", "right"), sides(report), strict=True):
        found: Mapping[str, Any] = report.environment[side]
        facts.append((name, versioned(dict(found))))
        facts += [
            (f"{name}: {key}", setting(value))
            for key, value in found.items()
            if key not in ("backend", "versions", "name")
        ]
    facts += [(name, setting(value)) for name, value in report.environment.items() if name not in ("left", "right")]
    parts = [_facts(facts)]
    if report.replay:
        parts.insert(0, copyable(report.replay, "the command"))
    return Section(
        "environment", "Environment", "The command that makes this report, and what it ran on.", element("div", *parts)
    )


def _facts(facts: Iterable[tuple[str, Any]]) -> Html:
    return element(
        "dl", *(part for label, text in facts for part in (element("dt", label), element("dd", text))), class_="facts"
    )
