"""One number fitted to recorded arrays in float64, and the known number it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dualml.protocol import Array
from dualml.reference.rounding import Float

Formula = Callable[[float], Float]
"""The array that a value gives; may raise ``ValueError`` for a value it does not allow."""

MOST_STEPS = 40
"""Newton steps; near a solution each doubles the number of digits."""

SLOW = 0.999
"""A step that leaves more of the error than this does not lead to a solution, near which steps converge at once."""

DIGITS = 4
"""Digits of a number that somebody may have written; more are taken for a fit to something else."""


def fitted(formula: Formula, recorded: Array, starts: Sequence[float], *, positive: bool = False) -> float | None:
    """The number for which a formula comes nearest to an array, by the Gauss-Newton method.

    ``t <- t + <f', y - f(t)> / <f', f'>`` with a central difference for ``f'``.

    Args:
        formula: What a number gives.
        recorded: The array.
        starts: Where to start: the one with the least error.
        positive: Whether the number is above 0; the fit is then one of its logarithm.

    Returns:
        The number, or ``None`` if the formula does not depend on it or nothing was found.
    """
    target = np.asarray(recorded, dtype=np.float64)

    def at(place: float) -> Float | None:
        with np.errstate(all="ignore"):
            try:
                value = formula(math.exp(place) if positive else place)
            except (ValueError, OverflowError):
                return None
        return value if value.shape == target.shape and np.isfinite(value).all() else None

    def error(place: float) -> float:
        value = at(place)
        return math.inf if value is None else float(np.sum(np.square(target - value)))

    places = [math.log(start) if positive else start for start in starts if start > 0 or not positive]
    if not places:
        return None
    best = min(places, key=error)
    least = error(best)
    for _ in range(MOST_STEPS):
        width = 1e-4 if positive else 1e-4 * max(abs(best), 1e-3)
        value, above, below = at(best), at(best + width), at(best - width)
        if value is None or above is None or below is None:
            break
        slope = (above - below) / (2.0 * width)
        size = float(np.sum(np.square(slope)))
        if size == 0.0:
            return None
        step = float(np.sum(slope * (target - value))) / size
        if positive:
            step = max(min(step, 4.0), -4.0)
        while error(best + step) > least and abs(step) > 1e-16 * max(abs(best), 1.0):
            step /= 2.0
        found = error(best + step)
        if not found < least:
            break
        stuck = found > SLOW * least
        best, least = best + step, found
        if stuck:
            break
    if not math.isfinite(least):
        return None
    return math.exp(best) if positive else best


def written(value: float, known: Iterable[float] = ()) -> list[float]:
    """What somebody may have written who meant a fitted number: known ones near it, then few digits first."""
    near = sorted((item for item in known if _near(item, value)), key=lambda item: abs(item - value))
    shorter = [float(f"{value:.{digits}e}") for digits in range(DIGITS)]
    return list(dict.fromkeys([*near, *shorter]))


def _near(item: float, value: float) -> bool:
    """Within a few per cent: the nearer decides, and the trial whether it is it."""
    return abs(item - value) <= 0.05 * max(abs(item), abs(value)) or abs(item - value) < 1e-12
