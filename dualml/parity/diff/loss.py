"""Rung 2: the value of the loss, each example's, and penalties, from the outputs that each side recorded itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from dualml.errors import DualmlError
from dualml.native.protocol import Observation
from dualml.parity.diff.claims import Wanted
from dualml.parity.diff.explain_loss import LossSeen, explained_loss, seen
from dualml.parity.diff.objectives import Stated
from dualml.parity.diff.penalties import penalties_rung
from dualml.parity.diff.run import Run
from dualml.parity.judge import LIMIT
from dualml.parity.records import Key, difference
from dualml.protocol import Array


def loss_rung(run: Run, step: int, observed: tuple[Observation, Observation]) -> None:
    """Judge the loss of both sides in one pass.

    Args:
        run: The comparison.
        step: Number of the update.
        observed: What both sides recorded, in training mode.
    """
    objectives = run.objectives
    if objectives.bare:
        return
    both = seen(run.left, observed[0]), seen(run.right, observed[1])
    values = both[0].values, both[1].values
    node = run.left.graph.output
    if objectives.left is None or objectives.meant is None:
        _by_replay(run, step, observed, both)
        return
    judged = [
        _Judged(run, side, stated, own, observation)
        for side, stated, own, observation in zip(
            run.sides, (objectives.left, objectives.meant), values, observed, strict=True
        )
    ]
    for tensor in ("examples", "value"):
        key = Key("loss", node, tensor)
        arrays = [getattr(item, f"recorded_{tensor}")() for item in judged]
        if any(array is None for array in arrays):
            if tensor == "value":
                run.ledger.skip("the value of the loss", "a side gave none")
            continue
        wanted = [getattr(item, tensor)() for item in judged]
        rho = [run.ledger.rho(array, want, run.precision) for array, want in zip(arrays, wanted, strict=True)]
        meant = wanted[1]
        if meant is None or wanted[0] is None:
            run.ledger.skip(f"the loss ({tensor})", "the values it is computed from were not recorded")
            continue
        run.ledger.measure(step, key, run.precision, arrays[1], meant.value)
        if not np.isfinite(arrays[1]).all():
            rho[1] = float("inf")
        gap = difference(arrays[0], arrays[1])
        check = run.ledger.judged(step, key, run.precision, gap, rho[0], rho[1], pending=meant.bound is None)
        if run.decides and (check.ok is False or meant.bound is None):
            left_off = (rho[0] or 0.0) > LIMIT and (rho[1] or 0.0) <= LIMIT
            run.ledger.explanations[step, key] = partial(explained_loss, run, both, left_off=left_off)
    penalties_rung(run, step, observed)


class _Judged:
    """One side's loss, and what the left side's would be on the same values."""

    def __init__(self, run: Run, side: object, stated: Stated, values: Mapping[str, Array], seen: Observation) -> None:
        self.unit = run.left.unit
        self.stated, self.values, self.seen = stated, values, seen
        self.there = all(term.output in values for term in stated.objective.terms)
        del side

    def recorded_examples(self) -> Array | None:
        return None if self.seen.example_losses is None else np.asarray(self.seen.example_losses)

    def recorded_value(self) -> Array | None:
        return None if self.seen.loss is None else np.array(self.seen.loss - self.seen.penalties)

    def examples(self) -> Wanted | None:
        if not self.there:
            return None
        bounds = self.stated.bounds(self.values, self.unit)
        return Wanted(self.stated.scored(self.values).examples, None if bounds is None else bounds.examples)

    def value(self) -> Wanted | None:
        """The data's part: what penalties add is subtracted from what was recorded, with a rounding of the whole."""
        if not self.there:
            return None
        scored, bounds = self.stated.scored(self.values), self.stated.bounds(self.values, self.unit)
        added = 3.0 * self.unit * abs(self.seen.loss or 0.0) if self.seen.penalties else 0.0
        return Wanted(np.array(scored.value), None if bounds is None else np.array(bounds.value + added))


def _by_replay(
    run: Run,
    step: int,
    observed: tuple[Observation, Observation],
    both: tuple[LossSeen, LossSeen],
) -> None:
    """The left side's loss has no formula: it is run again on the right side's outputs, in both precisions."""
    left, values = run.left, (both[0].values, both[1].values)
    key = Key("loss", left.graph.output, "value")
    other = run.matching.counterpart.get(left.graph.output)
    if other is None or other not in values[1] or left.targets is None or observed[1].loss is None:
        run.ledger.skip("the loss", "it has no formula, and no value of the right side stands for the left output")
        return
    native = left.reading.outputs.get(left.graph.output, "")
    outputs = {native: np.ascontiguousarray(left.reading.native(left.graph.output, values[1][other]))}
    try:
        meant, _ = left.model.loss_of(outputs, left.targets)
    except (DualmlError, ValueError) as error:
        run.ledger.skip("the loss", f"it has no formula and could not be run again: {error}")
        return
    recorded = np.array(observed[1].loss - observed[1].penalties)
    run.ledger.skip("a certified bound for the loss", "it has no formula here and is judged by precision scaling")
    run.ledger.measure(step, key, run.precision, recorded, np.array(meant))
    gap = difference(np.array(observed[0].loss), np.array(observed[1].loss))
    right_rho = None if np.isfinite(recorded) else float("inf")
    run.ledger.judged(step, key, run.precision, gap, None, right_rho, pending=True)
    if run.decides:
        run.ledger.explanations[step, key] = partial(explained_loss, run, both)
