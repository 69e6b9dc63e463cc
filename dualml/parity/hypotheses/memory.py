"""Why an optimizer's memory before the first update is not what is meant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dualml.native.protocol import ReadOptimizer
from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried, number
from dualml.protocol import Array

ACCUMULATORS = frozenset({"sum_of_squares"})
"""Memory that the users say the start of."""


def explain_memory(
    meant: ReadOptimizer,
    said: ReadOptimizer,
    slot: str,
    arrays: tuple[Array, Array],
    *,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why memory starts from other numbers.

    Args:
        meant: The other side's claim.
        said: The deviating side's own.
        slot: The memory.
        arrays: What it holds before the first update: what is meant, and on the deviating side.
        deviates: Which side it is.
        frameworks: Of left and right.
    """
    search = Search(deviates, frameworks)
    return search.tried(_candidates(search, meant, said, slot, arrays), float("inf"))


def _candidates(
    search: Search, meant: ReadOptimizer, said: ReadOptimizer, slot: str, arrays: tuple[Array, Array]
) -> Iterator[Candidate]:
    cause = "optimizer.initial_accumulator" if slot in ACCUMULATORS else UNKNOWN
    starts = [float(np.ravel(array)[0]) if np.size(array) else 0.0 for array in arrays]
    one, two = (
        read.optimizer.slot_start(slot) if read.optimizer is not None else start
        for read, start in zip((meant, said), starts, strict=True)
    )

    def all_of(start: float) -> float:
        """0 where the deviating side's memory is this number all over, in its own precision."""
        array = np.asarray(arrays[1])
        return 0.0 if (array == np.asarray(start, dtype=array.dtype)).all() else float("inf")

    if one != two:
        text = f"{slot} starts from {number(two)} instead of {number(one)}"
        yield search.candidate(cause, text, one, two, lambda: all_of(two), claimed=True, setting="initial_accumulator")
    if starts[1] != two or one == two:
        text = f"{slot} starts from {number(starts[1])} instead of {number(starts[0])}"
        yield search.candidate(cause, text, starts[0], starts[1], lambda: all_of(starts[1]))
