"""Why the two sides were not given the same inputs: scaled, standardised, axes or channels exchanged, other rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations

import numpy as np

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried, number
from dualml.parity.hypotheses.weights import copied
from dualml.protocol import Array
from dualml.reference.rounding import Float

AFFINE = {
    "divided by 255": (1.0 / 255.0, 0.0),
    "multiplied by 255": (255.0, 0.0),
    "scaled to [-1, 1] from [0, 255]": (1.0 / 127.5, -1.0),
    "scaled to [-1, 1] from [0, 1]": (2.0, -1.0),
    "scaled to [0, 1] from [-1, 1]": (0.5, 0.5),
    "scaled to [0, 255] from [-1, 1]": (127.5, 127.5),
    "divided by 256": (1.0 / 256.0, 0.0),
}
"""Known scalings: factor and offset."""

FEWEST_REPEATED = 4
"""Ids that must be met again: what is met once is always one to one."""

ROUNDINGS = 32.0
"""Roundings of a preprocessing, relative to the sizes of its terms: scaling, mean and deviation take a few."""


def explain_inputs(
    left: Array,
    right: Array,
    *,
    unit: float,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why the inputs of both sides differ.

    Args:
        left: What the left side was given, neutral axes, examples first.
        right: What the right side was given.
        unit: Unit roundoff of the precision they are in.
        deviates: Which side is taken for the one that is off.
        frameworks: Of left and right.
    """
    search = Search(deviates, frameworks)
    one, two = (left, right) if deviates == "right" else (right, left)
    one, two = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    before = copied(two, one, unit)
    return search.tried(
        [
            *_rows(search, one, two, unit),
            *_axes(search, one, two, unit),
            *_renumbered(search, left, right, one, two),
            *_known(search, one, two, unit),
            *_standardised(search, one, two, unit),
        ],
        before,
    )


def _rows(search: Search, one: Float, two: Float, unit: float) -> Iterator[Candidate]:
    """The same rows in another order, or fewer or more of them."""

    def ordered() -> float:
        if one.shape != two.shape:
            return math.inf
        return copied(_sorted(two), _sorted(one), unit)

    yield search.candidate("data.order", "the same rows in another order", "as given", "another order", ordered)
    short, long = sorted((one, two), key=len)

    def part() -> float:
        if len(one) == len(two) or one.shape[1:] != two.shape[1:]:
            return math.inf
        return copied(short, long[: len(short)], unit)

    said = f"{len(long) - len(short)} rows at the end are missing on one side"
    yield search.candidate("data.last_batch", said, len(one), len(two), part)

    def padded() -> float:
        rest = one != two if one.shape == two.shape else None
        if rest is None or len(one) < 2:
            return math.inf
        off = rest.reshape(len(one), -1).any(axis=1)
        start = int(np.argmax(off))
        tail = two[start:]
        same = not off[:start].any() and off[start:].all() and start > 0
        filled = (tail == 0).all() or (tail == tail[:1]).all() or (tail == two[: len(tail)]).all()
        return 0.0 if same and filled else math.inf

    yield search.candidate("data.last_batch", "the last rows are filled up", "as given", "padded", padded)


def _sorted(array: Float) -> Float:
    flat = array.reshape(len(array), -1)
    return flat[np.lexsort(flat.T[::-1])] if flat.size else flat


def _axes(search: Search, one: Float, two: Float, unit: float) -> Iterator[Candidate]:
    """Channels reversed (RGB and BGR), or axes exchanged."""
    cause = "input.preprocessing"
    if one.ndim > 1:

        def reverse() -> float:
            return copied(two, one[..., ::-1], unit)

        yield search.candidate(cause, "channels in reverse order", "RGB", "BGR", reverse)
    for axis in range(1, one.ndim - 1):

        def mirrored(axis: int = axis) -> float:
            return copied(two, np.flip(one, axis), unit)

        yield search.candidate(cause, f"axis {axis} mirrored", "as given", "mirrored", mirrored)
    if 2 < one.ndim <= 5:
        for order in permutations(range(1, one.ndim)):
            if order == tuple(range(1, one.ndim)):
                continue

            def moved(order: tuple[int, ...] = order) -> float:
                return copied(two, one.transpose(0, *order), unit)

            def reshaped(order: tuple[int, ...] = order) -> float:
                return copied(two, np.ascontiguousarray(one.transpose(0, *order)).reshape(one.shape), unit)

            said = f"axes in the order {list(order)}"
            yield search.candidate(cause, said, "as given", list(order), moved)
            yield search.candidate(
                cause, f"reshaped as if the axes were {list(order)}", "as given", list(order), reshaped
            )


