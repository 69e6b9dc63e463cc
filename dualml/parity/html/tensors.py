"""Where two arrays differ: heat maps of both and of their difference, and the numbers around the worst place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dualml.heat_map import DIVERGING_DARK, DIVERGING_LIGHT, address
from dualml.parity.findings import View
from dualml.parity.html.markup import Html, element, folded, table
from dualml.parity.html.numbers import shape, short

AROUND = 2
"""How many values on each side of the worst one are shown as numbers."""
WIDEST_CELL = 24
"""Pixels of one value in a heat map, at most."""

Grid = NDArray[np.float64]


def grid(values: object) -> Grid:
    """Nested lists as an array with two axes: one axis becomes a line, more than two are stacked.

    Text that stands for a number JSON cannot hold (``"inf"``) is read as that number.
    """
    array = np.asarray(values, dtype=np.float64)
    return np.atleast_2d(array) if array.ndim <= 2 else array.reshape(-1, array.shape[-1])


def gap(left: Grid, right: Grid) -> Grid:
    """``left - right``: 0 where both are the same, also if they are not finite."""
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, left - right)


def worst_place(difference: Grid) -> tuple[int, int] | None:
    """Where the shown values differ most; ``None`` if they nowhere do."""
    sizes = np.where(np.isfinite(difference), np.abs(difference), np.inf)
    if not sizes.size or sizes.max() == 0:
        return None
    line, column = np.unravel_index(int(sizes.argmax()), sizes.shape)
    return int(line), int(column)


def tensor_view(view: View, sides: tuple[str, str]) -> Html:
    """Heat maps and numbers of one view.

    Args:
        view: What is shown.
        sides: What each side is called.
    """
    left, right = grid(view.left), grid(view.right)
    facts = element(
        "dl",
        element("dt", "shape"),
        element("dd", f"{shape(view.shape)} (neutral layout: batch first, channels last)"),
        element("dt", f"worst in {sides[0]}"),
        element("dd", _valued(view.left_index, view.left_value), class_="left"),
        element("dt", f"worst in {sides[1]}"),
        element("dd", _valued(view.right_index, view.right_value), class_="right"),
        element("dt", "neutral index"),
        element("dd", element("code", _index(view.index))),
        class_="facts",
    )
    if left.shape != right.shape or not left.size:
        return element("div", facts, class_="tensor")
    difference = gap(left, right)
    place = worst_place(difference)
    exact = place is not None and (left[place], right[place]) == (view.left_value, view.right_value)
    said = "the worst value" if exact else "the largest difference among the values shown"
    limit = _limit(left, right)
    maps = element(
        "div",
        _map(sides[0], left, limit, place, "left"),
        _map(sides[1], right, limit, place, "right"),
        _map("difference", difference, _limit(difference), place, "gap"),
        class_="maps",
    )
    note = None
    if place is not None:
        odd = [element("span", class_="odd", aria_hidden="true"), " stands for NaN or infinity."]
        note = element(
            "p",
            element("span", class_="mark", aria_hidden="true"),
            f" marks {said}. ",
            None if np.isfinite([left, right]).all() else odd,
            class_="note",
        )
    numbers = None if place is None else folded(f"Numbers around {said}", _numbers(left, right, place, sides))
    return element("div", facts, maps, note, numbers, class_="tensor")


def _limit(*grids: Grid) -> float:
    finite = [np.abs(values[np.isfinite(values)]) for values in grids]
    return max((float(values.max()) for values in finite if values.size), default=0.0)


def _index(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]"


def _valued(index: tuple[int, ...], value: float) -> Html:
    return element("code", f"{_index(index)} = {value!r}")


def _map(title: str, values: Grid, limit: float, place: tuple[int, int] | None, class_: str) -> Html:
    height, width = values.shape
    mark = None
    if place is not None:
        where = (
            f"left:{100 * place[1] / width:.3f}%;top:{100 * place[0] / height:.3f}%;"
            f"width:{100 / width:.3f}%;height:{100 / height:.3f}%"
        )
        mark = element("span", class_="mark", style=where)
    said = f"Heat map of {title}: {height} by {width} values between {short(-limit)} and {short(limit)}"
    picture = element(
        "picture",
        element(
            "source", media="screen and (prefers-color-scheme: dark)", srcset=address(values, limit, DIVERGING_DARK)
        ),
        element("img", src=address(values, limit, DIVERGING_LIGHT), alt=said, width=width, height=height),
    )
    return element(
        "figure",
        element("figcaption", title, class_=class_),
        element("div", picture, mark, class_="map", style=f"max-width:{width * WIDEST_CELL}px"),
        element(
            "div",
            element("span", short(-limit)),
            element("span", class_="ramp", aria_hidden="true"),
            element("span", short(limit)),
            class_="scale",
        ),
    )


def _numbers(left: Grid, right: Grid, place: tuple[int, int], sides: tuple[str, str]) -> Html:
    line, column = place
    lines = range(max(0, line - AROUND), min(left.shape[0], line + AROUND + 1))
    columns = range(max(0, column - AROUND), min(left.shape[1], column + AROUND + 1))
    rows = []
    for at in lines:
        for name, values, class_ in ((sides[0], left, "left"), (sides[1], right, "right")):
            cells = [
                element("td", short(values[at, across]), class_="number worst" if (at, across) == place else "number")
                for across in columns
            ]
            head = element("th", at, scope="rowgroup", rowspan=2) if class_ == "left" else None
            rows.append(
                element("tr", head, element("th", name, scope="row", class_=class_), *cells, class_=class_ + "-line")
            )
    headings = [
        element("th", "line", scope="col"),
        element("th", "side", scope="col"),
        *(element("th", across, scope="col", class_="number") for across in columns),
    ]
    return table(headings, rows, caption="Values around the worst one, by line and column of the heat map")
