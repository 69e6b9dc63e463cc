"""Why an optimizer does not do what is meant, over one or several updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from dualml.native.protocol import ReadOptimizer
from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import UNFIT, Candidate, Tried, number
from dualml.parity.hypotheses.update_claims import STATED, Changed, differences, same_memory
from dualml.parity.hypotheses.update_conventions import conventions, rounded, single_sets
from dualml.parity.hypotheses.update_trials import Rule, UpdateStep, left_over
from dualml.parity.judge import LIMIT
from dualml.protocol import Array, State

MOST_TOGETHER = 4
"""Most differences of two claims that are flipped together."""


def explain_update(
    meant: ReadOptimizer,
    said: ReadOptimizer | None,
    steps: Sequence[UpdateStep],
    *,
    unit: float,
    later: Sequence[UpdateStep] = (),
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
    base: Rule | None = None,
) -> tuple[Tried, ...]:
    """Hypotheses on why weights become something else than is meant.

    Args:
        meant: The other side's claim.
        said: The deviating side's own.
        steps: Its updates in order, as many as there are: some causes show in a later one only. Where its memory is
            not given with a step, it is followed from the start, so the first step must be the first update.
        unit: Unit roundoff of the precision.
        later: Updates that follow: what never moves must not move in them.
        deviates: Which side it is.
        frameworks: Of left and right.
        base: What is meant, where it is something else than the claim says.
    """
    if meant.optimizer is None or not steps:
        return ()
    own_kind = meant.optimizer if said is None or said.optimizer is None else said.optimizer
    search = Search(deviates, frameworks, optimizers=(meant.optimizer.kind, own_kind.kind))
    base = base or claimed_rule(meant, said)
    few = thinned(meant, said, steps)

    def trial(rule: Rule) -> Callable[[], float]:
        def test() -> float:
            found = left_over(rule, few, unit)
            return found if found > LIMIT or few is steps else left_over(rule, steps, unit)

        return test

    before = left_over(base, steps, unit)
    if before <= LIMIT:
        return ()
    if left_over(base, few, unit) <= LIMIT:
        few = steps  # what is off is not among the numbers chosen
    found = list(differences(meant, said, steps))
    stated = [*_claimed(search, base, found, trial)]
    if not any(item.trial() <= LIMIT for item in stated):
        stated += _claimed_rounded(search, base, found, trial, unit)
    if any(item.trial() <= LIMIT for item in stated):
        return search.tried(stated, before)  # what both sides' code says needs no other explanation
    own = said is not None and said.optimizer is not None
    following = thinned(meant, said, later) if few is not steps else later

    def throughout(rule: Rule) -> Callable[[], float]:
        return lambda: left_over(rule, [*few, *following], unit)

    told = _told(search, base, few, following, unit, (trial, throughout), stated=own)
    return search.tried([*stated, *told], before)


def claimed_rule(meant: ReadOptimizer, said: ReadOptimizer | None) -> Rule:
    """What is meant, as a rule for the updates of whoever says so or something else.

    Memory recorded with another formula may hold something else under the same name; it is then followed from the
    start.

    Raises:
        ValueError: What is meant has no formula.
    """
    if meant.optimizer is None:
        raise ValueError("no formula")
    return Rule(meant.optimizer, meant.clip, gathered=meant.gathered, state_known=same_memory(meant, said))


def _claimed_rounded(
    search: Search,
    base: Rule,
    found: list[Changed],
    trial: Callable[[Rule], Callable[[], float]],
    unit: float,
) -> list[Candidate]:
    """What the claims differ in, on a side whose constants went through float32 besides."""
    if not found:
        return []
    cause = "optimizer.hyperparameter_precision"
    for chosen in single_sets(unit):
        single = replace(base, single=chosen)
        try:
            if trial(_applied(single, found))() > LIMIT:
                continue
        except UNFIT:
            continue
        for count in range(1, len(found) + 1):
            for some in combinations(found, count):
                outcome = trial(_applied(single, some))()
                if outcome > LIMIT:
                    continue
                test = partial(float, outcome)
                causes = [item.cause for item in some]
                each = [
                    _difference(search, item, test, (*causes[:place], *causes[place + 1 :], cause))
                    for place, item in enumerate(some)
                ]
                said = rounded(chosen)
                return [*each, search.candidate(cause, said, "float64", "float32", test, together=tuple(causes))]
    return []


ELEMENTWISE = frozenset({"sgd", "adam", "adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion"})
"""Optimizers that treat every number by itself, so that some of the numbers show what they do."""

MANY = 2**11
"""Numbers of each parameter that are looked at first."""


def thinned(meant: ReadOptimizer, said: ReadOptimizer | None, steps: Sequence[UpdateStep]) -> Sequence[UpdateStep]:
    """Some numbers of every parameter, evenly spread; a hypothesis that passes is tested on all of them."""
    reads = [item for item in (meant, said) if item is not None]
    apart = all(item.optimizer is None or item.optimizer.kind in ELEMENTWISE for item in reads)
    largest = max((np.size(array) for step in steps[:1] for array in step.parameters.values()), default=0)
    if not apart or largest <= MANY or any(item.clip is not None for item in reads):
        return steps

    def part(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.ravel(array)[:: -(-np.size(array) // MANY) or 1] for name, array in arrays.items()}

    def of(step: UpdateStep) -> UpdateStep:
        state = step.state
        if state is not None:
            slots = {slot: part(arrays) for slot, arrays in state.slots.items()}
            state = State(state.step, slots)
        return replace(
            step,
            parameters=part(step.parameters),
            gradients=part(step.gradients),
            after=part(step.after),
            state=state,
        )

    return [of(step) for step in steps]


def _told(
    search: Search,
    base: Rule,
    steps: Sequence[UpdateStep],
    later: Sequence[UpdateStep],
    unit: float,
    trials: tuple[Callable[[Rule], Callable[[], float]], Callable[[Rule], Callable[[], float]]],
    *,
    stated: bool,
) -> Iterator[Candidate]:
    for item in conventions(base, steps, unit, later):
        yield search.candidate(
            item.cause,
            item.said,
            item.meant,
            item.instead,
            trials[item.throughout](item.rule),
            fitted=item.fitted,
            setting=item.setting,
            contradicted=stated and item.cause in STATED,
        )


def _claimed(
    search: Search, base: Rule, found: list[Changed], trial: Callable[[Rule], Callable[[], float]]
) -> Iterator[Candidate]:
    """What the claims differ in: one at a time, then as few together as explain it."""
    alone = []
    for item in found:
        candidate = _difference(search, item, trial(_applied(base, [item])))
        outcome = candidate.trial()
        alone.append(outcome)
        yield replace(candidate, trial=partial(float, outcome))
    if len(found) < 2 or min(alone) <= 1.0:
        return
    for count in range(2, min(MOST_TOGETHER, len(found)) + 1):
        for chosen in combinations(found, count):
            try:
                outcome = trial(_applied(base, chosen))()
            except UNFIT:
                continue
            if outcome > 1.0:
                continue
            for item in chosen:
                others = tuple(other.cause for other in chosen if other is not item)
                yield _difference(search, item, partial(float, outcome), others)
            return


def _applied(base: Rule, chosen: Sequence[Changed]) -> Rule:
    settings: dict[str, Any] = {}
    rule = base
    for item in chosen:
        rule = item.change(rule)
        settings.update(item.settings)
    return rule.with_settings(**settings) if settings else rule


def _difference(search: Search, item: Changed, trial: Callable[[], float], together: tuple[str, ...] = ()) -> Candidate:
    said = item.said or f"{item.setting} {number(item.instead)} instead of {number(item.meant)}"
    return search.candidate(
        item.cause, said, item.meant, item.instead, trial, claimed=True, setting=item.setting, together=together
    )


__all__ = ["UpdateStep", "explain_update"]
