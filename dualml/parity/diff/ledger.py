"""What a comparison of two native models measures: checks, gaps in both precisions, and what was not judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from dualml import reference
from dualml.parity.diff.claims import Wanted
from dualml.parity.findings import Hypothesis, View
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.records import PHASES, Key, difference
from dualml.parity.report import Cause, Check
from dualml.parity.verdict import ROUNDING_BITS
from dualml.protocol import Array

Run = Literal["resynchronised", "free"]


@dataclass(frozen=True)
class Explanation:
    """Why a check fails, found while its arrays were at hand.

    Attributes:
        cause: The conclusion.
        hypotheses: Everything tried.
        alternatives: Ids of others that pass.
        view: Where the arrays differ.
        others: Further causes that are needed with the first one, each with its own alternatives.
    """

    cause: Cause
    hypotheses: tuple[Hypothesis, ...] = ()
    alternatives: tuple[str, ...] = ()
    view: View | None = None
    others: tuple[tuple[Cause, tuple[str, ...]], ...] = ()


@dataclass
class Gap:
    """How far an array is from what it should be, in one precision.

    Attributes:
        norm: Euclidean norm of the difference.
        scale: Largest absolute value that is meant.
        finite: Whether every number is finite.
    """

    norm: float
    scale: float
    finite: bool = True

    def units(self, precision: str) -> float:
        """The difference in unit roundoffs of the largest value that is meant; infinite if one is not finite."""
        unit = reference.unit_roundoff(precision) * self.scale
        return self.norm / unit if unit and self.finite else math.inf


def bits(gaps: dict[str, Gap]) -> float | None:
    """``S = log2(gap in float32 / gap in float64)``; infinite if float64 shows none, ``None`` if not defined.

    Two float32 arrays that are equal are known to be equal only within half a unit in the last place, so a float32 gap
    counts as at least that.
    """
    if {"float32", "float64"} - set(gaps):
        return None
    one, two = gaps["float32"], gaps["float64"]
    if not one.finite or not two.finite:
        return 0.0
    if two.norm == 0.0:
        return math.inf
    return math.log2(max(one.norm, reference.unit_roundoff("float32") * one.scale) / two.norm)


@dataclass
class Ledger:
    """Everything measured so far.

    Attributes:
        checks: Everything compared.
        skipped: What was not compared, and why.
        undefined: Values that could not be judged because the reference is not finite there.
        ties: Gradients that a convention about ties or kinks decides.
        explanations: By step and key, to be called for those that become findings.
        wrong_reference: Where both sides lie outside the same claim and agree with each other.
        apart: How far the sides are from each other where both lie outside, by step and key and precision.
        at_changed_rate: Updates after a change of the learning rate that neither side asked for: what fails there
            alone is silent as long as the rate stays.
        unrepeatable: Pairs and modes whose native calls do something else by themselves than in the model.
        notes: What the reader should know that is no fault, a sentence each.
    """

    checks: list[Check] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    undefined: int = 0
    ties: int = 0
    explanations: dict[tuple[int, Key], Callable[[], Explanation]] = field(default_factory=dict)
    wrong_reference: set[tuple[int, Key]] = field(default_factory=set)
    apart: dict[tuple[int, Key], dict[str, Gap]] = field(default_factory=dict)
    at_changed_rate: set[tuple[int, Key]] = field(default_factory=set)
    unrepeatable: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    _gaps: dict[tuple[int, Key], dict[str, Gap]] = field(default_factory=dict)
    _pending: set[tuple[int, Key]] = field(default_factory=set)
    silent_rate: Check | None = None

    def skip(self, what: str, why: str) -> None:
        """Say what is not compared."""
        item = {"what": what, "why": why}
        if item not in self.skipped:
            self.skipped.append(item)

    def both_outside(self, step: int, key: Key, precision: str, left: Array, right: Array, off: float) -> None:
        """Note that both sides lie outside what is claimed; nearer to each other, it is the claim that is off.

        Args:
            step: Number of the update.
            key: What was judged.
            precision: Number format.
            left: The left side's array.
            right: The right side's.
            off: The largest distance of the right side's from what is wanted of it.
        """
        self.apart.setdefault((step, key), {})[precision] = gap_of(left, right)
        if precision == "float64" and difference(left, right) < off:
            self.wrong_reference.add((step, key))

    def agreed(self) -> list[tuple[int, Key]]:
        """Where both sides do the same, up to rounding, and not what their code claims: subclasses may."""
        found = []
        for place in sorted(self.wrong_reference):
            measured = bits(self.apart.get(place, {}))
            if measured is not None and measured >= ROUNDING_BITS[0]:
                found.append(place)
        return found

    def rho(self, recorded: Array | None, wanted: Wanted | None, precision: str) -> float | None:
        """The largest error of an array in units of its bound; ``None`` where there is no bound."""
        if recorded is None or wanted is None or wanted.bound is None:
            return None
        bound = np.broadcast_to(wanted.bound, wanted.value.shape)
        recorded = _without(recorded, wanted)
        unit = reference.unit_roundoff(precision)
        largest = float(np.finfo(precision).max)
        # The reference rounds as well, at the unit of float64.
        widened = 1.0 + reference.unit_roundoff("float64") / unit
        found = judgement(recorded, wanted.value, bound * widened, largest=largest)
        self.undefined += found.undefined
        return found.rho

    def measure(self, step: int, key: Key, precision: str, recorded: Array, wanted: Array) -> None:
        """Remember how far an array is from what it should be, for precision scaling."""
        self._gaps.setdefault((step, key), {})[precision] = gap_of(recorded, wanted)

    def gaps(self, step: int, key: Key) -> dict[str, Gap]:
        """What ``measure`` remembers."""
        return self._gaps.get((step, key), {})

    def judged(
        self,
        step: int,
        key: Key,
        precision: str,
        max_abs: float,
        left: float | None,
        right: float | None,
        *,
        run: Run = "resynchronised",
        pending: bool = False,
    ) -> Check:
        """Record a check against bounds on rounding.

        Args:
            step: Number of the update.
            key: What is compared.
            precision: Number format.
            max_abs: Largest absolute difference between the sides.
            left: The left side's rho.
            right: The right side's rho against what the left side means.
            run: From which state.
            pending: Whether no bound is certified for the right side, so that precision scaling decides at the end.
        """
        sides = [rho for rho in (left, right) if rho is not None]
        units = max(sides, default=None)
        ok = None if units is None else units <= LIMIT
        if pending:
            self._pending.add((step, key))
            ok = False if ok is False else None
        check = Check(step, *key, precision, run, max_abs, units, left, right, LIMIT, ok)
        self.checks.append(check)
        return check

    def bits_equal(self, step: int, key: Key, precision: str, max_abs: float, equal: bool) -> Check:
        """Record a check of arrays or facts that must be the same."""
        check = Check(
            step, *key, precision, "resynchronised", max_abs, 0.0 if equal else math.inf, None, None, 0.0, equal
        )
        self.checks.append(check)
        return check

    def free(self, step: int, key: Key, precision: str, max_abs: float) -> None:
        """Record a difference that is not judged."""
        self.checks.append(Check(step, *key, precision, "free", max_abs))

    def finish(self) -> None:
        """Decide by precision scaling what no bound could decide, and say what every difference is."""
        self.checks = [self._scaled(check) for check in self.checks]
        agreed = set(self.agreed())
        self.wrong_reference -= agreed
        for node in dict.fromkeys(key.node for _, key in agreed):
            self.notes.append(f"{node}: both sides do the same, and not what a layer of its kind does")
        self.checks = [replace(check, ok=None) if _place(check) in agreed else check for check in self.checks]
        earlier = any(
            check.ok is False and check.phase == "update" and _place(check) not in self.at_changed_rate
            for check in self.checks
        )
        silent = [check for check in self.checks if check.ok is False and _place(check) in self.at_changed_rate]
        if silent and not earlier:
            self.silent_rate = silent[0]
            self.checks = [replace(check, ok=None) if check in silent else check for check in self.checks]
            self._pending -= {_place(check) for check in silent}

    def _scaled(self, check: Check) -> Check:
        place = _place(check)
        measured = bits(self.gaps(*place))
        if place in self._pending and check.ok is not False and measured is not None:
            check = replace(check, ok=None if _doubtful(measured) else measured >= ROUNDING_BITS[0])
            if check.ok is False:  # no bound says by how much: how many roundings of the largest value it is
                units = self.gaps(*place)[check.precision].units(check.precision)
                check = replace(check, units=max(check.units or 0.0, units), right=max(check.right or 0.0, units))
        kind: Literal["rounding", "semantic"] | None = None
        if check.ok is False:
            scaled = measured is not None and ROUNDING_BITS[0] <= measured
            exact = check.precision == "float64" or check.limit == 0.0
            kind = "rounding" if scaled and not exact else "semantic"
        elif check.max_abs > 0:
            kind = "rounding" if check.ok else None
        return replace(check, kind=kind)

    @property
    def doubtful(self) -> list[Check]:
        """Checks that precision scaling leaves open."""
        return [
            check
            for check in self.checks
            if check.ok is None and _place(check) in self._pending and check.precision == "float64"
        ]

    def scaling(self, step: int | None = None, key: Key | None = None) -> dict[str, float | None]:
        """Differences in both precisions, over everything measured in both or of one array, and their ratio."""
        norms = {"float32": 0.0, "float64": 0.0}
        for (at, name), gaps in self._gaps.items():
            if (step is None or at == step) and (key is None or name == key) and len(gaps) == len(norms):
                for precision, gap in gaps.items():
                    norms[precision] += gap.norm**2
        roots = {name: math.sqrt(value) for name, value in norms.items()}
        both = roots["float32"] > 0 and roots["float64"] > 0 and all(map(math.isfinite, roots.values()))
        return {**roots, "bits": math.log2(roots["float32"] / roots["float64"]) if both else None}


def _place(check: Check) -> tuple[int, Key]:
    return check.step, Key(check.phase, check.node, check.tensor)


def _doubtful(measured: float) -> bool:
    """Neither rounding nor a plain difference: kinks and ties may do that."""
    return 3.0 <= measured < ROUNDING_BITS[0]


def _without(recorded: Array, wanted: Wanted) -> Array:
    """The recorded array with what a convention decides put aside; what is not finite stays."""
    if wanted.free is None or recorded.shape != wanted.value.shape:
        return recorded
    return np.where(wanted.free & np.isfinite(recorded), wanted.value, recorded)


def gap_of(recorded: Array, wanted: Array) -> Gap:
    """The difference of two arrays as precision scaling takes it."""
    if np.shape(recorded) != np.shape(wanted):
        return Gap(math.inf, 0.0, finite=False)
    one, two = np.asarray(recorded, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    finite = bool(np.isfinite(one).all() and np.isfinite(two).all())
    if not finite:
        return Gap(math.inf, 0.0, finite=False)
    return Gap(float(np.linalg.norm(one - two)), float(np.abs(two).max(initial=0.0)))


MOST_SHOWN = 24
"""Most values along an axis of a view."""


def view_of(left: Array, right: Array, left_axes: tuple[int, ...], right_axes: tuple[int, ...]) -> View | None:
    """Where two neutral arrays differ most, thinned; ``None`` if their shapes differ or they are empty.

    Args:
        left: The left side's array, neutral axes.
        right: The right side's.
        left_axes: How the left framework's axes lie: ``neutral = native.transpose(axes)``.
        right_axes: The same on the right.
    """
    if left.shape != right.shape or left.size == 0:
        return None
    one, two = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    gap = np.abs(one - two)
    gap[(one == two)] = 0.0
    gap[~np.isfinite(gap)] = np.inf
    index = tuple(int(place) for place in np.unravel_index(int(gap.argmax()), gap.shape))

    def native(axes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(index[axes.index(axis)] for axis in range(len(index))) if len(axes) == len(index) else index

    return View(
        tuple(left.shape),
        index,
        native(left_axes),
        native(right_axes),
        _thinned(one, index),
        _thinned(two, index),
        float(one[index]),
        float(two[index]),
    )


def _thinned(array: Array, index: tuple[int, ...]) -> Any:
    """Two axes of an array through a place, at most ``MOST_SHOWN`` values along each."""
    flat = np.atleast_2d(array[index[:-2]] if array.ndim > 2 else array)
    rows, columns = (max(1, -(-size // MOST_SHOWN)) for size in flat.shape)
    return flat[::rows, ::columns].tolist()


def order_of(check: Check) -> tuple[int, int]:
    """Where a check stands on the ladder."""
    return check.step, PHASES.index(check.phase)


__all__ = ["Explanation", "Gap", "Ledger", "bits", "difference", "gap_of", "order_of", "view_of"]
