"""Causes for what fails in updates, asked for while the arrays are at hand: of the side that departs, either one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dualml.native.protocol import ReadOptimizer
from dualml.parity import hypotheses
from dualml.parity.diff.explain import concluded, unknown
from dualml.parity.diff.ledger import Explanation
from dualml.parity.diff.run import Run
from dualml.protocol import Array, State


@dataclass
class Updated:
    """One update of one side.

    Attributes:
        says: What it says its optimizer is.
        before: Its weights before the update, by name in the left graph.
        state: Its memory before it; ``None`` if it cannot be read.
        after: Its weights after it.
        rate: The learning rate that it says it uses.
        departs: Whether it does something else than it says; where that has no bound, it is not known to.
    """

    says: ReadOptimizer
    before: dict[str, Array]
    state: State | None
    after: dict[str, Array]
    rate: float
    departs: bool = False


@dataclass
class UpdateCase:
    """One update of both sides.

    Attributes:
        step: Number of the update, counted from 0.
        gradients: What was applied.
        left: The left side.
        right: The right side.
    """

    step: int
    gradients: Mapping[str, Array]
    left: Updated
    right: Updated


def explained_update(run: Run, cases: Sequence[UpdateCase], every: Sequence[UpdateCase] = ()) -> Explanation:
    """Why the two optimizers do not do the same.

    The left one says what is meant. Where it does something else than it says, what it does is explained by its own
    formula; where it says nothing, by the right side's. Where neither does what it says, they may depart from it in
    the same way, and in one more on one side.

    Args:
        run: The comparison.
        cases: The updates so far, in order.
        every: All of them.
    """
    search = _Updates(run, cases, every)
    left, right = cases[-1].left.says, cases[-1].right.says
    if left.optimizer is None:
        return concluded(search.explained("left", right, left))
    of_right = search.explained("right", left, right)
    if not any(case.left.departs for case in cases):
        return concluded(of_right)
    of_left = search.explained("left", left, left)
    if not of_right or not of_left:
        return concluded(of_left or of_right)
    one, two = concluded(of_right), concluded(of_left)
    if not (one.cause.confirmed and two.cause.confirmed):
        shared = search.beside(left, right)
        if shared is not None:
            return shared
    both = (*one.others, (two.cause, two.alternatives), *two.others)
    return replace(one, others=both, hypotheses=(*one.hypotheses, *two.hypotheses))


class _Updates:
    """The searches for causes in the updates of either side."""

    def __init__(self, run: Run, cases: Sequence[UpdateCase], every: Sequence[UpdateCase]) -> None:
        self.run, self.count = run, len(cases)
        self.cases = [*cases, *every[len(cases) :]]

    def steps(self, side: Literal["left", "right"]) -> list[hypotheses.UpdateStep]:
        """What a side did, so far and after that; the other side's rate is meant where this one has no formula."""
        found = []
        for case in self.cases:
            own, other = (case.left, case.right) if side == "left" else (case.right, case.left)
            meant = own.rate if side == "left" and own.says.optimizer is not None else other.rate
            found.append(
                hypotheses.UpdateStep(case.step + 1, own.before, case.gradients, own.after, meant, own.rate, own.state)
            )
        return found

    def explained(
        self, side: Literal["left", "right"], meant: ReadOptimizer, said: ReadOptimizer
    ) -> tuple[hypotheses.Tried, ...]:
        """Hypotheses on why a side does something else than is meant; none where it does what is."""
        steps = self.steps(side)
        return hypotheses.explain_update(
            meant,
            said,
            steps[: self.count],
            unit=self.run.right.unit,
            later=steps[self.count :],
            deviates=side,
            frameworks=self.run.frameworks,
        )

    def beside(self, left: ReadOptimizer, right: ReadOptimizer) -> Explanation | None:
        """One convention in which both sides depart from what they say, and one more on one of them."""
        steps = {"left": self.steps("left"), "right": self.steps("right")}
        found = hypotheses.explain_beside(
            (left, right),
            (steps["left"][: self.count], steps["right"][: self.count]),
            unit=self.run.right.unit,
            later=(steps["left"][self.count :], steps["right"][self.count :]),
            frameworks=self.run.frameworks,
        )
        if found is None:
            return None
        common, tried = found
        cause, alternatives = hypotheses.conclude(tried, f"beside what neither says and both do, {common}: ")
        return Explanation(cause, tuple(tried), alternatives)


def explained_start(run: Run, slot: str, arrays: tuple[Array, Array]) -> Explanation:
    """Why an optimizer's memory starts from other numbers.

    Args:
        run: The comparison.
        slot: The memory.
        arrays: What it holds before the first update, on either side.
    """
    reads = run.left.model.optimizer, run.right.model.optimizer
    if reads[0] is None or reads[1] is None:
        return unknown(f"what the optimizer remembers as {slot} starts from another number")
    return concluded(hypotheses.explain_memory(reads[0], reads[1], slot, arrays, frameworks=run.frameworks))
