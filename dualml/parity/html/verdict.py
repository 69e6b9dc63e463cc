"""The head of the page: the verdict, what it comes from in a sentence, and the card of the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dualml.parity.card import LABEL, card
from dualml.parity.html.markup import Html, copyable, element
from dualml.parity.html.numbers import rho, setting
from dualml.parity.report import Report, worst

UNBROKEN = 1_000_000
"""Columns in which no line of the card is wrapped."""
CODE = ("fix", "replay")
"""Lines of the card that are to be typed."""
ICONS = {
    "equal": "M5 12.5l4.5 4.5L19 7.5",
    "different": "M6 6l12 12M18 6L6 18",
    "undecided": "M12 6.5v7M12 17.4v.2",
}
"""Lines of the sign beside the verdict: a tick, a cross, an exclamation mark."""


def sides(report: Report) -> tuple[str, str]:
    """What each side is called: by its framework; where both have the same, by the user's name for it or its place."""
    left, right = (report.environment[side]["backend"] for side in ("left", "right"))
    if left != right:
        return left, right
    names = (report.environment[side].get("name") or side for side in ("left", "right"))
    one, two = (f"{name} ({left})" for name in names)
    return (one, two) if one != two else (f"left {one}", f"right {two}")


def named(report: Report, side: str | None) -> str:
    """A side of a report by name; ``both`` and ``unknown`` stay as they are."""
    names = dict(zip(("left", "right"), sides(report), strict=True))
    return names.get(side or "", side or "unknown")


def versioned(side: dict[str, Any]) -> str:
    """A side with the versions of its packages, and what the user calls it."""
    versions = side.get("versions", {})
    text = ", ".join(f"{package} {version}" for package, version in versions.items()) or str(side["backend"])
    return f"{side['name']}: {text}" if side.get("name") else text


def command(report: Report) -> str:
    """Which command makes such a report."""
    return "dualml compare" if report.native is None else "dualml diff"


def answer(report: Report) -> str:
    """The verdict in a sentence."""
    if report.verdict == "undecided":
        return f"Not decided: {report.reasons[0]}." if report.reasons else "Not decided."
    if report.verdict == "equal":
        if report.kind is None:
            return "Both sides compute the same: every bit is the same."
        largest = worst(report.checks)
        bound = "" if largest is None else f" The largest is {rho(largest)} of what correct rounding may reach."
        return f"Both sides compute the same: every difference is rounding.{bound}"
    cause, first = report.cause, report.first_divergence
    place = ""
    if first is not None:
        found = report.native.findings[:1] if report.native is not None else ()
        node = found[0].names[0] if found and found[0].names[0] else first["node"]
        place = f" First seen at step {first['step']}, {first['phase']}, {node}."
    if cause is None or cause.id == "unknown":
        kind = "real" if report.kind == "semantic" else "beyond what correct rounding can do in this precision"
        return f"The difference is {kind}; no known cause explains it.{place}"
    if cause.left is None and cause.right is None:
        return f"{cause.id}.{place}"
    left, right = sides(report)
    return f"{cause.id}: {setting(cause.left)} in {left}, {setting(cause.right)} in {right}.{place}"


def card_lines(report: Report) -> Iterator[tuple[str, str]]:
    """The lines of the card behind its first: label and text; a line without a label goes on with the one before."""
    for line in card(report, UNBROKEN).splitlines()[1:]:
        label, text = line[:LABEL].strip(), line[LABEL:].strip()
        if text:
            yield label, text


def head(report: Report) -> Html:
    """The head of the page."""
    left, right = report.environment["left"], report.environment["right"]
    icon = Html(
        '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/>'
        f'<path d="{ICONS[report.verdict]}"/></svg>'
    )
    precision = report.environment["precision"]
    ran = " and ".join([precision, *(other for other in ("float64", "float32") if other != precision)])
    return element(
        "header",
        element("p", command(report), class_="overline"),
        element("h1", icon, report.verdict.capitalize(), class_=f"verdict {report.verdict}"),
        element("p", answer(report), class_="answer"),
        element(
            "p",
            element("span", versioned(left), class_="side left"),
            element("span", "against", class_="against"),
            element("span", versioned(right), class_="side right"),
            element("span", f"{ran} · {report.seconds:.1f} s", class_="meta"),
            class_="sides",
        ),
        id="top",
    )


def _parts(report: Report, label: str, text: str) -> list[str]:
    """What is to be typed in a line of the card: each fix by itself, where a line holds several."""
    fixes = report.cause.fix.values() if label == "fix" and report.cause is not None else ()
    return [fix for fix in fixes if fix in text] or [text]


def card_panel(report: Report) -> Html:
    """The card."""
    lines: list[Html] = []
    for label, text in card_lines(report):
        if label:
            lines.append(element("dt", label))
        told: Any = text
        if label in CODE:
            told = [copyable(part, f"the {label}") for part in _parts(report, label, text)]
        lines.append(element("dd", told, class_="warn" if label in ("first divergence", "undecided because") else None))
    return element("section", element("dl", *lines, class_="card"), aria_label="Summary")
