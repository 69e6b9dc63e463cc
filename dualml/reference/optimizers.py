"""Optimizer updates: formulas and bounds on their rounding errors, each formula written once.

A rule is evaluated twice: on float64 arrays it gives the update; on ``Rounded`` ones the same expressions give
the bound. The bounds admit every hyper-parameter rounded to the *working* precision: with a float32 beta
``1 - 0.999`` may be off by 1,000 u (it is off by 220 u), and so may the second moment; Keras' stock Adam computes
its bias corrections like that. In float64 the same bounds are 2^29 times tighter, and a beta that passed
through float32 lies far outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualml.protocol import Arrays, State
from dualml.reference.clipping import clip, clip_bound
from dualml.reference.rounding import Float, Rounded, double
from dualml.spec.optimizers import Adam, AdamW, Optimizer, Sgd

Number = Any
"""A float64 array, or a ``Rounded`` one."""

_SLACK = 2.0  # other orders of the same operations: (lr m) / d for lr (m / d), and the like


class _Exact:
    """Arithmetic that gives the meaning of a formula."""

    def setting(self, value: float) -> Number:
        return value

    def correction(self, beta: float, step: int) -> Number:
        """``1 - beta^step``."""
        return 1.0 - beta**step

    def array(self, value: Float, error: Float | None = None) -> Number:
        return value

    def average(self, weight: Number, old: Number, new: Number) -> Number:
        """``weight old + (1 - weight) new``."""
        return weight * old + (1.0 - weight) * new

    def root(self, value: Number) -> Number:
        return np.sqrt(value)

    def quotient(self, numerator: Number, divisor: Number, limit: float) -> Number:
        """``numerator / divisor``, which is known to be at most ``limit``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return numerator / divisor


@dataclass(frozen=True)
class _Bounded(_Exact):
    """Arithmetic that gives the bound of a formula."""

    unit: float

    def setting(self, value: float) -> Number:
        return Rounded(value, self.unit * abs(value), self.unit)

    def correction(self, beta: float, step: int) -> Number:
        # A relative error u of beta becomes step u in the power; the power itself is good to a few ulp.
        power = beta**step
        return Rounded(1.0 - power, self.unit * ((step + 4.0) * power + (1.0 - power)), self.unit)

    def array(self, value: Float, error: Float | None = None) -> Number:
        return Rounded(value, 0.0 if error is None else error, self.unit)

    def average(self, weight: Number, old: Number, new: Number) -> Number:
        # Both frameworks also compute old + (1 - weight)(new - old), which loses digits where new is far below old.
        direct, by_difference = super().average(weight, old, new), old + (1.0 - weight) * (new - old)
        return Rounded(direct.value, np.maximum(direct.error, by_difference.error), self.unit)

    def root(self, value: Number) -> Number:
        return value.root()

    def quotient(self, numerator: Number, divisor: Number, limit: float) -> Number:
        # Where the divisor is lost in rounding, the step may go either way, but no further than Adam ever goes.
        result = numerator / divisor
        return result.capped((np.abs(result.value) + limit) / _SLACK)  # certain as it is: no slack


_Rule = Callable[[Any, _Exact, Number, Number, Mapping[str, Number], int, float], tuple[Number, dict[str, Number]]]


def _decay(settings: Any, arithmetic: _Exact, p: Number, g: Number, lr: Number) -> tuple[Number, Number]:
    """Weight decay: coupled into the gradient, or decoupled into the parameter."""
    if not settings.weight_decay:
        return p, g
    decay = arithmetic.setting(settings.weight_decay)
    if settings.decay == "coupled":
        return p, g + decay * p
    return p - lr * decay * p, g


def _sgd(
    settings: Sgd, arithmetic: _Exact, p: Number, g: Number, slots: Mapping[str, Number], _step: int, rate: float
) -> tuple[Number, dict[str, Number]]:
    lr = arithmetic.setting(rate)
    p, g = _decay(settings, arithmetic, p, g, lr)
    if not settings.momentum:
        return p - lr * g, {}
    momentum, buffer = arithmetic.setting(settings.momentum), slots["momentum"]
    if settings.lr_in_momentum:
        buffer = momentum * buffer - lr * g
        moved = p + momentum * buffer - lr * g if settings.nesterov else p + buffer
    else:
        buffer = momentum * buffer + g
        moved = p - lr * (g + momentum * buffer if settings.nesterov else buffer)
    return moved, {"momentum": buffer}


def _largest_step(settings: Adam, step: int) -> float:
    """Largest ``|m / c1| / sqrt(v / c2)`` of any gradients, by the Cauchy-Schwarz inequality on both sums."""
    b1, b2 = float(settings.beta1 or 0.0), float(settings.beta2 or 0.0)
    if b2 <= b1 * b1:
        return float(np.inf)
    moments = (1.0 - b1) / np.sqrt((1.0 - b2) * (1.0 - b1 * b1 / b2))
    return float(moments * np.sqrt(1.0 - b2**step) / (1.0 - b1**step))


