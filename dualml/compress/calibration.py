"""Which range of values each tensor has, measured on training examples: what 256 levels are spread over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualml.artefact.session import Session
from dualml.compress.onnx_graph import OnnxGraph
from dualml.protocol import Array, Arrays

BINS = 4096
"""Of the histogram of each tensor's values."""
LEVELS = 255
"""Steps between the least and the largest value of an unsigned byte."""
CLIPPED = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
"""Shares of the values that may lie beyond the range, on each side; the one with the least squared error is taken."""
BATCH = 64
"""Examples in one pass."""


@dataclass(frozen=True)
class Levels:
    """How values become bytes: ``round(value / scale) + zero_point``, held within 0 and 255."""

    scale: np.float32
    zero_point: np.uint8


def calibrate(graph: OnnxGraph, tensors: Sequence[str], inputs: Arrays) -> dict[str, Levels]:
    """The levels of some tensors.

    Args:
        graph: The float model.
        tensors: Names of inputs or of what operators give.
        inputs: Training examples by input.

    Returns:
        By tensor: those of the range that makes the least squared error on these examples, which always holds 0.
    """
    given = [name for name in tensors if name in graph.inputs]
    made = [name for name in tensors if name not in graph.inputs]
    session = Session(graph.to_bytes(made), where="the model to calibrate")

    def passes() -> Iterator[Mapping[str, Array]]:
        for start in range(0, len(next(iter(inputs.values()))), BATCH):
            rows = {name: array[start : start + BATCH] for name, array in inputs.items()}
            yield {**(session.run(rows, made) if made else {}), **{name: rows[name] for name in given}}

    ends = dict.fromkeys(tensors, (0.0, 0.0))
    for values in passes():
        for name, (low, high) in ends.items():
            ends[name] = min(low, float(values[name].min())), max(high, float(values[name].max()))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in tensors}
    for values in passes():
        for name, bounds in ends.items():
            if bounds[1] > bounds[0]:
                counts[name] += np.histogram(values[name], BINS, bounds)[0]
    return {name: best_levels(counts[name], *ends[name]) for name in tensors}


def best_levels(counts: NDArray[np.int64], low: float, high: float) -> Levels:
    """The levels with the least squared error for a histogram over ``[low, high]``, which holds 0.

    Example:
        >>> import numpy as np
        >>> best_levels(np.array([1, 0, 0, 1]), 0.0, 255.0)  # nothing between the ends: none of it may be cut off
        Levels(scale=np.float32(1.0), zero_point=np.uint8(0))
    """
    if high <= low:
        return Levels(np.float32(1.0), np.uint8(0))
    edges = np.linspace(low, high, len(counts) + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts) / counts.sum()
    candidates = []
    for share in CLIPPED:
        first = int(np.searchsorted(below, share, side="right")) if share else 0
        last = int(np.searchsorted(below, 1.0 - share)) if share else len(counts) - 1
        levels = _levels(min(edges[first], 0.0), max(edges[min(last, len(counts) - 1) + 1], 0.0))
        zero, scale = float(levels.zero_point), float(levels.scale)
        nearest = (np.clip(np.rint(centres / scale) + zero, 0, LEVELS) - zero) * scale
        candidates.append((float(np.sum(counts * (centres - nearest) ** 2)), levels))
    return min(candidates, key=lambda item: item[0])[1]


def _levels(low: float, high: float) -> Levels:
    scale = np.float32((high - low) / LEVELS)
    if not scale >= np.finfo(np.float32).tiny:
        return Levels(np.float32(1.0), np.uint8(0))
    return Levels(scale, np.uint8(np.clip(np.rint(-low / float(scale)), 0, LEVELS)))
