"""The schedule that waits for a metric to improve."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from dualml.spec.schedules.base import History, Schedule, said


class ReduceOnPlateau(Schedule):
    """After too many epochs without improvement, ``lr <- max(lr decay, min_lr)``.

    The rate of an epoch is a pure function of the metrics of the epochs before it, so a resumed training has the rates
    of the undisturbed one. ``unit`` concerns the warm-up only, in which epochs count as well.

    Differs between the frameworks (``torch.optim.lr_scheduler.ReduceLROnPlateau``,
    ``keras.callbacks.ReduceLROnPlateau``): PyTorch waits one epoch longer, measures improvement relatively, leaves the
    last epoch of the cooldown out of the count, and leaves out reductions below 1e-8.
    """

    kind = "reduce_on_plateau"

    metric: str = "val_loss"
    """What is watched: ``train_loss``, ``val_loss``, or ``val_`` and a metric's name."""
    decay: float = Field(default=0.1, gt=0, lt=1)
    """Factor of a reduction."""
    patience: int = Field(default=10, ge=0)
    """Epochs without improvement that are borne."""
    reduces: Literal["at_patience", "after_patience"] | None = None
    """Whether the rate falls after ``patience`` epochs without improvement (at least 1), or after one more."""
    threshold: float = Field(default=1e-4, ge=0)
    """Smallest improvement that counts."""
    threshold_mode: Literal["relative", "absolute"] | None = None
    """Whether the threshold is a share of the best value."""
    cooldown: int = Field(default=0, ge=0)
    """Epochs after a reduction in which none is counted as without improvement."""
    cooldown_end: Literal["ignored", "counted"] | None = None
    """Whether the last epoch of the cooldown counts already."""
    min_lr: float = Field(default=0.0, ge=0)
    """Lowest rate that a reduction leads to."""
    smallest_change: float | None = Field(default=None, ge=0)
    """A reduction must be larger than this."""
    direction: Literal["down", "up"] | None = None
    """Whether lower or higher is better; left out, what the metric says."""

    def value(self, lr: float, position: int, end: int) -> float:
        return lr

    def reduced(self, lr: float, history: History) -> float:
        later = said(self.reduces, "reduce_on_plateau.reduces") == "after_patience"
        most = self.patience + 1 if later else max(1, self.patience)
        counts_end = said(self.cooldown_end, "reduce_on_plateau.cooldown_end") == "counted"
        smallest = said(self.smallest_change, "reduce_on_plateau.smallest_change")
        best: float | None = None
        waited = cooldown = 0
        for row in history:
            value = row.get(self.metric)
            if value is None:
                value = math.nan  # undefined in this epoch: no improvement
            cooling = cooldown > 0
            cooldown -= cooling
            if not math.isnan(value) if best is None else self.improves(value, best):
                best, waited = value, 0
            elif cooling and not (counts_end and cooldown == 0):
                waited = 0
            else:
                waited = 1 if cooling else waited + 1
            if waited >= most:
                lower = max(lr * self.decay, self.min_lr)
                if lr - lower > smallest:
                    lr = lower
                cooldown, waited = self.cooldown, 0
        return lr

    def improves(self, value: float, best: float) -> bool:
        """Whether a value is better than the best so far by the threshold."""
        sign = 1.0 if said(self.direction, "reduce_on_plateau.direction") == "up" else -1.0
        if said(self.threshold_mode, "reduce_on_plateau.threshold_mode") == "relative":
            limit = best * (1.0 + sign * self.threshold)
        else:
            limit = best + sign * self.threshold
        return value > limit if sign > 0 else value < limit
