"""Both sides running freely: how far apart they are at each step, and how far rounding alone may take them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dualml.parity.findings import Trajectory
from dualml.parity.html.markup import Html, Section, element
from dualml.parity.html.numbers import short
from dualml.parity.html.verdict import sides
from dualml.parity.report import Report
from dualml.parity.side import PROBE

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 38
"""Margins around the plot."""
MOST_POINTS = 400
"""Points of a line; a longer run is thinned evenly, its last step kept."""
MOST_TICKS = 6


def trajectories(report: Report) -> Section | None:
    """A plot of the gap for each precision, and one of the losses where they are known."""
    items = report.native.trajectories if report.native is not None else free_runs(report)
    items = tuple(item for item in items if item.steps)
    if not items:
        return None
    names = sides(report)
    plots = [plot for item in items for plot in _plots(item, names)]
    lead = (
        "Both sides train from the same weights, each with its own results. The line is the largest difference of "
        "their predictions for held-back examples."
    )
    if any(item.envelope is not None for item in items):
        lead += (
            " The shaded envelope is the largest difference between twins of the left side whose first weights are one "
            "unit in the last place apart: inside it, a gap is what rounding alone does."
        )
    return Section("trajectory", "Trajectory", lead, element("div", *plots, class_="pair plots"))


def free_runs(report: Report) -> tuple[Trajectory, ...]:
    """The free runs of a spec's report: the gap of the predictions for the probe at each step."""
    gaps: dict[str, dict[int, float]] = {}
    for check in report.checks:
        if check.run == "free" and check.phase == "prediction" and check.tensor == PROBE:
            steps = gaps.setdefault(check.precision, {})
            steps[check.step] = max(steps.get(check.step, 0.0), check.max_abs)
    ordered = sorted(gaps.items(), reverse=True)
    return tuple(
        Trajectory(name, tuple(sorted(steps)), tuple(steps[step] for step in sorted(steps))) for name, steps in ordered
    )


def _plots(item: Trajectory, names: tuple[str, str]) -> list[Html]:
    kept = _thinned(len(item.steps))
    steps = [item.steps[index] for index in kept]
    gap = [item.gap[index] for index in kept]
    envelope = None if item.envelope is None else [item.envelope[index] for index in kept]
    said = f"largest difference in {item.precision}: {short(item.gap[-1])} at step {item.steps[-1]}"
    if item.envelope is not None:
        outside = sum(one > two for one, two in zip(item.gap, item.envelope, strict=True))
        said += f"; outside the envelope at {outside} of {len(item.steps)} steps"
    plots = [_figure(f"{item.precision}: difference of the predictions", said, _gap_plot(steps, gap, envelope))]
    left, right = item.losses
    if left and right:
        both = [left[index] for index in kept], [right[index] for index in kept]
        told = f"loss at the last step in {item.precision}: {short(left[-1])} and {short(right[-1])}"
        legend = [
            element("span", names[0], class_="key left"),
            element("span", names[1], class_="key right"),
        ]
        plots.append(_figure(f"{item.precision}: loss", told, _loss_plot(steps, *both), legend))
    return plots


def _thinned(length: int) -> list[int]:
    if length <= MOST_POINTS:
        return list(range(length))
    return sorted({round(index * (length - 1) / (MOST_POINTS - 1)) for index in range(MOST_POINTS)})


def _figure(title: str, said: str, drawing: list[Html], legend: list[Html] | None = None) -> Html:
    svg = element("svg", element("title", said), *drawing, role="img", viewBox=f"0 0 {WIDTH} {HEIGHT}")
    return element(
        "figure", element("figcaption", title, legend), svg, element("p", said, class_="note"), class_="plot"
    )


def _across(steps: Sequence[int]) -> Callable[[int], float]:
    first, last = steps[0], steps[-1]
    wide = WIDTH - LEFT - RIGHT
    return lambda step: LEFT + (wide / 2 if first == last else wide * (step - first) / (last - first))


def _gap_plot(steps: list[int], gap: list[float], envelope: list[float] | None) -> list[Html]:
    """On a logarithmic scale; zeros lie on the lowest line, what is not finite on the highest."""
    values = [value for value in (*gap, *(envelope or ())) if 0 < value < math.inf]
    low = math.floor(math.log10(min(values))) - 1 if values else -17
    high = math.ceil(math.log10(max(values))) if values else 0
    high = max(high, low + 2)
    tall = HEIGHT - TOP - BOTTOM

    def up(value: float) -> float:
        place = low if value <= 0 else math.log10(value) if math.isfinite(value) else high
        return TOP + tall * (high - min(max(place, low), high)) / (high - low)

    every = max(1, math.ceil((high - low) / MOST_TICKS))
    ticks = [(10.0**power, "0" if power == low else f"1e{power}") for power in range(low, high + 1, every)]
    across = _across(steps)
    drawing = _axes(steps, [(up(value), text) for value, text in ticks])
    if envelope is not None:
        upper = [(across(step), up(value)) for step, value in zip(steps, envelope, strict=True)]
        if len(upper) == 1:
            upper = [(LEFT, upper[0][1]), (WIDTH - RIGHT, upper[0][1])]
        floor = TOP + tall
        corners = [*upper, (upper[-1][0], floor), (upper[0][0], floor)]
        drawing.append(element("polygon", points=_points(corners), class_="envelope"))
    return [*drawing, *_line([(across(step), up(value)) for step, value in zip(steps, gap, strict=True)], "gap")]


def _loss_plot(steps: list[int], left: list[float], right: list[float]) -> list[Html]:
    values = [value for value in (*left, *right) if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high == low:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    tall = HEIGHT - TOP - BOTTOM
    across = _across(steps)

    def up(value: float) -> float:
        return TOP + tall * (high - (value if math.isfinite(value) else high)) / (high - low)

    ticks = [low + (high - low) * part / 4 for part in range(5)]
    drawing = _axes(steps, [(up(value), short(value)) for value in ticks])
    for values_of, class_ in ((left, "left"), (right, "right")):
        drawing += _line([(across(step), up(value)) for step, value in zip(steps, values_of, strict=True)], class_)
    return drawing


def _axes(steps: list[int], ticks: list[tuple[float, str]]) -> list[Html]:
    drawn = []
    for height, text in ticks:
        drawn.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{height:.1f}", y2=f"{height:.1f}", class_="rule"))
        drawn.append(element("text", text, x=LEFT - 8, y=f"{height + 4:.1f}", text_anchor="end"))
    across = _across(steps)
    count = min(len(steps), MOST_TICKS)
    shown = sorted({steps[round(index * (len(steps) - 1) / max(1, count - 1))] for index in range(count)})
    for step in shown:
        drawn.append(element("text", step, x=f"{across(step):.1f}", y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
    drawn.append(element("text", "step", x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end", class_="axis"))
    return drawn


def _points(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _line(corners: list[tuple[float, float]], class_: str) -> list[Html]:
    drawn = [element("polyline", points=_points(corners), class_=f"curve {class_}")]
    if len(corners) <= 24:
        drawn += [element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.6, class_=f"dot {class_}") for x, y in corners]
    return drawn
