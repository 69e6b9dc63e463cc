"""Cosine schedules and the one-cycle policy."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from dualml.spec.schedules.base import Length, Schedule, said, units


class Cosine(Schedule):
    """``lr (final + (1 - final) (1 + cos(pi i / length)) / 2)`` up to ``length``.

    (Loshchilov and Hutter, arXiv:1608.03983, eq. 5, without restarts.) Differs between the frameworks after ``length``:
    ``torch.optim.lr_scheduler.CosineAnnealingLR`` rises again, ``keras.optimizers.schedules.CosineDecay`` stays.
    ``final`` is a fraction, as in Keras; PyTorch's ``eta_min`` is ``lr final``.
    """

    kind = "cosine"

    length: Length = "training"
    """Units of the fall; ``training``: what is left of the training after the warm-up."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the rate at the end."""
    afterwards: Literal["stay", "rise"] | None = None
    """Whether the rate stays after ``length``, or rises and falls with the period ``2 length``."""

    def value(self, lr: float, position: int, end: int) -> float:
        length = units(self.length, end)
        if said(self.afterwards, "cosine.afterwards") == "stay":
            position = min(position, length)
        elif position % (2 * length) > length:  # the cosine of a large angle would be less exact
            position = 2 * length - position % (2 * length)
        else:
            position %= 2 * length
        return lr * (self.final + (1.0 - self.final) * fallen(position / length))


class CosineRestarts(Schedule):
    """Falls of a cosine, each ``multiplier`` times as long as the one before and ``shrink`` times as high.

    In fall ``n`` of ``T = length multiplier^n`` units, ``j`` units after its start:
    ``lr (final + (1 - final) shrink^n (1 + cos(pi j / T)) / 2)`` (Loshchilov and Hutter, arXiv:1608.03983, eq. 5).
    Differs between the frameworks in the multiplier: 1 in ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``
    (which has no ``shrink``), 2 in ``keras.optimizers.schedules.CosineDecayRestarts``. Keras finds ``n`` by a rounded
    logarithm, which can miss a restart by one step; this one does not.
    """

    kind = "cosine_restarts"

    length: int = Field(gt=0)
    """Units of the first fall."""
    multiplier: float | None = Field(default=None, ge=1)
    """How many times as long each fall is as the one before."""
    shrink: float = Field(default=1.0, gt=0, le=1)
    """How high each fall starts, as a fraction of the start before."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the rate at the end of a fall."""

    def value(self, lr: float, position: int, end: int) -> float:
        multiplier = said(self.multiplier, "cosine_restarts.multiplier")
        length, since, falls = float(self.length), float(position), 0
        if multiplier == 1.0:
            falls, since = position // self.length, float(position % self.length)
        else:
            while since >= length:
                since, length, falls = since - length, length * multiplier, falls + 1
        return lr * (self.final + (1.0 - self.final) * self.shrink**falls * fallen(since / length))


class OneCycle(Schedule):
    """Up from ``lr / start_divisor`` to ``lr``, then down to ``lr / (start_divisor final_divisor)``, in one training.

    (Smith and Topin, arXiv:1708.07120; ``torch.optim.lr_scheduler.OneCycleLR``, whose formulas and defaults these are;
    Keras has no such schedule.) With ``T = length``, the first phase ends at ``i = rise T - 1``, the last at ``T - 1``;
    with ``three_phases`` the fall to the first rate ends at ``2 rise T - 2``. Momentum is not changed: PyTorch's
    ``cycle_momentum=False``. After ``length`` the rate stays, where PyTorch raises an error.
    """

    kind = "one_cycle"

    length: Length = "training"
    """Units of the cycle."""
    rise: float = Field(default=0.3, ge=0, le=1)
    """Share of the cycle in which the rate rises."""
    anneal: Literal["cosine", "linear"] = "cosine"
    """Form of each phase."""
    start_divisor: float = Field(default=25.0, ge=1)
    """``lr`` divided by the first rate."""
    final_divisor: float = Field(default=1e4, ge=1)
    """The first rate divided by the last."""
    three_phases: bool = False
    """Whether the rate first falls to where it began, as fast as it rose, and then to the last one."""

    @model_validator(mode="after")
    def _has_room(self) -> OneCycle:
        if self.warmup is not None:
            raise ValueError("one_cycle begins with a warm-up of its own, rise; leave warmup out")
        if self.three_phases and self.rise > 0.5:
            raise ValueError(f"rise must be at most 0.5 with three_phases, as the fall takes as long, got {self.rise}")
        return self

    def value(self, lr: float, position: int, end: int) -> float:
        total = units(self.length, end)
        first = lr / self.start_divisor
        last = first / self.final_divisor
        phases = [(self.rise * total - 1.0, first, lr)]
        if self.three_phases:
            phases += [(2.0 * self.rise * total - 2.0, lr, first), (total - 1.0, first, last)]
        else:
            phases += [(total - 1.0, lr, last)]
        position = min(position, total - 1)
        start = 0.0
        for stop, high, low in phases[:-1]:
            if position <= stop:
                return self.between(high, low, start, stop, position)
            start = stop
        stop, high, low = phases[-1]
        return self.between(high, low, start, stop, position)

    def between(self, before: float, after: float, start: float, stop: float, position: int) -> float:
        """The rate in a phase."""
        if stop == start:  # a phase of no length
            return after
        share = (position - start) / (stop - start)
        if self.anneal == "linear":
            return (after - before) * share + before
        return after + (before - after) / 2.0 * (math.cos(math.pi * share) + 1.0)


def fallen(share: float) -> float:
    """Half a cosine: 1 at 0, 0 at 1."""
    return 0.5 * (1.0 + math.cos(math.pi * share))
