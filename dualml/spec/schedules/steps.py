"""Schedules that change at certain steps only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from dualml.spec.schedules.base import AtBoundary, Schedule, said

Boundaries = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, strict=False)]


def passed(boundaries: tuple[int, ...], position: int, at_boundary: AtBoundary) -> int:
    """How many boundaries lie behind a position.

    Example:
        >>> passed((3, 5), 3, "new"), passed((3, 5), 3, "old")
        (1, 0)
    """
    return (bisect_right if at_boundary == "new" else bisect_left)(boundaries, position)


def check_rising(name: str, boundaries: tuple[int, ...]) -> None:
    """Refuse boundaries out of order.

    Raises:
        ValueError: One is not above the one before.
    """
    if any(one >= two for one, two in pairwise(boundaries)):
        raise ValueError(f"{name} must rise from each to the next, got {list(boundaries)}")


class Step(Schedule):
    """``lr decay^floor(i / every)``: ``torch.optim.lr_scheduler.StepLR``; Keras' staircase ``ExponentialDecay``."""

    kind = "step"

    every: int = Field(gt=0)
    """Units between two drops."""
    decay: float = Field(default=0.1, gt=0, le=1)
    """Factor of a drop."""

    def value(self, lr: float, position: int, end: int) -> float:
        return float(lr * self.decay ** (position // self.every))


class MultiStep(Schedule):
    """``lr decay^n``, ``n`` the number of milestones passed: ``torch.optim.lr_scheduler.MultiStepLR``.

    Differs between the frameworks in the rate *at* a milestone: new in PyTorch, still the old one in Keras'
    ``PiecewiseConstantDecay`` (``step <= boundary``).
    """

    kind = "multi_step"

    milestones: Boundaries
    """Where the rate drops."""
    decay: float = Field(default=0.1, gt=0, le=1)
    """Factor of a drop."""
    at_boundary: AtBoundary | None = None
    """Whether ``i`` equal to a milestone has the new rate or the old one."""

    @model_validator(mode="after")
    def _rises(self) -> MultiStep:
        check_rising("milestones", self.milestones)
        return self

    def value(self, lr: float, position: int, end: int) -> float:
        drops = passed(self.milestones, position, said(self.at_boundary, "multi_step.at_boundary"))
        return float(lr * self.decay**drops)


class Piecewise(Schedule):
    """``lr values[n]``, ``n`` the number of boundaries passed: ``keras.optimizers.schedules.PiecewiseConstantDecay``.

    Keras' values are learning rates; these are factors on ``optimizer.lr`` (the same with ``lr: 1.0``). Differs between
    the frameworks in the rate *at* a boundary: still the old one in Keras (``step <= boundary``), the new one in
    PyTorch's ``MultiStepLR``.
    """

    kind = "piecewise"

    boundaries: Boundaries
    """Where the rate changes."""
    values: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)]
    """Factors on the learning rate, one more than boundaries."""
    at_boundary: AtBoundary | None = None
    """Whether ``i`` equal to a boundary has the new rate or the old one."""

    @model_validator(mode="after")
    def _fits(self) -> Piecewise:
        check_rising("boundaries", self.boundaries)
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values must be one more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        return self

    def value(self, lr: float, position: int, end: int) -> float:
        return lr * self.values[passed(self.boundaries, position, said(self.at_boundary, "piecewise.at_boundary"))]
