"""Losses given by a formula alone: gradients and bounds follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from dualml.protocol import Array
from dualml.reference import ops
from dualml.reference.arithmetic import error_of, value_of
from dualml.reference.losses.base import LossReference
from dualml.reference.rounding import Float, Rounded, double, underflow_unit
from dualml.reference.trace import Traced, gradients, source

Formula = Callable[[Any, Traced, Array], Traced]
"""From the settings, the outputs and the targets to values that are averaged over each example."""


@dataclass(frozen=True)
class FormulaLoss(LossReference):
    """The mean over each example of what a formula gives, of shape ``(examples, ...)``.

    Attributes:
        formula: The formula.
    """

    formula: Formula

    def _examples(self, settings: Any, outputs: Traced, targets: Array) -> Traced:
        values = self.formula(settings, outputs, targets)
        return values if values.ndim == 1 else ops.mean(values, tuple(range(1, values.ndim)))

    @override
    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        return self._examples(settings, source(outputs), targets).value

    @override
    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        losses = self._examples(settings, source(outputs, unit), targets)
        return error_of(losses.number) + 4.0 * underflow_unit(unit)

    @override
    def gradient(self, settings: Any, outputs: Float, targets: Array, count: float) -> Float:
        given = source(outputs)
        losses = self._examples(settings, given, targets)
        (found,) = gradients(losses, np.full(losses.shape, 1.0 / count), [given])
        return np.zeros_like(outputs) if found is None else value_of(found)

    @override
    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: float, unit: float) -> Float:
        given = source(outputs, unit)
        losses = self._examples(settings, given, targets)
        share = np.full(losses.shape, 1.0 / count)
        (found,) = gradients(losses, Rounded(share, 2.0 * unit * share, unit), [given])
        error = np.zeros_like(outputs) if found is None else error_of(found)
        return np.asarray(error + 4.0 * underflow_unit(unit))


def _rounded(like: Traced, array: Any, roundings: float) -> Any:
    """A constant that itself went through some roundings, where errors are followed."""
    number, exact = like.number, double(array)
    if not isinstance(number, Rounded):
        return exact
    return Traced(Rounded(exact, roundings * number.unit * np.abs(exact), number.unit))


def _error(outputs: Traced, targets: Array) -> Traced:
    return outputs - double(targets)


def _mae(settings: Any, outputs: Traced, targets: Array) -> Traced:  # noqa: ARG001 (one signature for all)
    return ops.absolute(_error(outputs, targets))


def _huber(settings: Any, outputs: Traced, targets: Array) -> Traced:
    error, delta = _error(outputs, targets), settings.delta
    inside = np.abs(error.value) <= delta
    return ops.where(inside, ops.square(error) * 0.5, (ops.absolute(error) - 0.5 * delta) * delta)


def _smooth_l1(settings: Any, outputs: Traced, targets: Array) -> Traced:
    error, beta = _error(outputs, targets), settings.beta
    inside = np.abs(error.value) < beta
    return ops.where(inside, ops.square(error) * 0.5 / beta, ops.absolute(error) - 0.5 * beta)


def _log_cosh(settings: Any, outputs: Traced, targets: Array) -> Traced:  # noqa: ARG001
    error = _error(outputs, targets)
    return error + ops.softplus(error * -2.0) - math.log(2.0)


def _margin(outputs: Traced, targets: Array) -> Traced:
    return ops.maximum(1.0 - outputs * double(targets), 0.0, ties="first")


def _hinge(settings: Any, outputs: Traced, targets: Array) -> Traced:  # noqa: ARG001
    return _margin(outputs, targets)


def _squared_hinge(settings: Any, outputs: Traced, targets: Array) -> Traced:  # noqa: ARG001
    return ops.square(_margin(outputs, targets))


def _one_hot(outputs: Traced, targets: Array) -> Float:
    return np.asarray(np.arange(outputs.shape[-1]) == np.asarray(targets)[..., None], dtype=np.float64)


def _categorical_hinge(settings: Any, outputs: Traced, targets: Array) -> Traced:  # noqa: ARG001
    chosen = _one_hot(outputs, targets)
    hardest = ops.max(outputs * (1.0 - chosen), -1, ties="even")
    return ops.maximum(hardest - ops.sum(outputs * chosen, -1) + 1.0, 0.0, ties="first")


def _multi_margin(settings: Any, outputs: Traced, targets: Array) -> Traced:
    chosen = _one_hot(outputs, targets)
    own = ops.sum(outputs * chosen, -1, keepdims=True)
    gaps = ops.relu(outputs - own + settings.margin)
    gaps = ops.square(gaps) if settings.p == 2 else gaps
    return ops.sum(ops.where(chosen == 0, gaps, 0.0), -1) / double(outputs.shape[-1])


def _focal_cross_entropy(settings: Any, outputs: Traced, targets: Array) -> Traced:
    chosen = _one_hot(outputs, targets)
    log_p = ops.sum(ops.log_softmax(outputs) * chosen, -1)
    alpha = np.broadcast_to(double(settings.alpha), (outputs.shape[-1],))[np.asarray(targets)]
    loss: Traced = -log_p * _rounded(outputs, alpha, 1)
    return loss if settings.gamma == 0 else loss * ops.power(-ops.expm1(log_p), settings.gamma)


def _binary_focal_cross_entropy(settings: Any, outputs: Traced, targets: Array) -> Traced:
    yes, no = double(targets), 1.0 - double(targets)
    loss = ops.softplus(-outputs) * yes + ops.softplus(outputs) * no
    if settings.alpha != "none":
        loss = loss * _rounded(outputs, yes * settings.alpha + no * (1.0 - settings.alpha), 4)
    if settings.gamma == 0:
        return loss
    wrong = ops.sigmoid(-outputs) * yes + ops.sigmoid(outputs) * no
    return loss * ops.power(wrong, settings.gamma)


def _cosine(settings: Any, outputs: Traced, targets: Array) -> Traced:
    t = double(targets)
    squares, own = ops.sum(ops.square(outputs), -1), (t * t).sum(axis=-1)
    epsilon = settings.epsilon
    if settings.guard == "add":
        norm, other = ops.sqrt(squares + epsilon), np.sqrt(own + epsilon)
    else:
        norm, other = ops.sqrt(ops.maximum(squares, epsilon**2)), np.sqrt(np.maximum(own, epsilon**2))
    cosine: Traced = ops.sum(outputs * t, -1) / norm / _rounded(outputs, other, outputs.shape[-1] + 4)
    return -cosine + float(settings.offset)


def _poisson(settings: Any, outputs: Traced, targets: Array) -> Traced:
    t = double(targets)
    if settings.log_input:
        return ops.exp(outputs) - outputs * t
    return outputs - ops.log(outputs + settings.epsilon) * t


LOSSES: Mapping[str, LossReference] = {
    "mae": FormulaLoss(_mae),
    "huber": FormulaLoss(_huber),
    "smooth_l1": FormulaLoss(_smooth_l1),
    "log_cosh": FormulaLoss(_log_cosh),
    "hinge": FormulaLoss(_hinge),
    "squared_hinge": FormulaLoss(_squared_hinge),
    "categorical_hinge": FormulaLoss(_categorical_hinge),
    "multi_margin": FormulaLoss(_multi_margin),
    "focal_cross_entropy": FormulaLoss(_focal_cross_entropy),
    "binary_focal_cross_entropy": FormulaLoss(_binary_focal_cross_entropy),
    "cosine": FormulaLoss(_cosine),
    "poisson": FormulaLoss(_poisson),
}
"""By kind."""
