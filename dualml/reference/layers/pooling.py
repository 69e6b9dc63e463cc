"""Pooling: the largest value or the mean of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced


def _windows(call: Call, x: Traced, padding: float) -> tuple[Traced, tuple[int, ...]]:
    """Every window of a padded input, and which axes its values are on."""
    windows = call.node.settings.windows(call.node.input_shapes[0])
    rank = len(windows.counts)
    padded = ops.pad(x, [(0, 0), *windows.reach, (0, 0)], padding)
    cut = ops.windows(padded, range(1, rank + 1), windows.sizes, windows.strides, windows.dilations)
    return cut, tuple(range(rank + 2, 2 * rank + 2))


def max_pool(call: Call, x: Traced) -> Traced:
    """``y = max`` of each window; padding is minus infinity, and of equal values the first gets the gradient."""
    windows, axes = _windows(call, x, -float("inf"))
    return ops.max(windows, axes, ties="first")


def average_pool(call: Call, x: Traced) -> Traced:
    """``y = sum / m`` of each window; padding is 0."""
    windows, axes = _windows(call, x, 0.0)
    divisors = call.node.settings.windows(call.node.input_shapes[0]).divisors
    return ops.divide(ops.sum(windows, axes), divisors[..., None])


def average_by_axis(call: Call, x: Traced) -> Traced:
    """The same, one axis after the other: the mean over an axis of the means over another."""
    windows, axes = _windows(call, x, 0.0)
    plan = call.node.settings.windows(call.node.input_shapes[0])
    for place in reversed(range(len(axes))):
        windows = ops.sum(windows, axes[place])
        shape = [1] * windows.ndim
        shape[place + 1] = -1
        windows = windows / plan.axes[place].divisors.reshape(shape)
    return windows


def average_scaled(call: Call, x: Traced) -> Traced:
    """The same, as the mean of padding and all, put right by a factor."""
    windows, axes = _windows(call, x, 0.0)
    plan = call.node.settings.windows(call.node.input_shapes[0])
    return ops.multiply(ops.mean(windows, axes), (math.prod(plan.sizes) / plan.divisors)[..., None])


def _regions(call: Call, x: Traced) -> list[Traced]:
    """The windows of an adaptive layer in row-major order."""
    spans = call.node.settings.spans(call.node.input_shapes[0])
    return [x[(slice(None), *(slice(*span) for span in place))] for place in product(*spans)]


def _positions(call: Call) -> tuple[int, ...]:
    """The axes that are pooled."""
    return tuple(range(1, len(call.node.input_shapes[0])))


def adaptive_average_pool(call: Call, x: Traced) -> Traced:
    """``y = mean`` of each window."""
    means = [ops.mean(region, _positions(call)) for region in _regions(call, x)]
    return ops.reshape(ops.stack(means, axis=1), (-1, *call.node.shape))


def adaptive_average_by_axis(call: Call, x: Traced) -> Traced:
    """The same, one axis after the other."""
    for axis, spans in enumerate(call.node.settings.spans(call.node.input_shapes[0]), start=1):
        before = (slice(None),) * axis
        x = ops.stack([ops.mean(x[(*before, slice(*span))], axis) for span in spans], axis=axis)
    return x


def adaptive_max_pool(call: Call, x: Traced) -> Traced:
    """``y = max`` of each window; of equal values the first gets the gradient."""
    largest = [ops.max(region, _positions(call), ties="first") for region in _regions(call, x)]
    return ops.reshape(ops.stack(largest, axis=1), (-1, *call.node.shape))


def global_average_pool(call: Call, x: Traced) -> Traced:
    """``y = mean`` over all positions."""
    return ops.mean(x, _positions(call), keepdims=call.node.settings.keep_axes)


def global_max_pool(call: Call, x: Traced) -> Traced:
    """``y = max`` over all positions."""
    settings = call.node.settings
    return ops.max(x, _positions(call), keepdims=settings.keep_axes, ties=settings.ties)


_AVERAGE = Formula(average_pool, variants=(average_by_axis, average_scaled))
_ADAPTIVE_AVERAGE = Formula(adaptive_average_pool, variants=(adaptive_average_by_axis,))

OPERATIONS: Mapping[str, Operation] = {
    **{f"max_pool{rank}d": Formula(max_pool) for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": _AVERAGE for rank in (1, 2, 3)},
    **{f"adaptive_average_pool{rank}d": _ADAPTIVE_AVERAGE for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": Formula(adaptive_max_pool) for rank in (1, 2, 3)},
    "global_average_pool": Formula(global_average_pool),
    "global_max_pool": Formula(global_max_pool),
}
"""By ``Node.operation``."""
