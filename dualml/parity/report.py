"""The report of a comparison: ``dualml.report/1``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES

if TYPE_CHECKING:
    from dualml.parity.findings import NativeComparison
    from dualml.parity.replay import Replay

SCHEMA = "dualml.report/1"
PUBLISHED = ("dualml.parity.report", "dualml.parity.findings")
"""Modules whose dataclasses are the parts of a report."""

Verdict = Literal["equal", "different", "undecided"]


@dataclass(frozen=True)
class Check:
    """One array compared at one step.

    Attributes:
        step: Number of the update, counted from 1; 0 is before the first.
        phase: Rung of the ladder.
        node: Node of the graph.
        tensor: What of it.
        precision: Number format both sides worked in.
        run: ``resynchronised``: both sides started the step from the same state; ``free``: each from its own.
        max_abs: Largest absolute difference between the two sides.
        units: Largest rho of the two sides against the reference; ``None`` if the array is not judged.
        left: The left side's rho.
        right: The right side's rho.
        limit: What ``units`` may be at most; 0 where the arrays must be the same bits.
        ok: Whether it holds; ``None`` if it is not judged.
        kind: What the difference is: ``rounding``, ``semantic``, or ``None`` if there is none or it is not decided.
    """

    step: int
    phase: str
    node: str
    tensor: str
    precision: str
    run: Literal["resynchronised", "free"]
    max_abs: float
    units: float | None = None
    left: float | None = None
    right: float | None = None
    limit: float | None = None
    ok: bool | None = None
    kind: Literal["rounding", "semantic"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: number(value) if isinstance(value, float) else value for name, value in vars(self).items()}


def number(value: float | None) -> float | str | None:
    """A number as JSON can hold it: ``"inf"`` and ``"nan"`` become text."""
    if value is None or math.isfinite(value):
        return value
    return str(value)


@dataclass(frozen=True)
class Cause:
    """Why the two differ.

    Attributes:
        id: From the published list, or ``unknown``.
        confirmed: Whether nothing else can explain it.
        left: What the left side has.
        right: What the right side has.
        evidence: How it is known.
        fix: What to do, by framework.
    """

    id: str
    confirmed: bool
    left: Any
    right: Any
    evidence: str
    fix: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a comparison found.

    Attributes:
        verdict: ``equal``, ``different`` or ``undecided``.
        kind: ``rounding``, ``semantic``, or ``None`` if every bit is the same.
        first_divergence: Step, phase, node and tensor of the first check that fails.
        deviates: Which side is off, judged by the float64 reference.
        cause: Why.
        checks: Everything that was compared.
        coverage: How much was compared, and what was not and why.
        precision_scaling: Differences in both precisions, and the ratio in bits.
        largest: The largest differences of the free run, by precision.
        held_back: Predictions and metrics on held-back examples at the end, by precision.
        environment: Versions and settings of both sides.
        replay: The command that repeats it.
        seconds: How long it took.
        reasons: Why the verdict is ``undecided``.
        runs: What the stored results of two finished runs say; ``None`` for a config.
        native: What ``diff`` adds: findings, layer pairs, settings, trajectories; ``None`` for a spec.
        capture: Records what ``script`` needs; no part of the JSON report.
    """

    verdict: Verdict
    kind: Literal["rounding", "semantic"] | None
    first_divergence: dict[str, Any] | None
    deviates: Literal["left", "right", "both", "unknown"] | None
    cause: Cause | None
    checks: tuple[Check, ...]
    coverage: Mapping[str, Any]
    precision_scaling: Mapping[str, float | None]
    largest: Mapping[str, Mapping[str, float]]
    held_back: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Any]
    replay: str
    seconds: float
    reasons: tuple[str, ...] = ()
    runs: Mapping[str, Any] | None = None
    native: NativeComparison | None = None
    capture: Callable[[], Replay | None] | None = field(default=None, repr=False, compare=False)

    @property
    def script(self) -> Replay | None:
        """The first finding as a script can show it without dualml (``dualml.parity.replay.write_replay``).

        ``None``: there is none, or it is of a rung that no script shows. Runs both models once more.
        """
        return None if self.capture is None else self.capture()

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that fail, the first divergence first."""
        return tuple(sorted((check for check in self.checks if check.ok is False), key=ladder_position))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "kind": self.kind,
            "first_divergence": plain(self.first_divergence),
            "deviates": self.deviates,
            "cause": plain(self.cause),
            "checks": [check.to_dict() for check in self.checks],
            "coverage": plain(self.coverage),
            "precision_scaling": {key: number(value) for key, value in self.precision_scaling.items()},
            "largest": plain(self.largest),
            "held_back": plain(self.held_back),
            "environment": plain(self.environment),
            "replay": self.replay,
            "seconds": self.seconds,
            "reasons": list(self.reasons),
            "runs": plain(self.runs),
            "native": plain(self.native),
        }

    def to_html(self, path: str | Path) -> None:
        """Write the report as one self-contained page.

        Raises:
            RunError: The file cannot be written.
        """
        from dualml.parity.html import write_page

        write_page(self, Path(path))

    def show(self) -> None:
        """Print the card."""
        from dualml.parity.card import card

        print(card(self))


def plain(value: Any) -> Any:
    """Nested dataclasses, mappings, sequences and arrays as JSON can hold them; what it cannot hold becomes text.

    Of a dataclass that extends one of a report, only what the report publishes is kept.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        kind = next((base for base in type(value).__mro__ if base.__module__ in PUBLISHED), type(value))
        return {item.name: plain(getattr(value, item.name)) for item in fields(kind)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def ladder_position(check: Check) -> tuple[int, int, int]:
    """Where a check stands on the ladder: by step, then phase; float64 decides before float32."""
    return check.step, PHASES.index(check.phase), 0 if check.precision == "float64" else 1


def worst(checks: Iterable[Check]) -> float | None:
    """The largest rho of some checks that are judged against the reference."""
    units = [check.units for check in checks if check.units is not None and check.limit == LIMIT]
    return max(units, default=None)
