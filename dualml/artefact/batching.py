"""Whether an example's prediction depends on what stands beside it in its batch, measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualml.artefact.manifest import InputInfo
from dualml.artefact.session import Session
from dualml.protocol import Array
from dualml.randomness import normal, uniform

ROWS = 16
"""Examples that are predicted alone and beside others."""
HOSTILE = 1000.0
"""Value of all inputs of the neighbours that would spoil a scale that a whole batch shares."""
ROUNDING = 1e-6
"""What float arithmetic in another order may change, relative to the largest prediction (but at least 1)."""


def batch_difference(session: Session, inputs: Sequence[InputInfo], *, rows: int = ROWS) -> float:
    """The largest change of a prediction when others join the batch: ordinary examples, and hostile ones.

    Args:
        session: The model.
        inputs: What it takes.
        rows: How many examples are tried.

    Returns:
        0 where every prediction is bit for bit the same; relative to the largest prediction where that is above 1.
    """
    given = {item.name: _examples(item, rows) for item in inputs}
    hostile = {item.name: _hostile(item) for item in inputs}
    together = session.run(given)
    beside = session.run({name: np.concatenate([array, hostile[name]]) for name, array in given.items()})
    worst = 0.0
    for row in range(rows):
        alone = session.run({name: array[row : row + 1] for name, array in given.items()})
        for name, single in alone.items():
            pair = single[0].astype(np.float64)
            scale = max(1.0, float(np.max(np.abs(pair), initial=0.0)))
            for batch in (together, beside):
                other = batch[name][row].astype(np.float64)
                if not np.array_equal(pair, other, equal_nan=True):
                    change = float(np.max(np.abs(pair - other)))
                    worst = max(worst, change / scale if np.isfinite(change) else 1.0)
    return worst


def is_invariant(difference: float, *, exact: bool) -> bool:
    """Whether a difference is none: rounding of floats, or (``exact``, as quantised models are) nothing at all."""
    return difference <= (0.0 if exact else ROUNDING)


def _examples(item: InputInfo, rows: int) -> Array:
    shape, path = (rows, *item.shape), f"artefact/{item.name}"
    if item.dtype == "int64":
        return np.floor(uniform(0, path, shape) * (item.size or 100)).astype(np.int64)
    return normal(0, path, shape).astype(item.dtype)


def _hostile(item: InputInfo) -> Array:
    if item.dtype == "int64":
        return np.full((1, *item.shape), (item.size or 100) - 1, dtype=np.int64)
    return np.full((1, *item.shape), HOSTILE, dtype=item.dtype)
