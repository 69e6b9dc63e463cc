"""Why one layer's output is not what is meant: settings in which the claims differ, then known conventions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.claims import STATED, Difference, differences, other_operation
from dualml.parity.hypotheses.conventions import Flip, conventions
from dualml.parity.hypotheses.conventions.base import Evaluated
from dualml.parity.hypotheses.fixes import Frameworks, fixes
from dualml.parity.hypotheses.nodes import Setting, by_role, changed, known_operation, with_settings
from dualml.parity.hypotheses.trial import UNFIT, Candidate, Tried, attempt, gap, number, rho, tried
from dualml.parity.judge import LIMIT
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Node

MOST_TOGETHER = 3
"""Most settings that are flipped together."""


def explain_forward(
    meant: Node,
    said: Node | None,
    weights: Arrays,
    inputs: Sequence[Array],
    recorded: Array,
    *,
    training: bool,
    mask: NDArray[np.bool_] | None = None,
    unit: float,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
    flattened: tuple[int, ...] | None = None,
) -> tuple[Tried, ...]:
    """Hypotheses on why a layer's output is not what is meant.

    Args:
        meant: The claim that says what is meant: the other side's.
        said: The deviating side's own claim, or ``None``; an opaque one counts as none.
        weights: The deviating side's weights, by the names of either claim, or by role.
        inputs: Its inputs of the layer, neutral axes.
        recorded: Its output.
        training: Whether it was a pass in training mode.
        mask: Which values a random layer was given to keep.
        unit: Unit roundoff of the precision of all of these; that of float64 decides best.
        deviates: Which side it is.
        frameworks: Of left and right, for the fixes.
        flattened: Shape ``(height, width, channels)`` that was flattened before a dense layer, if one was.

    Returns:
        Everything tried, what passes first. Nothing where the reference has no formula for what is meant, or the
        output is what is meant.
    """
    if not known_operation(meant):
        return ()
    own = said if said is not None and known_operation(said) else None
    roles = by_role(weights, own, meant)
    setting = Setting(meant, roles, tuple(inputs), training, mask, unit)
    try:
        wanted = setting.value()
        before, rest = rho(recorded, (wanted, setting.bound()), unit), gap(recorded, wanted)
    except UNFIT:
        before, rest = float("inf"), float("inf")  # the meaning does not fit the side's own weights or inputs
    if before <= 1.0:
        return ()
    trial = _Trials(setting, recorded, rest)
    repair = partial(fixes, deviates=deviates, frameworks=frameworks)
    found = list(_claimed(setting, own, trial, repair))
    if recorded.size <= MANY or not any(item.trial() <= LIMIT for item in found):
        # Of a large output, what both sides' code says needs no other explanation.
        flips = conventions(setting, recorded, flattened)
        found += [_convention(flip, trial, repair, meant, own) for flip in flips]
    return tried(found, before, deviates)


class _Trials:
    """Evaluates flipped settings; of many examples the worst first, because what fails for them fails for all.

    Args:
        meant: The meaning.
        recorded: What the side gave.
        rest: The largest gap without a flip.
    """

    def __init__(self, meant: Setting, recorded: Array, rest: float) -> None:
        self.meant, self.recorded, self.rest = meant, recorded, rest
        self.few: NDArray[np.int64] | None = None
        self.few_meant = meant
        kind = meant.node.operation
        if kind.startswith(BY_EXAMPLE) and recorded.size > MANY and np.isfinite(rest):
            gaps = np.abs(recorded - meant.value()).reshape(len(recorded), -1).max(axis=1)
            count = max(MANY * len(recorded) // recorded.size, 1)
            self.few = np.argsort(-gaps, kind="stable")[:count]
            self.few_meant = _examples(meant, self.few)

    def __call__(self, flipped: Evaluated) -> float:
        """The largest rho that is left."""
        if self.few is not None and isinstance(flipped, Setting):
            part = _examples(flipped, self.few)
            found = self._attempt(self.recorded[self.few], part, self.few_meant)
            if found > LIMIT:
                return found
        return self._attempt(self.recorded, flipped, self.meant)

    def _attempt(self, recorded: Array, flipped: Evaluated, meant: Setting) -> float:
        return attempt(recorded, flipped.value, flipped.bound, flipped.unit, before=self.rest, yard=meant.bound)


BY_EXAMPLE = ("conv", "depthwise", "max_pool", "average_pool", "dense", "attention", "activation", "resize", "pad")
"""Beginnings of the operations that treat every example by itself."""

MANY = 2**15
"""Numbers of an output from which on a few examples are tried first."""


def _examples(setting: Setting, chosen: NDArray[np.int64]) -> Setting:
    """Some of the examples."""
    mask = None if setting.mask is None else setting.mask[chosen]
    return setting.with_(inputs=tuple(array[chosen] for array in setting.inputs), mask=mask)


def _convention(flip: Flip, trial: Any, repair: Any, meant: Node, own: Node | None) -> Candidate:
    def test() -> float:
        try:
            return float(trial(flip.make()))
        except UNFIT:
            return float("inf")

    fix = repair(flip.cause, meant, flip.meant, flip.instead, setting=flip.setting)
    contradicted = own is not None and own.operation == meant.operation and flip.cause in STATED
    return Candidate(
        flip.cause, flip.said, flip.meant, flip.instead, test, fitted=flip.fitted, fix=fix, contradicted=contradicted
    )


def _claimed(setting: Setting, said: Node | None, trial: Any, repair: Any) -> Iterator[Candidate]:
    """What the two claims really differ in: one by one, then as few together as explain it."""
    if said is None:
        return
    meant = setting.node
    found = list(differences(meant, said))
    alone: list[float] = []
    for item in found:
        candidate = _difference(setting, item, trial, repair)
        outcome = candidate.trial()
        alone.append(outcome)
        yield Candidate(**{**vars(candidate), "trial": partial(float, outcome)})
    if meant.operation != said.operation:
        as_said = setting.with_(node=said)
        cause = other_operation(meant, said)
        text = f"{said.operation} instead of {meant.operation}"
        fix = repair(cause, meant, meant.operation, said.operation)
        outcome = trial(as_said)
        yield Candidate(cause, text, meant.operation, said.operation, partial(float, outcome), claimed=True, fix=fix)
    if len(found) > 1 and min(alone, default=0.0) > 1.0:
        yield from _together(setting, found, trial, repair)


def _difference(setting: Setting, item: Difference, trial: Any, repair: Any) -> Candidate:
    def test() -> float:
        try:
            return float(trial(setting.settings_changed(**item.changes)))
        except UNFIT:
            return float("inf")

    said = f"{item.setting} {number(item.instead)} instead of {number(item.meant)}"
    fix = repair(item.cause, setting.node, item.meant, item.instead, setting=item.setting)
    return Candidate(item.cause, said, item.meant, item.instead, test, claimed=True, fix=fix)


def _together(setting: Setting, found: list[Difference], trial: Any, repair: Any) -> Iterator[Candidate]:
    """The smallest set of differences that explains it; one candidate for each of its members."""
    for count in range(2, min(MOST_TOGETHER, len(found)) + 1):
        for chosen in combinations(found, count):
            outcome = _joint(setting, chosen, trial)
            if outcome > 1.0:
                continue
            for item in chosen:
                single = _difference(setting, item, trial, repair)
                others = tuple(other.cause for other in chosen if other is not item)
                yield Candidate(**{**vars(single), "trial": partial(float, outcome), "together": others})
            return


def _joint(setting: Setting, chosen: Sequence[Difference], trial: Any) -> float:
    settings = setting.node.settings
    try:
        for item in chosen:
            settings = changed(settings, **item.changes)
        return float(trial(setting.with_(node=with_settings(setting.node, settings))))
    except UNFIT:
        return float("inf")
