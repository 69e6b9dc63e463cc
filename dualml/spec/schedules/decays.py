"""Schedules that fall from step to step: constant, exponential, polynomial, linear, inverse roots."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from dualml.spec.schedules.base import Length, Schedule, said, units


class ConstantSchedule(Schedule):
    """The same rate throughout."""

    kind = "constant"

    def value(self, lr: float, position: int, end: int) -> float:
        return lr


class ExponentialSchedule(Schedule):
    """``lr decay^(i / every)``, or ``lr decay^floor(i / every)`` with ``staircase``.

    ``keras.optimizers.schedules.ExponentialDecay``; with ``every: 1``, ``torch.optim.lr_scheduler.ExponentialLR``.
    """

    kind = "exponential"

    decay: float = Field(gt=0, le=1)
    """Factor over ``every`` units."""
    every: int = Field(default=1, gt=0)
    """Units in which the rate falls by the factor."""
    staircase: bool = False
    """Whether it falls at once at the end of them."""

    def value(self, lr: float, position: int, end: int) -> float:
        return lr * self.decay ** (position // self.every if self.staircase else position / self.every)


class InverseTime(Schedule):
    """``lr / (1 + decay i / every)``, ``i / every`` rounded down with ``staircase``.

    ``keras.optimizers.schedules.InverseTimeDecay``; PyTorch has no such scheduler.
    """

    kind = "inverse_time"

    decay: float = Field(gt=0)
    """How fast the rate falls."""
    every: int = Field(default=1, gt=0)
    """Units that count as one."""
    staircase: bool = False
    """Whether it falls only after each of these."""

    def value(self, lr: float, position: int, end: int) -> float:
        return lr / (1.0 + self.decay * (position // self.every if self.staircase else position / self.every))


class Polynomial(Schedule):
    """``(lr - final_lr) (1 - i / length)^power + final_lr`` up to ``length``, then ``final_lr``.

    With ``cycle``, ``length`` is first multiplied by ``ceil(i / length)``, at least 1: the rate rises again after each
    ``length`` (``keras.optimizers.schedules.PolynomialDecay``). Differs between the frameworks in ``final_lr``: 0 in
    ``torch.optim.lr_scheduler.PolynomialLR``, 1e-4 in Keras.
    """

    kind = "polynomial"

    length: Length = "training"
    """Units until the rate stays."""
    power: float = Field(default=1.0, gt=0)
    """Exponent."""
    final_lr: float | None = Field(default=None, ge=0)
    """Learning rate at the end: a rate, not a fraction."""
    cycle: bool = False
    """Whether it starts again after each ``length``, lower each time."""

    def value(self, lr: float, position: int, end: int) -> float:
        length, final = units(self.length, end), said(self.final_lr, "polynomial.final_lr")
        if self.cycle:
            length *= max(1, -(-position // length))
        done = min(position, length) / length
        return float((lr - final) * (1.0 - done) ** self.power + final)


class LinearSchedule(Schedule):
    """``lr (start + (final - start) i / length)`` up to ``length``, then ``lr final``.

    ``torch.optim.lr_scheduler.LinearLR``. Differs from it in the defaults: this one falls to 0, that one rises from 1/3
    to 1 over 5 steps.
    """

    kind = "linear"

    length: Length = "training"
    """Units until the rate stays."""
    start: float = Field(default=1.0, ge=0)
    """Fraction of the rate at first."""
    final: float = Field(default=0.0, ge=0)
    """Fraction of the rate at the end."""

    def value(self, lr: float, position: int, end: int) -> float:
        length = units(self.length, end)
        return lr * (self.start + (self.final - self.start) * min(length, position) / length)


class InverseSqrt(Schedule):
    """``lr min((i + 1) / length, sqrt(length / (i + 1)))``: rises to ``lr`` at update ``length``, then falls.

    The schedule of the Transformer (Vaswani et al., arXiv:1706.03762, eq. 3), whose formula
    ``d^-1/2 min(n^-1/2, n w^-3/2)`` with ``n = i + 1`` and ``w = length`` is this one with ``lr = (d w)^-1/2``.
    No stock scheduler of either framework.
    """

    kind = "inverse_sqrt"

    length: int = Field(gt=0)
    """Units of the rise."""

    @model_validator(mode="after")
    def _rises_once(self) -> InverseSqrt:
        if self.warmup is not None:
            raise ValueError("inverse_sqrt has a warm-up of its own, its length; leave warmup out")
        return self

    def value(self, lr: float, position: int, end: int) -> float:
        number = position + 1
        return lr * min(number / self.length, math.sqrt(self.length / number))
