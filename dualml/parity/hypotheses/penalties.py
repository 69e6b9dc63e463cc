"""Why what is added to a loss for the sizes of the weights is not what is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried, number, rho
from dualml.protocol import Arrays
from dualml.reference.regularizers import penalty, penalty_bound
from dualml.reference.rounding import underflow_unit
from dualml.spec.regularizers import Regularizer

Penalties = Sequence[Regularizer]

Trial = Callable[[Penalties, float], Callable[[], float]]
"""Makes a trial of some penalties, times a number."""


def total(penalties: Penalties, weights: Arrays, unit: float, factor: float = 1.0) -> tuple[float, float]:
    """What some penalties add up to, and the bound on its rounding error."""
    found = factor * sum(penalty(item, weights) for item in penalties)
    bound = factor * sum(penalty_bound(item, weights, unit=unit) for item in penalties)
    return found, bound + (len(penalties) + 4.0) * unit * abs(found) + underflow_unit(unit)


def explain_penalties(
    recorded: float,
    weights: Arrays,
    penalties: tuple[Penalties, Penalties],
    *,
    unit: float,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why penalties add up to something else than is meant.

    Args:
        recorded: What they added on the deviating side.
        weights: The weights they are of, by the names that scopes go by.
        penalties: Those that are meant, and the deviating side's own.
        unit: Unit roundoff of the precision.
        deviates: Which side it is.
        frameworks: Of left and right.
    """

    def left(items: Penalties, factor: float = 1.0) -> float:
        value, bound = total(items, weights, unit, factor)
        return rho(np.array(recorded), (np.array(value), np.array(bound)), unit)

    search = Search(deviates, frameworks)
    candidates = penalty_candidates(search, *penalties, lambda items, factor: lambda: left(items, factor))
    return search.tried(candidates, left(penalties[0]))


def penalty_candidates(search: Search, meant: Penalties, own: Penalties, trial: Trial) -> Iterator[Candidate]:
    """Penalties that differ, have another factor, or are on other weights."""
    if tuple(meant) != tuple(own):
        shown = [", ".join(number(item) for item in group) or "none" for group in (meant, own)]
        said = f"penalties {shown[1]} instead of {shown[0]}"
        yield search.candidate(cause_of(meant, own), said, shown[0], shown[1], trial(own, 1.0), claimed=True)
    if not meant:
        return
    for times, said in ((0.5, "half the penalty: w^2 / 2"), (2.0, "twice the penalty"), (0.0, "no penalty")):
        yield search.candidate("regulariser.factor", said, "1", f"{times:g}", trial(meant, times))
    for scope in ("all", "kernels"):
        if all(item.scope == scope for item in meant):
            continue
        moved = [item.model_copy(update={"scope": scope}) for item in meant]
        said = f"the penalty on {scope}"
        yield search.candidate("regulariser.scope", said, meant[0].scope, scope, trial(moved, 1.0))


def cause_of(meant: Penalties, own: Penalties) -> str:
    """What it is that penalties differ: the weights they are on, or their factors."""
    scopes = [{item.scope for item in group} for group in (meant, own)]
    factors = [{item.factors for item in group} for group in (meant, own)]
    return "regulariser.scope" if scopes[0] != scopes[1] and factors[0] == factors[1] else "regulariser.factor"
