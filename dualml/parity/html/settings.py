"""What both sides are set to, and which of it was never said: the defaults of a framework."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dualml.parity.findings import LayerPair
from dualml.parity.html.markup import Html, Section, element, folded, row, table
from dualml.parity.html.numbers import setting
from dualml.parity.html.verdict import sides
from dualml.parity.report import Report, plain

Row = tuple[str, Any, Any, str]
"""Setting, left, right, which sides leave it unsaid."""
MOST_ROWS = 500


def settings(report: Report) -> Section | None:
    """The settings of loss, optimizer and loop, and those in which paired layers differ."""
    if report.native is None:
        return None
    rows = [*report.native.configurations, *layer_differences(report.native.pairs)]
    if not rows:
        return None
    differing = [item for item in rows if not same(item[1], item[2])]
    equal = [item for item in rows if same(item[1], item[2])]
    names = sides(report)
    blocks: list[Html] = []
    if differing:
        blocks.append(_table(differing[:MOST_ROWS], names, "Settings that differ"))
    else:
        blocks.append(element("p", "No setting differs.", class_="note"))
    if equal:
        title = f"{len(equal)} settings are the same on both sides"
        blocks.append(folded(title, _table(equal[:MOST_ROWS], names, "Settings that are the same")))
    lead = "“default” marks a value that nobody wrote down: it is what that framework takes if nothing is said."
    return Section("settings", "Settings", lead, element("div", *blocks))


def same(left: Any, right: Any) -> bool:
    """Whether two values of a setting are the same, whatever holds them.

    A list, a tuple and an array are alike, and a number stands for as many equal ones as the other side has.

    Example:
        >>> same([1, 1], 1), same((2, 3), [2, 3]), same(True, 1), same("same", "valid")
        (True, True, False, False)
    """
    one, two = plain(left), plain(right)
    for each, other in ((one, two), (two, one)):
        if isinstance(each, list) and each and not isinstance(other, list):
            return all(same(item, other) for item in each)
    return bool(one == two) and isinstance(one, bool) == isinstance(two, bool)


def layer_differences(pairs: Iterable[LayerPair]) -> Iterable[Row]:
    """Settings in which two paired layers differ; layers that are read as different things have no common settings."""
    for pair in pairs:
        if len(pair.left) != 1 or len(pair.right) != 1:
            continue
        left, right = pair.left[0], pair.right[0]
        place = left.name if left.name == right.name else f"{left.name} ↔ {right.name}"
        for name in left.settings:
            if name not in right.settings or same(left.settings[name], right.settings[name]):
                continue
            unsaid = [side for side, layer in (("left", left), ("right", right)) if name in layer.unsaid]
            yield (f"{place}: {name}", left.settings[name], right.settings[name], " and ".join(unsaid))


def _table(rows: Iterable[Row], names: tuple[str, str], caption: str) -> Html:
    headings = [
        "setting",
        element("th", names[0], scope="col", class_="left"),
        element("th", names[1], scope="col", class_="right"),
    ]
    drawn = []
    for name, left, right, unsaid in rows:
        by_left, by_right = unsaid_by(unsaid, names)
        drawn.append(
            row(
                element("th", name, scope="row"),
                element("td", _value(left, unsaid=by_left)),
                element("td", _value(right, unsaid=by_right)),
                class_=None if same(left, right) else "differs",
            )
        )
    return table(headings, drawn, caption=caption, class_="settings")


def unsaid_by(told: str, names: tuple[str, str]) -> tuple[bool, bool]:
    """Which sides leave a setting unsaid: ``left``, ``right``, ``both``, or the sides' own names."""
    words = told.split()
    return (
        bool({"both", "left", names[0]} & set(words)),
        bool({"both", "right", names[1]} & set(words)),
    )


def _value(value: Any, *, unsaid: bool) -> Html:
    tag = element("span", "default", class_="badge plain", title="not written down: the framework's default")
    return Html(element("code", setting(value)) + (" " + tag if unsaid else ""))