def _adam(
    settings: Adam, arithmetic: _Exact, p: Number, g: Number, slots: Mapping[str, Number], step: int, rate: float
) -> tuple[Number, dict[str, Number]]:
    lr = arithmetic.setting(rate)
    p, g = _decay(settings, arithmetic, p, g, lr)
    b1, b2 = arithmetic.setting(settings.beta1 or 0.0), arithmetic.setting(settings.beta2 or 0.0)
    c1 = arithmetic.correction(settings.beta1 or 0.0, step)
    c2 = arithmetic.correction(settings.beta2 or 0.0, step)
    epsilon = arithmetic.setting(settings.epsilon or 0.0)
    m = arithmetic.average(b1, slots["first_moment"], g)
    v = arithmetic.average(b2, slots["second_moment"], g * g)
    if settings.epsilon_placement == "corrected":
        numerator, divisor = lr / c1 * m, arithmetic.root(v) / arithmetic.root(c2) + epsilon
    else:
        numerator, divisor = lr * arithmetic.root(c2) / c1 * m, arithmetic.root(v) + epsilon
    moved = p - arithmetic.quotient(numerator, divisor, rate * _largest_step(settings, step))
    return moved, {"first_moment": m, "second_moment": v}


RULES: Mapping[str, _Rule] = {Sgd.kind: _sgd, Adam.kind: _adam, AdamW.kind: _adam}
"""Every optimizer's rule, by kind."""


def _each(
    optimizer: Optimizer,
    arithmetic: _Exact,
    parameters: Arrays,
    gradients: Arrays,
    errors: Arrays | None,
    state: State,
    lr: float,
) -> tuple[dict[str, Number], dict[str, dict[str, Number]]]:
    moved: dict[str, Number] = {}
    slots: dict[str, dict[str, Number]] = {slot: {} for slot in optimizer.slots}
    for name, parameter in parameters.items():
        error = None if errors is None else double(errors[name])
        moved[name], after = RULES[optimizer.kind](
            optimizer,
            arithmetic,
            arithmetic.array(double(parameter)),
            arithmetic.array(double(gradients[name]), error),
            {slot: arithmetic.array(double(state.slots[slot][name])) for slot in optimizer.slots},
            state.step + 1,
            lr,
        )
        for slot, value in after.items():
            slots[slot][name] = value
    return moved, slots


def initial_state(optimizer: Optimizer, parameters: Arrays) -> State:
    """What an optimizer remembers before its first update: zeros."""
    zeros = {slot: {name: np.zeros(np.shape(array)) for name, array in parameters.items()} for slot in optimizer.slots}
    return State(step=0, slots=zeros)


def update(
    optimizer: Optimizer, parameters: Arrays, gradients: Arrays, state: State, lr: float
) -> tuple[dict[str, Float], State]:
    """One update.

    Args:
        optimizer: The spec's optimizer, every setting filled in; its own ``lr`` is not used.
        parameters: By name, any precision.
        gradients: For each parameter: those used, already clipped.
        state: Memory before the update.
        lr: Learning rate of this update.

    Returns:
        Parameters and memory after the update, float64. Adam without epsilon makes a parameter whose gradients
        were all 0 NaN, as the formula says and both frameworks do.

    Raises:
        KeyError: A parameter has no gradient or no slot.
    """
    moved, slots = _each(optimizer, _Exact(), parameters, gradients, None, state, lr)
    return moved, State(step=state.step + 1, slots=slots)


def update_bounds(
    optimizer: Optimizer,
    parameters: Arrays,
    gradients: Arrays,
    state: State,
    lr: float,
    *,
    unit: float,
    gradient_errors: Arrays | None = None,
) -> tuple[dict[str, Float], dict[str, dict[str, Float]]]:
    """Bounds on the rounding errors of ``update``, given its arguments.

    Args:
        optimizer: As for ``update``, and so the other arguments.
        parameters: By name, in working precision.
        gradients: For each parameter.
        state: Memory before the update.
        lr: Learning rate of this update.
        unit: Unit roundoff of the working precision.
        gradient_errors: Bounds on the errors of the gradients; ``None``: they are exact.

    Returns:
        Bounds for each parameter, and for each slot and parameter; float64, greater than 0, and finite where
        the update is.
    """
    moved, slots = _each(optimizer, _Bounded(unit), parameters, gradients, gradient_errors, state, lr)
    return (
        {name: _SLACK * value.error for name, value in moved.items()},
        {slot: {name: _SLACK * value.error for name, value in values.items()} for slot, values in slots.items()},
    )


def apply(
    optimizer: Optimizer, clipping: Any, parameters: Arrays, gradients: Arrays, state: State, lr: float
) -> tuple[dict[str, Float], State]:
    """Clip, then update: what ``dualml.protocol.Trainer.apply`` does with the gradients as recorded."""
    return update(optimizer, parameters, clip(clipping, gradients), state, lr)


def apply_bounds(
    optimizer: Optimizer, clipping: Any, parameters: Arrays, gradients: Arrays, state: State, lr: float, *, unit: float
) -> tuple[dict[str, Float], dict[str, dict[str, Float]]]:
    """Bounds on the rounding errors of ``apply``: those of clipping, propagated through the update, and its own."""
    errors = None if clipping is None else clip_bound(clipping, gradients, unit)
    clipped = clip(clipping, gradients)
    return update_bounds(optimizer, parameters, clipped, state, lr, unit=unit, gradient_errors=errors)
