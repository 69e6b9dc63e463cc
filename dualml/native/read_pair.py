"""Two models read together, so that inputs whose order of axes one of them leaves open are the other's."""

from __future__ import annotations

from collections.abc import Collection

from dualml.native.demands import input_axes
from dualml.native.layouts import Axes, neutral_shape, orders
from dualml.native.protocol import Precision, Trace
from dualml.native.read import read
from dualml.native.reading import Reading
from dualml.protocol import Arrays


def read_pair(
    left: tuple[Trace, Arrays, Collection[str] | None],
    right: tuple[Trace, Arrays, Collection[str] | None],
    precision: Precision,
) -> tuple[Reading, Reading]:
    """Read two traces that are to be compared.

    Where no call of one model says in which order it has the axes of an input, and another order makes the input's
    neutral shape that of the other model's, that order is taken.

    Args:
        left: Trace, weights and names of the trained weights of the left model.
        right: Those of the right one.
        precision: The number format the graphs are to have.

    Raises:
        ParityError: As ``read``.
    """
    sides = (left, right)
    readings = [read(trace, weights, precision, trained=trained) for trace, weights, trained in sides]
    for own, other in ((0, 1), (1, 0)):
        trace, weights, trained = sides[own]
        free = [name for name, axes in input_axes(trace).items() if axes is None]
        layouts: dict[str, Axes] = {}
        for item, target in zip(readings[own].graph.inputs, readings[other].graph.inputs, strict=False):
            name = readings[own].inputs[item.name]
            if name in free and item.shape != target.shape:
                native = trace.values[trace.inputs[name]].shape
                fitting = [axes for axes in orders(len(native)) if neutral_shape(native, axes) == target.shape]
                if fitting:
                    layouts[name] = fitting[0]
        if layouts:
            readings[own] = read(trace, weights, precision, trained=trained, layouts=layouts)
    return readings[0], readings[1]
