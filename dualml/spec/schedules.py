"""Learning-rate schedules: settings and the rate of every update, computed once for both backends."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from dualml.spec.base import Keyed, OneKey, Settings


class Warmup(Settings):
    """The rate rises linearly from ``start lr`` at update 0 to ``lr`` at update ``length``."""

    length: int = Field(gt=0)
    """How long, in the schedule's unit; the schedule proper counts from its end."""
    start: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the rate at the first update."""


class Schedule(Keyed):
    """What every schedule has: the rate is ``lr factor(i)``, ``i`` counting from 0 in ``unit``."""

    unit: Literal["step", "epoch"] = "step"
    """Whether ``i`` counts optimizer updates or epochs."""
    warmup: Warmup | None = None
    """Linear warm-up before the schedule."""

    @property
    def spans_training(self) -> bool:
        """Whether the rates depend on the number of epochs."""
        return False

    def factor(self, position: int, end: int) -> float:
        """Factor on the learning rate.

        Args:
            position: Units since the end of the warm-up, 0 or more.
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
        return lr * self.factor(position, end)


class ConstantSchedule(Schedule):
    """The same rate throughout."""

    kind = "constant"

    def factor(self, position: int, end: int) -> float:
        return 1.0


class Step(Schedule):
    """``decay ^ floor(i / every)``: ``torch.optim.lr_scheduler.StepLR``; Keras' staircase ``ExponentialDecay``."""

    kind = "step"

    every: int = Field(gt=0)
    """Units between two drops."""
    decay: float = Field(default=0.1, gt=0, le=1)
    """Factor of a drop."""

    def factor(self, position: int, end: int) -> float:
        return float(self.decay ** (position // self.every))


class Cosine(Schedule):
    """``final + (1 - final) (1 + cos(pi i / length)) / 2`` up to ``length``, then ``final``.

    (Loshchilov and Hutter, arXiv:1608.03983, eq. 5, without restarts.) Differs from
    ``torch.optim.lr_scheduler.CosineAnnealingLR``, which rises again after ``T_max``; Keras' ``CosineDecay``
    stays at the end, as here.
    """

    kind = "cosine"

    length: Annotated[int, Field(gt=0)] | Literal["training"] = "training"
    """Units until the rate stays; ``training``: what is left of the training after the warm-up."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the rate at the end."""

    @property
    def spans_training(self) -> bool:
        return self.length == "training"

    def factor(self, position: int, end: int) -> float:
        length = end if self.length == "training" else self.length
        done = min(position / length, 1.0) if length > 0 else 1.0
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * done))


SCHEDULES: tuple[type[Schedule], ...] = (ConstantSchedule, Step, Cosine)
"""Every schedule, in the order of the documentation."""

AnySchedule: TypeAlias = Annotated[Schedule, OneKey(*SCHEDULES)]
"""The type of the spec's ``schedule``."""
