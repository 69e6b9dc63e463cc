"""How long a smaller model takes, as a share of what the model takes: both in turn, in one process, on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from dualml.artefact.session import Session
from dualml.protocol import Arrays

BATCHES = (1, 32, 256)
"""Examples in a call."""
ROUNDS = 15
"""How often each model has its turn."""
SECONDS_PER_TURN = 0.01
"""About how long a turn is; at least ``FEWEST_CALLS``."""
FEWEST_CALLS = 3


def latency_ratios(
    before: bytes, after: bytes, inputs: Arrays, *, batches: Sequence[int] = BATCHES, rounds: int = ROUNDS
) -> dict[int, float]:
    """Time of a call of one ONNX model as a share of another's.

    The median call of each turn counts, and of all turns the quickest, as what else runs on a machine only ever adds.

    Args:
        before: The model.
        after: The smaller one.
        inputs: Examples by input, at least one.
        batches: How many examples a call has.
        rounds: How often each has its turn.

    Returns:
        By number of examples.
    """
    sessions = [Session(before), Session(after)]
    found = {}
    for size in batches:
        given = {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}
        calls = [_calls_in_a_turn(session, given) for session in sessions]
        best = [float("inf")] * len(sessions)
        for _ in range(rounds):
            for place, session in enumerate(sessions):
                best[place] = min(best[place], _turn(session, given, calls[place]))
        found[size] = best[1] / best[0]
    return found


def _calls_in_a_turn(session: Session, inputs: Arrays) -> int:
    _turn(session, inputs, 2)  # the first call is slow
    return max(FEWEST_CALLS, int(SECONDS_PER_TURN / _turn(session, inputs, FEWEST_CALLS)))


def _turn(session: Session, inputs: Arrays, calls: int) -> float:
    seconds = []
    for _ in range(calls):
        begun = time.perf_counter()
        session.run(inputs)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
