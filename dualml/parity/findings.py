"""What a comparison of two native models found, in the terms every report shows: findings, hypotheses, layer pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dualml.parity.report import Cause

SideName = Literal["left", "right"]


@dataclass(frozen=True)
class Hypothesis:
    """One explanation that was tried: the deviating side's reference evaluated with one convention flipped.

    Attributes:
        cause: Cause id (``norm.epsilon``).
        said: What it says, for people: ``epsilon 1e-3 instead of 1e-5``.
        left: The left side's value of the convention.
        right: The right side's.
        rho_before: Largest rho of the deviating side without it.
        rho_after: With it; at most 1 confirms it.
        fitted: The value found by a one-dimensional fit, before it was snapped to a known one; ``None``: not fitted.
        fix: What to write to make the sides equal, by framework.
    """

    cause: str
    said: str
    left: Any
    right: Any
    rho_before: float
    rho_after: float
    fitted: float | None = None
    fix: Mapping[str, str] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether it explains the difference: rho is at most 1 with it."""
        return self.rho_after <= 1.0


@dataclass(frozen=True)
class View:
    """Where two arrays differ most, and what stands around it.

    Attributes:
        shape: Their neutral shape.
        index: Neutral index of the worst value.
        left_index: The same place in the left framework's axes.
        right_index: The same in the right framework's.
        left: The left array, thinned to at most 24 x 24 values (lists of floats).
        right: The right one, thinned alike.
        left_value: The worst value on the left.
        right_value: The same on the right.
    """

    shape: tuple[int, ...]
    index: tuple[int, ...]
    left_index: tuple[int, ...]
    right_index: tuple[int, ...]
    left: Any
    right: Any
    left_value: float
    right_value: float


@dataclass(frozen=True)
class Finding:
    """One difference that no earlier one explains.

    Attributes:
        step: Number of the update, counted from 1; 0 is before the first.
        phase: Rung of the ladder.
        node: The left side's node (the right side's, where the left has none).
        tensor: What of it.
        precision: In which it was found; float64 decides.
        names: How each side calls the node, with the native kind: ``features.4 BatchNorm2d``.
        kind: ``semantic`` (real) or ``rounding``.
        deviates: Which side is off.
        rho: Largest rho of each side, against the left side's meaning.
        max_abs: Largest absolute difference.
        bits: ``S``; ``None`` if not defined.
        cause: Why; ``unknown`` if no hypothesis passes.
        hypotheses: Everything tried, the ones that pass first.
        alternatives: Ids of other causes that pass as well: what this comparison cannot tell from ``cause``.
        view: Where the arrays differ.
    """

    step: int
    phase: str
    node: str
    tensor: str
    precision: str
    names: tuple[str, str]
    kind: Literal["rounding", "semantic"]
    deviates: Literal["left", "right", "both", "unknown"]
    rho: tuple[float, float]
    max_abs: float
    bits: float | None
    cause: Cause
    hypotheses: tuple[Hypothesis, ...] = ()
    alternatives: tuple[str, ...] = ()
    view: View | None = None


@dataclass(frozen=True)
class LayerSide:
    """One side of a pair of layers.

    Attributes:
        name: Its path in the native model.
        native: The framework's name of it.
        code: How it would be written.
        where: File and line that calls it.
        shape: Of its output, with the framework's axes.
        settings: What it was read as, every setting; empty for an opaque one.
        unsaid: Settings left to the framework's default.
    """

    name: str
    native: str
    code: str
    where: str
    shape: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerPair:
    """Layers of both sides that stand for each other, in the order of execution; a side may have several or none.

    Attributes:
        left: The left side's.
        right: The right side's.
        how: Why they are a pair: ``order``, ``name``, ``shape``, ``weights``, ``mapping file``.
        local: Largest rho of each side on its own inputs, by precision.
        accumulated: Largest absolute difference of the outputs in the free forward pass, by precision.
        status: ``equal``, ``different``, ``not judged``.
    """

    left: tuple[LayerSide, ...]
    right: tuple[LayerSide, ...]
    how: str
    local: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    accumulated: Mapping[str, float] = field(default_factory=dict)
    status: Literal["equal", "different", "not judged"] = "not judged"


@dataclass(frozen=True)
class Trajectory:
    """Both sides running freely, and how far correct rounding alone may take them apart.

    Attributes:
        precision: Number format.
        steps: Numbers of the updates.
        gap: For each step the largest difference of the outputs for held-back examples.
        envelope: For each step the largest such difference between twins of the left side whose first weights are
            one unit in the last place apart; ``None`` if none were run.
        losses: Loss of each step, left and right.
    """

    precision: str
    steps: tuple[int, ...]
    gap: tuple[float, ...]
    envelope: tuple[float, ...] | None = None
    losses: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


@dataclass(frozen=True)
class NativeComparison:
    """What ``diff`` adds to a report.

    Attributes:
        findings: Every independent difference, the first one first.
        pairs: The layers of both sides.
        weights: How the weights were made equal: ``as they are``, ``copied from left``.
        matched: Pairs of weights: left name, right name, and what had to be done to their layout.
        unmatched: What could not be matched, a sentence each.
        configurations: Settings of loss, optimizer and loop on both sides, with those left unsaid: rows of
            (setting, left, right, unsaid by).
        trajectories: Free runs, by precision.
    """

    findings: tuple[Finding, ...]
    pairs: tuple[LayerPair, ...]
    weights: str
    matched: tuple[tuple[str, str, str], ...] = ()
    unmatched: tuple[str, ...] = ()
    configurations: tuple[tuple[str, Any, Any, str], ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