def _renumbered(search: Search, left: Array, right: Array, one: Float, two: Float) -> Iterator[Candidate]:
    """Ids of another vocabulary: every id of one side is always the same other id on the other side."""
    if one.shape != two.shape or not all(np.issubdtype(np.asarray(item).dtype, np.integer) for item in (left, right)):
        return
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    count = pairs.shape[1]

    def one_to_one() -> float:
        apart = all(len(np.unique(side)) == count for side in pairs)
        return 0.0 if apart and one.size - count >= FEWEST_REPEATED else math.inf

    steps = np.unique(pairs[1] - pairs[0])
    said = f"every id plus {number(float(steps[0]))}" if len(steps) == 1 else "ids numbered in another way, one to one"
    yield search.candidate("input.preprocessing", said, "as given", said, one_to_one)


def _known(search: Search, one: Float, two: Float, unit: float) -> Iterator[Candidate]:
    for said, (factor, offset) in AFFINE.items():
        yield search.candidate(
            "input.preprocessing",
            said,
            "as given",
            said,
            partial(_affine_rest, one, two, np.asarray(factor), np.asarray(offset), unit),
        )


def _affine_rest(one: Float, two: Float, factor: Float, offset: Float, unit: float) -> float:
    """Rho of ``factor one + offset``: relative to the sizes of the terms."""
    if one.shape != two.shape:
        return math.inf
    size = np.abs(factor * one) + np.abs(offset)
    rest = np.abs(two - (factor * one + offset))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(rest == 0, 0.0, rest / (ROUNDINGS * unit * size))
    return float(found.max(initial=0.0)) if np.isfinite(found).all() else math.inf


def _standardised(search: Search, one: Float, two: Float, unit: float) -> Iterator[Candidate]:
    """A factor and an offset for everything, or for each channel, fitted: less a mean, over a deviation."""
    if one.shape != two.shape or one.ndim < 1 or not np.isfinite(two).all():
        return
    for said, axes in (
        ("standardised as a whole", tuple(range(one.ndim))),
        ("standardised channel by channel", tuple(range(one.ndim - 1))),
    ):
        if one.ndim == 1 and axes == ():
            continue
        values = int(np.prod([one.shape[axis] for axis in axes]))
        if values < 4:  # two numbers are fitted; fewer than four values would confirm anything
            continue
        factor, offset = _line(one, two, axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, deviation = -offset / factor, 1.0 / factor
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
            continue
        nice = _nice(mean), _nice(deviation)

        def trial(factor: Float = factor, offset: Float = offset) -> float:
            return _affine_rest(one, two, factor, offset, unit)

        def exact(nice: tuple[Float, Float] = nice) -> float:
            return _affine_rest(one, two, 1.0 / nice[1], -nice[0] / nice[1], unit)

        text = f"{said}: less {_shown(nice[0])}, over {_shown(nice[1])}"
        yield search.candidate("input.preprocessing", text, "as given", text, partial(_either, exact, trial))


def _line(one: Float, two: Float, axes: tuple[int, ...]) -> tuple[Float, Float]:
    """Least squares of ``two = factor one + offset``."""
    mean_one, mean_two = one.mean(axis=axes, keepdims=True), two.mean(axis=axes, keepdims=True)
    way = one - mean_one
    size = np.sum(way * way, axis=axes, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.sum(way * (two - mean_two), axis=axes, keepdims=True) / size
    return factor, mean_two - factor * mean_one


def _either(one: Callable[[], float], two: Callable[[], float]) -> float:
    return min(one(), two())


def _nice(values: Float) -> Float:
    """To three significant digits, as means and deviations are written."""
    return np.asarray(np.vectorize(lambda value: float(f"{float(value):.2e}"))(values), dtype=np.float64)


def _shown(values: Float) -> str:
    flat = [number(float(item)) for item in np.ravel(values)[:4]]
    return flat[0] if np.size(values) == 1 else f"[{', '.join(flat)}{', …' if np.size(values) > 4 else ''}]"
