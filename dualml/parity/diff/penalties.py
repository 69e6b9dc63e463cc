"""What both sides add to the loss for the sizes of their weights."""

from __future__ import annotations

from functools import partial

import numpy as np

from dualml.native.protocol import Observation, ReadLoss
from dualml.parity import hypotheses
from dualml.parity.diff.claims import Wanted
from dualml.parity.diff.explain import concluded, unknown
from dualml.parity.diff.ledger import Explanation
from dualml.parity.diff.run import Run
from dualml.parity.hypotheses.penalties import total
from dualml.parity.records import Key, difference
from dualml.protocol import Array
from dualml.spec.objective import Objective
from dualml.spec.regularizers import Regularizer


def penalties_of(read: ReadLoss | None) -> tuple[Regularizer, ...]:
    """The penalties that a loss states."""
    if read is None or not isinstance(read.minimised, Objective):
        return ()
    return tuple(read.minimised.penalties)


def penalties_on(run: Run, side: int, name: str, own: str = "") -> list[Regularizer]:
    """The penalties that a side states on a weight, by its name in the left graph; known to apply to it.

    Args:
        run: The comparison.
        side: Which.
        name: The weight, by its name in the left graph.
        own: By its name in the side's; where it is held in another form, that of a part of it.
    """
    chosen = run.sides[side]
    own = own or (name if side == 0 else run.matching.weights[name])
    native = chosen.reading.weights.get(own, own)
    found = [item for item in penalties_of(chosen.model.loss) if item.applies(native)]
    return [item.model_copy(update={"scope": name}) for item in found]


def penalties_rung(run: Run, step: int, observed: tuple[Observation, Observation]) -> None:
    """Judge what both sides add: against what they state, or else by precision scaling, their weights being the same.

    Args:
        run: The comparison.
        step: Number of the update.
        observed: What both sides recorded.
    """
    one, two = (np.array(item.penalties) for item in observed)
    if not one and not two:
        return
    names = [name for name in run.matching.weights if name in run.left.trained]
    stated = [[item for name in names for item in penalties_on(run, side, name)] for side in (0, 1)]
    silent = [bool(item.penalties) and not group for item, group in zip(observed, stated, strict=True)]
    if any(silent):
        key = Key("loss", run.left.graph.output, "penalties")
        run.ledger.measure(step, key, run.precision, two, one)
        run.ledger.judged(step, key, run.precision, difference(one, two), None, None, pending=True)
        if run.decides:
            why = "a penalty is the user's own or of values, so that it has no formula here"
            run.ledger.explanations[step, key] = partial(unknown, why)
        return
    left, right = run.left.weights(), run.right.weights()
    weights: tuple[dict[str, Array], dict[str, Array]] = (
        {name: left[name] for name in names},
        {name: right[run.matching.weights[name]] for name in names},
    )
    differing = [name for name in names if penalties_on(run, 0, name) != penalties_on(run, 1, name)]
    node = differing[0].rsplit(".", 1)[0] if differing else run.left.graph.output
    key = Key("loss", node, "penalties")
    rhos = []
    for side, recorded in zip((0, 1), (one, two), strict=True):
        value, bound = total(stated[0], weights[side], run.sides[side].unit)
        rhos.append(run.ledger.rho(recorded, Wanted(np.array(value), np.array(bound)), run.precision))
        if side:
            run.ledger.measure(step, key, run.precision, recorded, np.array(value))
    check = run.ledger.judged(step, key, run.precision, difference(one, two), rhos[0], rhos[1])
    if check.ok is False and run.decides:
        given = (stated[0], stated[1])
        run.ledger.explanations[step, key] = partial(_explained, run, float(two), weights[1], given)


def _explained(
    run: Run, recorded: float, weights: dict[str, Array], stated: tuple[list[Regularizer], list[Regularizer]]
) -> Explanation:
    tried = hypotheses.explain_penalties(recorded, weights, stated, unit=run.right.unit, frameworks=run.frameworks)
    return concluded(tried)
