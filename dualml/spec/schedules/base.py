"""What every schedule has: the unit it counts in, and a warm-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field

from dualml.spec.base import Keyed, Settings

History: TypeAlias = Sequence[Mapping[str, Any]]
"""A row of metrics for each complete epoch, as in ``metrics.jsonl``."""

Length: TypeAlias = Annotated[int, Field(gt=0)] | Literal["training"]
"""Units, or what is left of the training after the warm-up."""

AtBoundary: TypeAlias = Literal["new", "old"]
"""Which value the update at a boundary has."""

_Value = TypeVar("_Value")


class Warmup(Settings):
    """The rate rises linearly from ``start lr`` at update 0 to ``lr`` at update ``length``."""

    length: int = Field(gt=0)
    """How long, in the schedule's unit; the schedule proper counts from its end."""
    start: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the rate at the first update."""


class Schedule(Keyed):
    """What every schedule has: a rate for each ``i``, which counts from 0 in ``unit``."""

    unit: Literal["step", "epoch"] = "step"
    """Whether ``i`` counts optimizer updates or epochs."""
    warmup: Warmup | None = None
    """Linear warm-up before the schedule."""

    @property
    def spans_training(self) -> bool:
        """Whether the rates depend on the number of epochs."""
        return getattr(self, "length", None) == "training"

    def value(self, lr: float, position: int, end: int) -> float:
        """The learning rate after the warm-up.

        Args:
            lr: Learning rate before the schedule.
            position: ``i``: units since the end of the warm-up, 0 or more.
            end: Units from the end of the warm-up to the end of training.
        """
        raise NotImplementedError

    def rate(self, lr: float, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """Learning rate of one update.

        Args:
            lr: Learning rate before the schedule.
            step: Updates done before this one: 0 for the first.
            steps_per_epoch: Updates in an epoch.
            epochs: Epochs of the training.

        Returns:
            The rate, in double precision.

        Example:
            >>> from dualml import Step
            >>> Step(every=10, decay=0.5).rate(0.1, 10, steps_per_epoch=100, epochs=1)
            0.05
        """
        position = step if self.unit == "step" else step // steps_per_epoch
        end = epochs * steps_per_epoch if self.unit == "step" else epochs
        if self.warmup is not None:
            if position < self.warmup.length:
                risen = position / self.warmup.length
                return lr * (self.warmup.start + (1.0 - self.warmup.start) * risen)
            position, end = position - self.warmup.length, end - self.warmup.length
        return self.value(lr, position, end)

    def reduced(self, lr: float, history: History) -> float:
        """What the metrics of complete epochs leave of the learning rate; all of it for most schedules."""
        return lr


def said(value: _Value | None, name: str) -> _Value:
    """A setting that the conventions fill when a spec is resolved."""
    assert value is not None, f"{name} is filled by the conventions: ask a resolved spec for rates"
    return value


def units(length: int | Literal["training"], end: int) -> int:
    """A length in units, at least 1."""
    return max(1, end if length == "training" else length)
