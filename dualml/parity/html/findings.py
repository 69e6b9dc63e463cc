"""The findings: each independent difference with its cause, its evidence, its fixes and what else was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dualml.parity.findings import Finding, Hypothesis
from dualml.parity.html.markup import Html, Section, copyable, element, folded, row, table
from dualml.parity.html.numbers import NOTHING, count, rho, setting, short
from dualml.parity.html.tensors import tensor_view
from dualml.parity.html.verdict import named, sides
from dualml.parity.judge import LIMIT
from dualml.parity.report import Cause, Report

MOST_FINDINGS = 40
"""Findings shown in full; the others are in the JSON report."""
MOST_VIEWS = 12
"""Findings whose arrays are drawn."""


def findings(report: Report) -> Section | None:
    """Every finding; of a spec's report its cause, where it has one."""
    if report.native is None:
        if report.cause is None:
            return None
        body = element("article", *_cause(report.cause, report), class_="finding")
        return Section("findings", "Cause", "Why the sides differ, and what makes them equal.", body)
    found = report.native.findings
    if not found:
        return None
    shown = [_finding(index, item, report) for index, item in enumerate(found[:MOST_FINDINGS])]
    left_out = len(found) - len(shown)
    note = element("p", f"{count(left_out, 'more finding')} in the JSON report.", class_="note") if left_out else None
    lead = (
        "Each is a difference that no earlier one explains: after one is explained, the search goes on as if it were "
        "mended."
    )
    title = "Finding" if len(found) == 1 else f"{len(found)} findings"
    return Section("findings", title, lead, Html(element("div", *shown) + (note or "")), "Findings")


def _finding(index: int, finding: Finding, report: Report) -> Html:
    left, right = sides(report)
    place = element(
        "p",
        element("span", f"step {finding.step} · {finding.phase} · {finding.tensor}"),
        element("span", finding.names[0] or "nothing", class_="left"),
        element("span", "↔", aria_label="against", class_="against"),
        element("span", finding.names[1] or "nothing", class_="right"),
        class_="place",
    )
    real = finding.kind == "semantic"
    bits = "S is not defined: one of the differences is 0" if finding.bits is None else f"S = {finding.bits:.1f} bits"
    deviates = {"both": "both sides", "unknown": "cannot be told"}.get(
        finding.deviates, named(report, finding.deviates)
    )
    rows = [
        (
            "deviates",
            element("strong", deviates, class_=finding.deviates if finding.deviates in ("left", "right") else None),
        ),
        (
            "rho",
            [
                element("span", f"{left} ", _rho(finding.rho[0])),
                ", ",
                element("span", f"{right} ", _rho(finding.rho[1])),
                f" (limit {LIMIT:g}, in {finding.precision})",
            ],
        ),
        ("largest difference", short(finding.max_abs)),
        ("kind", f"{'real' if real else 'rounding'}; {bits} (29 is rounding, 0 a real difference)"),
    ]
    facts = element(
        "dl", *(part for label, told in rows for part in (element("dt", label), element("dd", told))), class_="facts"
    )
    alternatives = None
    if finding.alternatives:
        names = ", ".join(finding.alternatives)
        alternatives = element("p", "This comparison cannot tell it from: ", element("code", names), ".", class_="note")
    view = None
    if finding.view is not None and index < MOST_VIEWS:
        view = [element("h4", "Where the arrays differ"), tensor_view(finding.view, (left, right))]
    return element(
        "article",
        *_cause(finding.cause, report, f"{index + 1}", place),
        facts,
        alternatives,
        hypothesis_table(finding.hypotheses, (left, right)) if finding.hypotheses else None,
        view,
        class_="finding",
        id=f"finding-{index + 1}",
    )


def _rho(value: float) -> Html:
    if math.isnan(value):
        return element("b", "no certified bound")
    return element("b", rho(value), class_="bad" if not value <= LIMIT else "good")


def _cause(cause: Cause, report: Report, number: str = "", place: Html | None = None) -> list[Html | None]:
    """The cause in words: heading, place, both values, evidence, fixes."""
    state = "confirmed" if cause.confirmed else "not known" if cause.id == "unknown" else "not confirmed"
    title = element(
        "h3",
        element("span", number, class_="index") if number else None,
        element("code", cause.id),
        element("span", state, class_=f"badge {'sure' if cause.confirmed else 'open'}"),
    )
    both = None
    if cause.left is not None or cause.right is not None:
        left, right = sides(report)
        both = element(
            "p",
            element("span", left, class_="left"),
            element("code", setting(cause.left)),
            element("span", right, class_="right"),
            element("code", setting(cause.right)),
            class_="values",
        )
    evidence = element("p", cause.evidence, class_="evidence") if cause.evidence else None
    return [title, place, both, evidence, fixes(cause.fix)]


def fixes(by_framework: Mapping[str, str]) -> Html | None:
    """What to write, for each side: either makes both equal."""
    if not by_framework:
        return None
    boxes = [
        element("div", element("h5", f"in {framework}"), copyable(code, f"the fix in {framework}"))
        for framework, code in by_framework.items()
    ]
    title = "Fix: either of these" if len(boxes) > 1 else "Fix"
    return element("div", element("h4", title), element("div", *boxes, class_="pair"), class_="fixes")


def hypothesis_table(hypotheses: Sequence[Hypothesis], names: tuple[str, str]) -> Html:
    """Everything that was tried; what was rejected is folded if something passes."""
    passing = [item for item in hypotheses if item.passes]
    rejected = sorted((item for item in hypotheses if not item.passes), key=lambda item: item.rho_after)
    title = element("h4", f"{count(len(hypotheses), 'hypothesis', 'hypotheses')} tried, {len(passing)} explain it")
    said = (
        "Each evaluates the reference again with one convention flipped; it explains the difference if rho falls to 1 "
        "or below."
    )
    parts: list[Html] = [title, element("p", said, class_="note")]
    if passing:
        parts.append(_hypotheses(passing, names, "Hypotheses that explain the difference"))
    if rejected:
        shown = _hypotheses(rejected, names, "Rejected hypotheses")
        parts.append(folded(f"{len(rejected)} rejected", shown, open=not passing) if passing else shown)
    return element("div", *parts, class_="hypotheses")


def _hypotheses(items: Sequence[Hypothesis], names: tuple[str, str], caption: str) -> Html:
    headings = [
        "cause",
        "says",
        element("th", names[0], scope="col", class_="left"),
        element("th", names[1], scope="col", class_="right"),
        element("th", "rho before", scope="col", class_="number"),
        element("th", "rho with it", scope="col", class_="number"),
        element("th", "fitted", scope="col", class_="number"),
    ]
    rows = [
        row(
            element("th", element("code", item.cause), scope="row"),
            item.said,
            element("td", setting(item.left)),
            element("td", setting(item.right)),
            element("td", rho(item.rho_before), class_="number"),
            element("td", _rho(item.rho_after), class_="number"),
            element("td", NOTHING if item.fitted is None else f"{item.fitted:.4g}", class_="number"),
        )
        for item in items
    ]
    return table(headings, rows, caption=caption)
