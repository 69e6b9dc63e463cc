"""Losses in the forms that frameworks give them: from probabilities, clipped, reduced in another way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dualml.parity.hypotheses.nodes import bound_of
from dualml.protocol import Array
from dualml.reference import loss_gradient, loss_gradient_bound, loss_value, loss_value_bound, ops
from dualml.reference.arithmetic import value_of
from dualml.reference.losses import LOSSES, denominator
from dualml.reference.losses.cross_entropy import LogitCrossEntropy
from dualml.reference.rounding import Float, Rounded, gamma, underflow_unit
from dualml.reference.trace import Traced, gradients, source
from dualml.spec.losses import Loss

Takes = Literal["logits", "probabilities", "normalised", "logarithms", "softmax", "sigmoid"]
"""What the loss does first: ``logits`` nothing; ``probabilities`` takes the outputs for them; ``normalised`` the same
after dividing by their sum; ``logarithms`` takes the outputs for logarithms of probabilities; ``softmax`` or
``sigmoid`` turns them into probabilities that it takes for logits."""

ClipForm = Literal["clip", "add", "again"]
"""How probabilities are kept away from 0: within limits, by a number that is added, or within limits and then divided
by their sum."""

CLIPS = (1e-7, 1e-8, 1e-12, 1e-6, 1e-10, 1e-15)
"""Known numbers that keep probabilities away from 0."""

Judged = tuple[tuple[float, float] | None, tuple[Float, Float] | None]
"""Value and its bound, gradient and its bounds."""


@dataclass(frozen=True)
class LossForm:
    """One way to compute a loss.

    Attributes:
        loss: The loss of the spec.
        takes: What it does to the outputs first.
        clip: Probabilities stay within ``clip`` and ``1 - clip``; 0: they are not clipped.
        clip_form: ``clip``; ``add`` adds the number instead; ``again`` clips, then divides by the sum.
        factor: What value and gradient are multiplied by, for another reduction.
    """

    loss: Loss
    takes: Takes = "logits"
    clip: float = 0.0
    clip_form: ClipForm = "clip"
    factor: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether the reference has its value and bounds as they are."""
        return self.takes == "logits" and self.clip == 0.0

    def evaluate(self, outputs: Array, targets: Array, unit: float) -> Judged:
        """Value and gradient for the outputs, with bounds.

        Raises:
            ValueError: The loss has no such form.
        """
        if self.plain:
            value = loss_value(self.loss, outputs, targets), loss_value_bound(self.loss, outputs, targets, unit=unit)
            slope = (
                loss_gradient(self.loss, outputs, targets),
                loss_gradient_bound(self.loss, outputs, targets, unit=unit),
            )
        else:
            value, slope = self._traced(outputs, targets, unit)
        factor, size = self.factor, abs(self.factor)
        more = gamma(4, unit) if factor != 1.0 else 0.0
        return (
            (value[0] * factor, size * (value[1] + more * abs(value[0]))),
            (slope[0] * factor, size * (slope[1] + more * np.abs(slope[0]))),
        )

    def _traced(self, outputs: Array, targets: Array, unit: float) -> tuple[tuple[float, float], tuple[Float, Float]]:
        """By reverse-mode differentiation of the formula, on numbers with bounds."""
        given = source(outputs, unit)
        with np.errstate(all="ignore"):
            total = self._formula(given, np.asarray(targets))
            one = Rounded(np.ones(total.shape), 0.0, unit)
            (slope,) = gradients(total, one, [given])
        number = slope if slope is not None else np.zeros(np.shape(outputs))
        bound = bound_of(Traced(number)) + underflow_unit(unit)
        value = float(total.value)
        return (value, float(bound_of(total)) + underflow_unit(unit)), (np.array(value_of(number)), bound)

    def _formula(self, outputs: Traced, targets: Array) -> Traced:
        kind = self.loss.kind
        if self.takes in ("softmax", "sigmoid"):
            return self._logits(ops.softmax(outputs, -1) if self.takes == "softmax" else ops.sigmoid(outputs), targets)
        if kind == "binary_cross_entropy":
            return self._binary(outputs, targets)
        reference = LOSSES[kind]
        if not isinstance(reference, LogitCrossEntropy):
            raise ValueError(f"{kind} has no form from probabilities")
        settings: Any = self.loss
        q = reference.targets(settings, outputs.value, targets)
        p = outputs
        if self.takes == "logits":
            p = ops.softmax(outputs, -1)
        elif self.takes == "normalised":
            p = outputs / ops.sum(outputs, -1, keepdims=True)
        logarithm = outputs if self.takes == "logarithms" else ops.log(self._kept(p))
        if self.clip_form == "again":
            kept = self._kept(p)
            logarithm = logarithm - ops.log(ops.sum(kept, -1, keepdims=True))
        losses = -ops.sum(logarithm * q, tuple(range(outputs.ndim)))
        divisor = reference._divisor(settings, outputs.value, denominator(self.loss, targets) or 1.0)
        result: Traced = losses / divisor
        if kind == "kl_divergence":
            constant = float(loss_value(self.loss, np.zeros(outputs.shape), targets)) - math.log(outputs.shape[-1]) * (
                float(q.sum()) / divisor
            )
            result = result + constant
        return result

    def _kept(self, p: Traced) -> Traced:
        if self.clip == 0.0:
            return p
        if self.clip_form == "add":
            return p + self.clip
        found: Traced = ops.clip(p, self.clip, 1.0 - self.clip)
        return found

    def _binary(self, outputs: Traced, targets: Array) -> Traced:
        settings: Any = self.loss
        t = np.asarray(targets, dtype=np.float64).reshape(outputs.shape)
        t = (1.0 - settings.label_smoothing) * t + settings.label_smoothing / 2.0
        weight = np.broadcast_to(np.asarray(settings.pos_weight, dtype=np.float64), t.shape)
        if self.takes == "logarithms":
            raise ValueError("a binary loss takes no logarithms")
        p = self._kept(ops.sigmoid(outputs) if self.takes == "logits" else outputs)
        losses = ops.log(p) * (t * weight) + ops.log(1.0 - p) * (1.0 - t)
        result: Traced = -ops.sum(losses, tuple(range(outputs.ndim))) / float(t.size)
        return result

    def _logits(self, outputs: Traced, targets: Array) -> Traced:
        """The loss from logits of something computed."""
        settings: Any = self.loss
        if self.loss.kind == "binary_cross_entropy":
            t = np.asarray(targets, dtype=np.float64).reshape(outputs.shape)
            t = (1.0 - settings.label_smoothing) * t + settings.label_smoothing / 2.0
            weight = np.broadcast_to(np.asarray(settings.pos_weight, dtype=np.float64), t.shape)
            losses = ops.softplus(-outputs) * (t * weight) + ops.softplus(outputs) * (1.0 - t)
            found: Traced = ops.sum(losses, tuple(range(outputs.ndim))) / float(t.size)
            return found
        reference = LOSSES[self.loss.kind]
        if not isinstance(reference, LogitCrossEntropy) or self.loss.kind == "kl_divergence":
            raise ValueError(f"{self.loss.kind} is not taken of logits")
        q = reference.targets(settings, outputs.value, targets)
        losses = -ops.sum(ops.log_softmax(outputs, -1) * q, tuple(range(outputs.ndim)))
        divisor = reference._divisor(settings, outputs.value, denominator(self.loss, targets) or 1.0)
        result: Traced = losses / divisor
        return result
