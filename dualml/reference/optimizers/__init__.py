"""Optimizer updates and bounds on their rounding errors, each formula written once.

A rule is evaluated twice: on float64 arrays it gives the update; on ``Rounded`` ones the same expressions give
the bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dualml.protocol import Arrays, State
from dualml.reference.clipping import clip, clip_bound
from dualml.reference.optimizers.arithmetic import SLACK, Bounded, Exact, Number
from dualml.reference.optimizers.rules import RULES, Update
from dualml.reference.rounding import Float, double, underflow_unit
from dualml.spec.optimizers import AVERAGE, Ema, Optimizer


def _each(
    optimizer: Optimizer,
    arithmetic: Exact,
    parameters: Arrays,
    gradients: Arrays,
    errors: Arrays | None,
    state: State,
    lr: float,
) -> tuple[dict[str, Number], dict[str, dict[str, Number]]]:
    moved: dict[str, Number] = {}
    slots: dict[str, dict[str, Number]] = {slot: {} for slot in optimizer.slots}
    for name, parameter in parameters.items():
        shape = np.shape(parameter)
        error = None if errors is None else double(errors[name])
        update = Update(
            optimizer,
            name,
            shape,
            state.step + 1,
            lr * optimizer.lr_factor(name),
            optimizer.decay_of(name, shape),
            arithmetic,
        )
        before = {
            slot: arithmetic.array(double(state.slots[slot][name])) for slot in optimizer.slot_shapes(name, shape)
        }
        moved[name], after = RULES[optimizer.kind](
            update, arithmetic.array(double(parameter)), arithmetic.array(double(gradients[name]), error), before
        )
        if optimizer.ema is not None:
            after[AVERAGE] = _averaged(optimizer.ema, arithmetic, before[AVERAGE], moved[name], state.step + 1)
        for slot, value in after.items():
            slots[slot][name] = value
    return moved, slots


def _averaged(ema: Ema, arithmetic: Exact, average: Number, parameter: Number, step: int) -> Number:
    """The average of a parameter's values after an update."""
    if step % ema.every:
        return average
    if step == ema.every:
        return parameter
    return arithmetic.average(arithmetic.setting(ema.decay or 0.0), average, parameter)


def initial_state(optimizer: Optimizer, parameters: Arrays) -> State:
    """What an optimizer remembers before its first update: zeros, or what ``slot_start`` says."""
    slots: dict[str, dict[str, Float]] = {slot: {} for slot in optimizer.slots}
    for name, array in parameters.items():
        for slot, shape in optimizer.slot_shapes(name, np.shape(array)).items():
            slots[slot][name] = np.full(shape, optimizer.slot_start(slot), dtype=np.float64)
    return State(step=0, slots=slots)


def update(
    optimizer: Optimizer, parameters: Arrays, gradients: Arrays, state: State, lr: float
) -> tuple[dict[str, Float], State]:
    """One update.

    Args:
        optimizer: The spec's optimizer, every setting filled in; its own ``lr`` is not used.
        parameters: By name, any precision.
        gradients: For each parameter: those used, already clipped.
        state: Memory before the update.
        lr: Learning rate of this update, before the groups' factors.

    Returns:
        Parameters and memory after the update, float64. Adam without epsilon makes a parameter whose gradients
        were all 0 NaN, as the formula says and both frameworks do.

    Raises:
        KeyError: A parameter has no gradient or no slot.
    """
    moved, slots = _each(optimizer, Exact(), parameters, gradients, None, state, lr)
    arrays = {slot: {name: double(value) for name, value in values.items()} for slot, values in slots.items()}
    return {name: double(value) for name, value in moved.items()}, State(step=state.step + 1, slots=arrays)


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
    moved, slots = _each(optimizer, Bounded(unit), parameters, gradients, gradient_errors, state, lr)

    def bound(value: Any) -> Float:
        return SLACK * (np.broadcast_to(value.error, value.value.shape) + underflow_unit(unit))

    return (
        {name: bound(value) for name, value in moved.items()},
        {slot: {name: bound(value) for name, value in values.items()} for slot, values in slots.items()},
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
