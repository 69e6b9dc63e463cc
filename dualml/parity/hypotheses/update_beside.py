"""Why two optimizers of one claim differ that neither follows: what both do instead, and one convention more."""

from __future__ import annotations

from collections.abc import Sequence

from dualml.native.protocol import ReadOptimizer
from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.trial import Tried
from dualml.parity.hypotheses.update_claims import differences
from dualml.parity.hypotheses.update_conventions import conventions
from dualml.parity.hypotheses.update_trials import UpdateStep, left_over
from dualml.parity.hypotheses.updates import claimed_rule, explain_update, thinned
from dualml.parity.judge import LIMIT

SIDES: tuple[SideName, SideName] = ("left", "right")


def explain_beside(
    reads: tuple[ReadOptimizer, ReadOptimizer],
    steps: tuple[Sequence[UpdateStep], Sequence[UpdateStep]],
    *,
    unit: float,
    later: tuple[Sequence[UpdateStep], Sequence[UpdateStep]] = ((), ()),
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[str, tuple[Tried, ...]] | None:
    """One flip that explains all of one side's updates, and with which one more explains the other's.

    Args:
        reads: The claims of left and right.
        steps: Their updates in order, from the first on.
        unit: Unit roundoff of the precision.
        later: Updates that follow.
        frameworks: Of left and right.

    Returns:
        What both do, in words, and the hypotheses on the side that does one more, of which the first passes; ``None``
        where there is no such pair, or the claims differ by themselves.
    """
    claim = reads[0]
    if claim.optimizer is None or next(differences(*reads, steps[1]), None) is not None:
        return None
    for place, other in ((0, 1), (1, 0)):
        whole = [*steps[place], *later[place]]
        few = thinned(claim, None, whole)
        count = len(steps[place])
        for item in conventions(claimed_rule(*reads), few[:count], unit, few[count:]):
            if left_over(item.rule, few, unit) > LIMIT or left_over(item.rule, whole, unit) > LIMIT:
                continue
            tried = explain_update(
                claim,
                claim,
                steps[other],
                unit=unit,
                later=later[other],
                deviates=SIDES[other],
                frameworks=frameworks,
                base=item.rule,
            )
            if tried and tried[0].passes:
                return item.said, tried
    return None
