"""The step ladder: for each rung and each judged step the worst rho, so that the first red cell is the first fault."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dualml.parity.html.markup import Html, Section, element, row, table
from dualml.parity.html.numbers import NOTHING, count, rho, short
from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES
from dualml.parity.report import Check, Report

RUNGS = {
    "init": "weights before training",
    "input": "the batch",
    "forward": "every layer's output",
    "loss": "value and each example's",
    "backward": "every gradient",
    "update": "weights after the step",
    "state": "the optimizer's memory",
    "buffers": "running statistics",
    "prediction": "what the user sees",
}
"""What each rung compares."""


@dataclass(frozen=True)
class Cell:
    """The checks of one rung and step.

    Attributes:
        checks: Those that are judged.
    """

    checks: tuple[Check, ...]

    @property
    def failing(self) -> tuple[Check, ...]:
        """Those that fail."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def worst(self) -> Check:
        """The one with the largest rho, a failing one before the others."""
        return max(self.failing or self.checks, key=lambda check: _size(check.units))

    @property
    def text(self) -> str:
        """What the cell says."""
        if self.worst.limit == 0.0:
            return "≠ bits" if self.failing else "= bits"
        return rho(self.worst.units)

    @property
    def shade(self) -> str:
        """Class of its colour: ``fine-0`` to ``fine-3`` below the limit, ``off-0`` to ``off-2`` above."""
        size = _size(self.worst.units)
        if self.failing:
            return "off-2" if self.worst.limit == 0.0 or size > 1e4 else "off-1" if size > 10 else "off-0"
        return "fine-3" if size > 0.5 else "fine-2" if size > 0.1 else "fine-1" if size > 0 else "fine-0"


def _size(units: float | None) -> float:
    return 0.0 if units is None else math.inf if math.isnan(units) else units


def cells(checks: Iterable[Check]) -> dict[tuple[str, str, int], Cell]:
    """The judged checks by precision, phase and step."""
    found: dict[tuple[str, str, int], list[Check]] = {}
    for check in checks:
        if check.ok is not None:
            found.setdefault((check.precision, check.phase, check.step), []).append(check)
    return {key: Cell(tuple(items)) for key, items in found.items()}


def ladder(report: Report) -> Section | None:
    """The ladder of each precision; ``None`` if nothing was judged."""
    found = cells(report.checks)
    if not found:
        return None
    steps = sorted({step for _, _, step in found})
    phases = [phase for phase in PHASES if any(phase == item for _, item, _ in found)]
    precisions = sorted({precision for precision, _, _ in found}, reverse=True)  # float64, which decides, first
    target = "#findings" if report.native is not None and report.native.findings else "#checks"
    failing = report.failures
    first = (failing[0].precision, failing[0].phase, failing[0].step) if failing else None
    ladders = [_ladder(precision, phases, steps, found, first, target) for precision in precisions]
    lead = (
        "Rungs in the order in which an error travels, one column for each judged step; each cell holds the worst rho "
        f"of its checks. Up to {LIMIT:g} is certified rounding; “= bits” means arrays that must be and are the same."
    )
    return Section("ladder", "Step ladder", lead, element("div", *ladders, class_="pair wide"), "Ladder")


def _ladder(
    precision: str,
    phases: Sequence[str],
    steps: Sequence[int],
    found: dict[tuple[str, str, int], Cell],
    first: tuple[str, str, int] | None,
    target: str,
) -> Html:
    headings = [
        element("th", "rung", scope="col"),
        *(element("th", step or "start", scope="col", class_="number") for step in steps),
    ]
    rows = []
    for phase in phases:
        head = element("th", phase, element("small", RUNGS.get(phase, "")), scope="row")
        rows.append(
            row(
                head,
                *(
                    _cell(found.get((precision, phase, step)), (precision, phase, step) == first, target)
                    for step in steps
                ),
            )
        )
    total = sum(len(cell.checks) for key, cell in found.items() if key[0] == precision)
    failing = sum(len(cell.failing) for key, cell in found.items() if key[0] == precision)
    said = f"{count(total, 'check')}, {failing:,} outside" if failing else f"{count(total, 'check')}, all inside"
    return element(
        "div",
        element("h3", precision, element("small", said)),
        table(headings, rows, caption=f"Worst rho by rung and step in {precision}", class_="ladder"),
    )


def _cell(cell: Cell | None, first: bool, target: str) -> Html:
    if cell is None:
        return element("td", NOTHING, class_="none")
    worst = cell.worst
    said = (
        f"{worst.node} {worst.tensor}: rho {rho(worst.units)}, largest difference {short(worst.max_abs)}; "
        f"{len(cell.failing)} of {count(len(cell.checks), 'check')} outside"
    )
    content = element("a", cell.text, href=target, title=said) if cell.failing else cell.text
    unseen = element("span", " first divergence", class_="unseen") if first else None
    return element("td", content, unseen, class_=f"cell {cell.shade}{' first' if first else ''}", title=said)
