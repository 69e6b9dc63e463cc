"""The layers of both sides beside each other, with what each adds (local) and what has gathered (accumulated)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dualml.parity.findings import LayerPair, LayerSide
from dualml.parity.html.ladder import Cell
from dualml.parity.html.markup import Html, Section, element, folded, row, table
from dualml.parity.html.numbers import NOTHING, count, rho, shape, short
from dualml.parity.html.verdict import sides
from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES
from dualml.parity.report import Check, Report

PRECISIONS = ("float64", "float32")
MOST_ROWS = 600
"""Rows of the table; more would make the page slow."""
SIGNS = {"equal": "✓", "different": "✕", "not judged": "·"}
DECADES = (-17.0, 2.0)
"""Powers of ten between which the bars of accumulated differences run: float64's roundoff and plainly wrong."""


def layers(report: Report) -> Section | None:
    """Pairs of layers, or the nodes of a spec."""
    if report.native is None:
        return _nodes(report)
    pairs = report.native.pairs
    if not pairs:
        return None
    left, right = sides(report)
    shown = pairs[:MOST_ROWS]
    used = [name for name in PRECISIONS if any(name in pair.local or name in pair.accumulated for pair in pairs)]
    head = [
        element("th", element("span", "status", class_="unseen"), scope="col"),
        element("th", left, scope="col", class_="left"),
        element("th", "paired by", scope="col"),
        element("th", right, scope="col", class_="right"),
        *(element("th", "local rho", element("small", name), scope="col", class_="number") for name in used),
        *(element("th", "accumulated", element("small", name), scope="col") for name in used),
    ]
    rows = []
    before: tuple[str, ...] = ("", "")
    for pair in shown:
        rows.append(_pair(pair, used, before))
        before = tuple(
            _folder(side[0].name) if side else kept for side, kept in zip((pair.left, pair.right), before, strict=True)
        )
    different = sum(pair.status == "different" for pair in pairs)
    lead = (
        f"{count(len(pairs), 'pair')}, {different} different. Local rho judges each layer on its own inputs "
        f"(limit {LIMIT:g}), so a fault shows where it is made; the accumulated difference is that of the free forward "
        "pass, so it also shows in every layer behind. Open a layer for its code and what it leaves to defaults."
    )
    note = None
    if len(pairs) > len(shown):
        note = element("p", f"{len(pairs) - len(shown)} more pairs are in the JSON report.", class_="note")
    body = Html(table(head, rows, caption="Layers of both sides", class_="layers") + (note or ""))
    return Section("layers", "Layers", lead, body)


def _folder(name: str) -> str:
    return name.rpartition(".")[0]


def _pair(pair: LayerPair, used: list[str], before: tuple[str, ...]) -> Html:
    status = element(
        "td",
        element("span", SIGNS[pair.status], aria_hidden="true"),
        element("span", pair.status, class_="unseen"),
        class_="status",
        title=pair.status,
    )
    return row(
        status,
        _side(pair.left, "left", before[0]),
        element("td", pair.how, class_="how"),
        _side(pair.right, "right", before[1]),
        *(_local(pair.local.get(name)) for name in used),
        *(_accumulated(pair.accumulated.get(name)) for name in used),
        class_=pair.status.replace(" ", "-"),
    )


def _side(items: tuple[LayerSide, ...], class_: str, folder: str) -> Html:
    if not items:
        return element("td", element("span", "nothing on this side", class_="absent"))
    return element("td", *(_layer(item, folder) for item in items), class_=f"layer {class_}-line")


def _layer(layer: LayerSide, folder: str) -> Html:
    parent, _, own = layer.name.rpartition(".")
    path = element("span", f"{parent}.", class_="parent" + (" same" if parent == folder else "")) if parent else None
    depth = layer.name.count(".")
    facts = [
        ("written", element("code", layer.code) if layer.code else None),
        ("called at", element("code", layer.where) if layer.where else None),
        ("output", shape(layer.shape) if layer.shape else None),
        ("left to defaults", element("code", ", ".join(layer.unsaid)) if layer.unsaid else None),
    ]
    told = [part for label, text in facts if text for part in (element("dt", label), element("dd", text))]
    name = [path, element("strong", own), " ", element("span", layer.native, class_="native")]
    if not told:
        return element("div", *name, class_="lone", style=f"--depth:{min(depth, 4)}")
    return folded(name, element("dl", *told, class_="facts"), style=f"--depth:{min(depth, 4)}")


def _local(units: tuple[float, float] | None) -> Html:
    if units is None:
        return element("td", NOTHING, class_="number none")
    parts = [
        element("span", rho(value), class_="bad" if not value <= LIMIT else None, title=f"{name} side")
        for name, value in zip(("left", "right"), units, strict=True)
    ]
    return element("td", parts[0], element("span", " | ", class_="against"), parts[1], class_="number both")


def _accumulated(value: float | None) -> Html:
    if value is None:
        return element("td", NOTHING, class_="none")
    size = 1.0 if not math.isfinite(value) else 0.0
    if math.isfinite(value) and value > 0:
        size = min(1.0, max(0.02, (math.log10(value) - DECADES[0]) / (DECADES[1] - DECADES[0])))
    bar = element("span", class_="bar", style=f"--size:{size:.3f}", aria_hidden="true")
    return element("td", element("span", short(value), class_="figure"), bar, class_="gathered")


def _nodes(report: Report) -> Section | None:
    """The nodes of a spec: the worst rho of each on each rung."""
    judged = [check for check in report.checks if check.ok is not None]
    found: dict[tuple[str, str, str], list[Check]] = {}
    for check in judged:
        found.setdefault((check.node, check.phase, check.precision), []).append(check)
    phases = [phase for phase in PHASES if phase not in ("init", "input") and any(phase == key[1] for key in found)]
    nodes = _in_order(judged)
    if not phases or not nodes:
        return None
    lead = "The worst rho of each node on each rung, over all judged steps."
    blocks = []
    for precision in PRECISIONS:
        rows = []
        for node in nodes[:MOST_ROWS]:
            cells = [found.get((node, phase, precision)) for phase in phases]
            if any(cells):
                rows.append(
                    row(element("th", element("code", node), scope="row"), *(_node_cell(item) for item in cells))
                )
        if rows:
            headings = ["node", *(element("th", phase, scope="col", class_="number") for phase in phases)]
            shown = table(headings, rows, caption=f"Worst rho of each node in {precision}", class_="ladder")
            blocks.append(element("div", element("h3", precision), shown))
    return Section("layers", "Nodes", lead, element("div", *blocks, class_="pair wide"))


def _in_order(checks: Iterable[Check]) -> list[str]:
    """The nodes in the order in which the forward pass runs them, then the others."""
    forward: dict[str, None] = {}
    others: dict[str, None] = {}
    for check in checks:
        (forward if check.phase == "forward" else others)[check.node] = None
    return list(forward | others)


def _node_cell(checks: list[Check] | None) -> Html:
    if not checks:
        return element("td", NOTHING, class_="none")
    cell = Cell(tuple(checks))
    said = f"{cell.worst.tensor} at step {cell.worst.step}, {count(len(checks), 'check')}"
    return element("td", cell.text, class_=f"cell {cell.shade}", title=said)
