"""The methods: each gives one number for each value of the inputs, in float64.

All of them compare with a baseline: inputs that stand for "nothing there". Points are computed in float64 and
rounded to the model's precision; sums are float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from dualml.explain.scored import Float, Scored, Targets
from dualml.protocol import Array, Arrays

Method: TypeAlias = Literal["integrated_gradients", "gradient_x_input", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)

Windows: TypeAlias = list[tuple[slice, ...]]


def integrated_gradients(
    scored: Scored, inputs: Arrays, baseline: Arrays, targets: Targets, *, steps: int = 64
) -> dict[str, Float]:
    """Integrated gradients (Sundararajan, Taly, Yan: "Axiomatic attribution for deep networks", ICML 2017).

    ``(x - b) * integral over a in [0, 1] of the gradient at b + a (x - b)``, by Gauss-Legendre quadrature. The
    values of an example add up to its score minus that of the baseline, but for the quadrature's error
    ("completeness").

    Args:
        scored: What is explained.
        inputs: Prepared inputs by name, each ``(examples, *shape)``. Whole numbers have no gradient: they stay as they
            are along the path.
        baseline: By name, each ``(examples, *shape)`` or ``(1, *shape)``; that of whole numbers is not used.
        targets: Which value of the output, shape ``(examples,)``.
        steps: Points of the quadrature.

    Returns:
        By name, for each input of values: the shape of the input.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places, weights = (nodes + 1.0) / 2.0, weights / 2.0
    starts, ways = _paths(scored, inputs, baseline)
    totals = {name: np.zeros(way.shape) for name, way in ways.items()}
    for pairs in _pieces(len(targets) * steps, scored.rows):
        example, step = np.divmod(pairs, steps)
        points = {name: array[example] for name, array in inputs.items()}
        for name, way in ways.items():
            moved = starts[name][example] + _columns(places[step], way) * way[example]
            points[name] = moved.astype(inputs[name].dtype)
        gradients = scored.gradients(points, targets[example])
        for name, way in ways.items():
            np.add.at(totals[name], example, _columns(weights[step], way) * gradients[name])
    return {name: way * totals[name] for name, way in ways.items()}


def gradient_x_input(scored: Scored, inputs: Arrays, baseline: Arrays, targets: Targets) -> dict[str, Float]:
    """``(x - b) * gradient at x``: what a straight line through the score at ``x`` would give each value.

    Arguments and result are those of ``integrated_gradients``.
    """
    _, ways = _paths(scored, inputs, baseline)
    gradients = scored.gradients(inputs, targets)
    return {name: way * gradients[name] for name, way in ways.items()}


@dataclass(frozen=True)
class Windowing:
    """What occlusion covers of one input at a time.

    Attributes:
        grid: The axes that windows move over; what is left of an example's values (channels) is covered together.
        window: How many places a window has along each of them.
        stride: How far windows are apart, at most ``window``.
    """

    grid: tuple[int, ...]
    window: int
    stride: int

    def windows(self) -> Windows:
        """All windows; those at the end may be cut short.

        Example:
            >>> Windowing((5,), 2, 2).windows()
            [(slice(0, 2, None),), (slice(2, 4, None),), (slice(4, 5, None),)]
        """
        axes = []
        for size in self.grid:
            starts = range(0, max(size - self.window, 0) + self.stride, self.stride)
            axes.append([slice(start, min(start + self.window, size)) for start in starts if start < size])
        return list(itertools.product(*axes))


def occlusion(
    scored: Scored, inputs: Arrays, baseline: Arrays, targets: Targets, windowings: Mapping[str, Windowing]
) -> dict[str, Float]:
    """Occlusion (Zeiler, Fergus: "Visualizing and understanding convolutional networks", ECCV 2014).

    How much the score falls where a window of the input is replaced by the baseline; each value gets the mean over the
    windows that cover it. Needs no gradient, so inputs of whole numbers are explained too.

    Args:
        scored: What is explained.
        inputs: Prepared inputs by name.
        baseline: By name, each ``(examples, *shape)`` or ``(1, *shape)``.
        targets: Which value of the output, shape ``(examples,)``.
        windowings: What is covered at a time, for each input that is explained.

    Returns:
        By name, the shape of the input.
    """
    before = scored.scores(inputs, targets)
    found = {}
    for name, windowing in windowings.items():
        windows, array = windowing.windows(), inputs[name]
        split = (*windowing.grid, array[0].size // math.prod(windowing.grid))
        blank = np.broadcast_to(baseline[name], array.shape).reshape(-1, *split)
        falls = np.empty(len(array) * len(windows))
        for pairs in _pieces(len(falls), scored.rows):
            example, which = np.divmod(pairs, len(windows))
            covered = array[example].reshape(-1, *split)
            for row, (source, window) in enumerate(zip(example, which, strict=True)):
                covered[row][windows[window]] = blank[source][windows[window]]
            given = {key: other[example] for key, other in inputs.items()}
            given[name] = covered.reshape(-1, *array.shape[1:])
            falls[pairs] = before[example] - scored.scores(given, targets[example])
        found[name] = _mean_over_windows(falls.reshape(len(array), -1), windows, split).reshape(array.shape)
    return found


def _mean_over_windows(falls: Float, windows: Windows, split: tuple[int, ...]) -> Float:
    """For each place the mean of what its windows gave, from shape ``(examples, windows)``."""
    totals, counts = np.zeros((len(falls), *split)), np.zeros(split)
    for number, window in enumerate(windows):
        counts[window] += 1
        totals[:, *window] += falls[:, number].reshape(-1, *(1,) * len(split))
    return np.asarray(totals / counts)


def _paths(scored: Scored, inputs: Arrays, baseline: Arrays) -> tuple[dict[str, Float], dict[str, Float]]:
    """The baseline of each input of values, and the way from there to the input."""
    names = [item.name for item in scored.network.graph.inputs if not item.integer]
    starts = {name: np.broadcast_to(baseline[name].astype(np.float64), inputs[name].shape) for name in names}
    return starts, {name: inputs[name].astype(np.float64) - start for name, start in starts.items()}


def _pieces(count: int, rows: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    for start in range(0, count, rows):
        yield np.arange(start, min(start + rows, count))


def _columns(factors: Float, like: Array) -> Float:
    """Factors of examples with axes added, so that they multiply values example by example."""
    return factors.reshape(-1, *(1,) * (like.ndim - 1))
