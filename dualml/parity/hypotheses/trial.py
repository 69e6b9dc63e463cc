"""Hypotheses put to the test: one convention flipped on the deviating side, evaluated again, judged again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dualml.parity.findings import Hypothesis, SideName
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.judge import LIMIT, judgement
from dualml.protocol import Array
from dualml.reference.rounding import Float, unit_roundoff

Trial = Callable[[], float]
"""Evaluates the deviating side with the convention flipped and gives the largest rho that is left."""

Evaluation = tuple[Float, Float]
"""What the reference wants, and its bound."""


@dataclass(frozen=True)
class Tried(Hypothesis):
    """A hypothesis with what decides between several that pass.

    Attributes:
        claimed: Whether both sides' own code says so: their claims differ in this very convention.
        together: Causes that are needed with it: none of them explains the difference alone.
        contradicted: Whether the deviating side's own code says otherwise.
    """

    claimed: bool = False
    together: tuple[str, ...] = ()
    contradicted: bool = False


@dataclass(frozen=True)
class Candidate:
    """A hypothesis before it is tested.

    Attributes:
        cause: Cause id.
        said: What it says, for people.
        meant: The value of the convention on the side that says what is meant.
        instead: Its value on the deviating side.
        trial: Tests it.
        claimed: Whether the two claims differ in it.
        fitted: The value that a fit found.
        fix: What to write, by framework.
        together: Causes that are flipped with it.
        contradicted: Whether the deviating side's own claim says otherwise.
    """

    cause: str
    said: str
    meant: Any
    instead: Any
    trial: Trial
    claimed: bool = False
    fitted: float | None = None
    fix: Mapping[str, str] = field(default_factory=dict)
    together: tuple[str, ...] = ()
    contradicted: bool = False


def rho(recorded: Array, evaluated: Evaluation, unit: float) -> float:
    """The largest error in units of its bound; infinite where the reference promises nothing.

    A report counts values that the reference does not define; a hypothesis that defines none would pass for nothing.

    Args:
        recorded: What the side gave.
        evaluated: Reference and bound.
        unit: Unit roundoff of the working precision. The reference rounds as well, at that of float64.
    """
    wanted, bound = evaluated
    found = judgement(np.asarray(recorded), wanted, bound * (1.0 + unit_roundoff("float64") / unit))
    return float("inf") if found.undefined else found.rho


def gap(recorded: Array, wanted: Array) -> float:
    """The largest absolute difference; infinite if shapes differ or a value is not finite."""
    if np.shape(recorded) != np.shape(wanted):
        return float("inf")
    difference = np.abs(np.asarray(recorded, dtype=np.float64) - wanted)
    return float(difference.max(initial=0.0)) if np.isfinite(difference).all() else float("inf")


UNFIT = (ValueError, IndexError, KeyError, FloatingPointError, AssertionError, np.linalg.LinAlgError)
"""What an evaluation raises where a convention does not fit the shapes or weights at hand."""


def attempt(
    recorded: Array,
    value: Callable[[], Float],
    bound: Callable[[], Float],
    unit: float,
    *,
    before: float,
    yard: Callable[[], Float] | None = None,
) -> float:
    """Rho of one evaluation; with a bound of its own only where the value is nearer than before.

    Bounds cost ten times what values do. A hypothesis that leaves the largest gap as it is cannot pass, because the
    gap was outside the bound.

    Args:
        recorded: What the side gave.
        value: Evaluates the reference.
        bound: Evaluates its bound.
        unit: Unit roundoff of the working precision.
        before: The largest gap without the hypothesis.
        yard: The bound without it, by which rho of what is no nearer is told.
    """
    with np.errstate(all="ignore"):
        try:
            wanted = value()
            if gap(recorded, wanted) < before:
                return rho(recorded, (wanted, bound()), unit)
            if yard is None or wanted.shape != recorded.shape:
                return float("inf")
            told = rho(recorded, (wanted, yard()), unit)
            return told if told > LIMIT else float("inf")
        except UNFIT:
            return float("inf")


def tried(candidates: Iterable[Candidate], rho_before: float, deviates: SideName) -> tuple[Tried, ...]:
    """Test every candidate; those that pass come first, claimed ones before others, in the order given.

    Args:
        candidates: The more likely ones first.
        rho_before: The deviating side's rho without any of them.
        deviates: Which side it is.
    """
    found = []
    for candidate in candidates:
        left, right = candidate.meant, candidate.instead
        if deviates == "left":
            left, right = right, left
        found.append(
            Tried(
                candidate.cause,
                candidate.said,
                left,
                right,
                rho_before,
                candidate.trial(),
                candidate.fitted,
                dict(candidate.fix),
                candidate.claimed,
                candidate.together,
                candidate.contradicted,
            )
        )
    return ranked(_once(found))


def _once(hypotheses: Sequence[Tried]) -> list[Tried]:
    """What passes twice with the same values, as said by the code and as fitted, is one hypothesis with both."""
    found: dict[str, Tried] = {}
    for place, item in enumerate(hypotheses):
        key = f"{item.cause} {number(item.left)} {number(item.right)} {item.together}" if item.passes else str(place)
        first = found.get(key)
        if first is None or item.cause == UNKNOWN:
            found[key if first is None else str(place)] = item
        elif first.fitted is None:
            found[key] = replace(first, fitted=item.fitted, claimed=first.claimed or item.claimed)
    return list(found.values())


def ranked(hypotheses: Sequence[Tried]) -> tuple[Tried, ...]:
    """Those that pass first; of them claimed ones, then those that no claim contradicts and that need no other."""

    def place(item: Tried) -> tuple[bool, bool, bool, int, float]:
        left_over = item.rho_after if not item.passes else 0.0
        return not item.passes, not item.claimed, item.contradicted, len(item.together), left_over

    return tuple(sorted(hypotheses, key=place))


def passing(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Those that explain the difference."""
    return [item for item in hypotheses if item.rho_after <= LIMIT]


def number(value: Any) -> str:
    """A setting as people write it: ``0.001``, ``1e-05``, ``none``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if hasattr(value, "kind"):
        inner = ", ".join(f"{name}={number(item)}" for name, item in value)
        return f"{value.kind}({inner})" if inner else str(value.kind)
    return str(list(value)) if isinstance(value, tuple) else str(value)
