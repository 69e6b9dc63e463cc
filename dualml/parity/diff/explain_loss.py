"""Causes for a loss, or its gradient, that is not what the left side means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dualml.native.protocol import Observation, ReadLoss
from dualml.parity import hypotheses
from dualml.parity.diff.explain import concluded, unknown
from dualml.parity.diff.ledger import Explanation
from dualml.parity.diff.objectives import Stated, put
from dualml.parity.diff.run import Run
from dualml.parity.diff.side import Side
from dualml.parity.findings import SideName
from dualml.parity.hypotheses import LossCase
from dualml.protocol import Array
from dualml.spec.graph import Graph

SEVERAL = "it has several outputs, and no hypothesis is about those"


@dataclass(frozen=True)
class LossSeen:
    """What one side's loss was given and gave.

    Attributes:
        values: The side's values.
        slopes: Its gradients for them.
        value: The loss, penalties left out; ``None``: it gave none, or is not the question.
        added: Roundings of that many units that leaving penalties out makes.
    """

    values: Mapping[str, Array]
    slopes: Mapping[str, Array]
    value: float | None
    added: float = 0.0


def seen(side: Side, observation: Observation) -> LossSeen:
    """What a side's loss was given and gave in one pass."""
    whole = observation.loss
    value = None if whole is None else whole - observation.penalties
    added = 3.0 * abs(whole or 0.0) if observation.penalties else 0.0
    return LossSeen(side.values(observation), side.value_gradients(observation), value, added)


def explained_loss(run: Run, both: tuple[LossSeen, LossSeen], *, left_off: bool = False) -> Explanation:
    """Why one side's loss is not what the other's is.

    The right side's is held against the left one's formula. Where that is the user's own function, it is the left
    side's that is held against the right one's formula; of two functions, one must be found out by what it gave.

    Args:
        run: The comparison.
        both: What each side's loss was given and gave.
        left_off: Whether the left side's loss does not do what it says itself.
    """
    losses = run.left.model.loss, run.right.model.loss
    left, meant, own = run.objectives.left, run.objectives.meant, run.objectives.own
    if any(stated is not None and len(stated.objective.terms) != 1 for stated in (left, meant, own)):
        return unknown(SEVERAL)
    if len(run.left.graph.outputs) > 1 or losses[0] is None or losses[1] is None:
        return unknown(SEVERAL)
    if left is not None and left_off:
        return _explained(run, 0, _as_put(losses[0], left), None, _case(run.left, left, both[0]))
    if meant is not None:
        said = losses[1] if own is None else _as_put(losses[1], own)
        return _explained(run, 1, _as_put(losses[0], meant), said, _case(run.right, meant, both[1]))
    if own is not None:
        return _left_by_right(run, losses[1], own, both[0])
    return _by_what_they_gave(run, both)


def _explained(
    run: Run, side: int, meant: ReadLoss | hypotheses.LossForm, said: ReadLoss | None, case: LossCase
) -> Explanation:
    deviates: SideName = "right" if side else "left"
    unit = run.sides[side].unit
    found = hypotheses.explain_loss(meant, said, case, unit=unit, deviates=deviates, frameworks=run.frameworks)
    return concluded(found)


def _left_by_right(run: Run, loss: ReadLoss, own: Stated, given: LossSeen) -> Explanation:
    """The left side's function against the right side's formula."""
    inverse = {other: name for name, other in run.matching.counterpart.items()}
    stated = put(own, None, inverse)
    if stated is None or stated.objective.terms[0].output not in given.values:
        return unknown("no value of the left side stands for what the right side's loss takes")
    return _explained(run, 0, _as_put(loss, stated), None, _case(run.left, stated, given))


def _by_what_they_gave(run: Run, both: tuple[LossSeen, LossSeen]) -> Explanation:
    """Two functions: the form of one is found by what it gave, then the other is held against that."""
    cases = [_alone(side, given) for side, given in zip(run.sides, both, strict=True)]
    for place in (0, 1):
        form = hypotheses.identified(cases[place], unit=run.sides[place].unit)
        if form is not None:
            return _explained(run, 1 - place, form, None, cases[1 - place])
    return unknown("both losses are functions of their own, and neither gives what one that is known would give")


def _alone(side: Side, given: LossSeen) -> LossCase:
    """A function's case: it takes the model's output and the targets, class numbers or values."""
    place = side.graph.output
    targets = np.asarray(next(iter((side.targets or {}).values())))
    shape = np.shape(given.values[place])
    same = targets.size == np.prod(shape)
    formed = targets.reshape(shape) if same else targets.reshape(shape[:-1])
    return LossCase(given.values[place], formed, given.value, _slope(side.graph, place, given), given.added)


def _case(side: Side, stated: Stated, given: LossSeen) -> LossCase:
    place = stated.objective.terms[0].output
    slope = _slope(side.graph, place, given)
    return LossCase(given.values[place], stated.targets[place], given.value, slope, given.added)


def _slope(graph: Graph, place: str, given: LossSeen) -> Array | None:
    """The loss's gradient for what it takes; ``None`` where other layers' gradients are added to it."""
    readers = [node for node in graph.nodes if place in node.inputs]
    at_end = not readers or (place != graph.output and len(readers) == 1 and readers[0].name == graph.output)
    return given.slopes.get(place) if at_end else None


def _as_put(loss: ReadLoss, stated: Stated) -> ReadLoss:
    """A claim as it is put to values: to logits, where those are behind the probabilities that it takes."""
    logits = loss.from_probabilities and stated.objective.terms[0].output not in stated.logarithms
    return replace(loss, from_probabilities=False) if logits else loss
