"""What is right, and how far rounding may move a correct result: the judge of every check.

Values, losses and updates are judged by ``dualml.reference``, the spec's formulas in float64, each node given
what the backend itself fed it, so that bounds on rounding stay as tight as one operation. Gradients are judged
twice: node by node by the reference's derivatives, and as a whole by central differences of the
reference's forward pass, where no mistake in a derivative can hide. No other backend is ever asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml import randomness, reference
from dualml.protocol import Arrays, Batch, Gradients, Masks, State
from dualml.spec.graph import Graph
from dualml.spec.objective import Minimised
from dualml.spec.optimizers import Clipping, Optimizer

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What a value must be, and how far a correct one may lie from it.

    Attributes:
        value: Float64.
        bound: Of the same shape.
    """

    value: Float
    bound: Float


def composed(
    graph: Graph, weights: Arrays, values: Arrays, masks: Masks | None, *, training: bool
) -> dict[str, Judged]:
    """What each node makes of the recorded values of its inputs.

    Args:
        graph: The model.
        weights: In working precision.
        values: The input and what the backend says each node's value is.
        masks: Dropout masks.
        training: Whether random layers are active.
    """
    unit = reference.unit_roundoff(graph.precision)
    found = {}
    for node in graph.nodes:
        sources = [values[name] for name in node.inputs]
        mask = (masks or {}).get(node.name)
        found[node.name] = Judged(
            reference.node_forward(node, weights, sources, training=training, mask=mask),
            reference.forward_bound(node, weights, sources, training=training, mask=mask, unit=unit),
        )
    return found


# ------------------------------------------------------------------ gradients by central differences

_STENCIL = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
"""Distances in steps and weights of the sixth-order central difference (Fornberg, Math. Comp. 51, 1988, table 1)."""
_STEP = 2.0**-7


def central_differences(function: Callable[[Float], float], at: Float) -> Judged:
    """Derivative of a scalar function for every value of its argument.

    Central differences of sixth order with two step sizes, ``h`` and ``h / 2``: the coarser one is off by its
    truncation, at least 2^6 times that of the finer, and by rounding. So the distance between them bounds the
    error of the finer one but for rounding, of which there is at most the relative error of some 2^6
    roundings in each function value, divided by the step.

    Args:
        function: Smooth within 3 ``h`` of ``at``.
        at: Where; not changed.
    """
    coarse, fine = np.empty(at.shape), np.empty(at.shape)
    largest = 0.0
    moved = at.astype(np.float64)
    for index in np.ndindex(at.shape):
        for step, slopes in ((_STEP, coarse), (_STEP / 2, fine)):
            slope = 0.0
            for distance, weight in _STENCIL:
                moved[index] = at[index] + distance * step
                above = function(moved)
                moved[index] = at[index] - distance * step
                below = function(moved)
                slope += weight * (above - below) / step
                largest = max(largest, abs(above), abs(below))
            slopes[index] = slope
            moved[index] = at[index]
    rounding = 2**6 * np.finfo(np.float64).eps / 2 * largest / (_STEP / 2)
    return Judged(fine, np.abs(coarse - fine) + rounding)


def parameter_gradients(
    graph: Graph, weights: Arrays, batch: Batch, loss: Minimised, masks: Masks | None, count: int | None = None
) -> dict[str, Judged]:
    """Gradient of the loss for each parameter, by central differences."""

    def loss_with(name: str, value: Float) -> float:
        moved = {**weights, name: value}
        held = _held_embeddings(graph, weights, moved, batch)
        return reference.loss_of(graph, moved, batch, loss, masks=masks, count=count, replaced=held)

    return {
        name: central_differences(lambda value, name=name: loss_with(name, value), weights[name])  # type: ignore[misc]
        for name in (item.name for item in graph.parameters)
    }


def _held_embeddings(graph: Graph, weights: Arrays, moved: Arrays, batch: Batch) -> dict[str, Float]:
    """Values of the embeddings with padding where weights have moved, but for the rows of padding that they read.

    An embedding reads its row of padding without training it, so this use of the row has no part in its gradient;
    a tied layer's has.
    """
    held = {}
    for node in graph.nodes:
        row = getattr(node.settings, "padding_index", None)
        if row is not None:
            (table,) = node.parameters
            still = moved[table.name].copy()
            still[row] = weights[table.name][row]
            ids = graph.named_inputs(batch.inputs)[node.inputs[0]]
            held[node.name] = reference.node_forward(node, {table.name: still}, [ids], training=True)
    return held


def value_gradients(
    graph: Graph, weights: Arrays, batch: Batch, loss: Minimised, masks: Masks | None, count: int | None = None
) -> dict[str, Judged]:
    """Gradient of the loss for each input of values and each node's value, by central differences."""
    at = reference.forward(graph, weights, batch.inputs, training=True, masks=masks)
    integers = {item.name for item in graph.inputs if item.integer}

    def loss_with(name: str, value: Float) -> float:
        return reference.loss_of(graph, weights, batch, loss, masks=masks, count=count, replaced={name: value})

    return {
        name: central_differences(lambda value, name=name: loss_with(name, value), at[name])  # type: ignore[misc]
        for name in at
        if name not in integers
    }


def input_gradients(graph: Graph, weights: Arrays, inputs: Any, slopes: Arrays) -> dict[str, Judged]:
    """Gradient of ``sum(slopes * outputs)`` in inference mode for each input of values, by central differences."""
    given = graph.named_inputs(inputs)

    def total(name: str, value: Float) -> float:
        values = reference.forward(graph, weights, {**given, name: value})
        return sum(float((slope * values[output]).sum()) for output, slope in slopes.items())

    return {
        item.name: central_differences(lambda value, name=item.name: total(name, value), given[item.name])  # type: ignore[misc]
        for item in graph.inputs
        if not item.integer
    }


# ------------------------------------------------------------------ updates and trainings


@dataclass(frozen=True)
class JudgedUpdate:
    """What one update must leave behind.

    Attributes:
        parameters: By name.
        slots: By slot and name.
        step: Updates done.
    """

    parameters: dict[str, Judged]
    slots: dict[str, dict[str, Judged]]
    step: int


def updated(
    optimizer: Optimizer,
    clip: Clipping | None,
    weights: Arrays,
    gradients: Arrays,
    state: State,
    lr: float,
    *,
    precision: str,
    gradient_errors: Arrays | None = None,
) -> JudgedUpdate:
    """One update from given weights, gradients and state.

    Args:
        optimizer: Resolved.
        clip: Resolved, or ``None``.
        weights: Before the update.
        gradients: Before clipping.
        state: Before the update.
        lr: Learning rate.
        precision: The working precision.
        gradient_errors: How far the gradients themselves may be off; not with clipping.
    """
    unit = reference.unit_roundoff(precision)
    moved, after = reference.apply(optimizer, clip, weights, gradients, state, lr)
    if gradient_errors is None:
        bounds, slot_bounds = reference.apply_bounds(optimizer, clip, weights, gradients, state, lr, unit=unit)
    else:
        bounds, slot_bounds = reference.update_bounds(
            optimizer, weights, gradients, state, lr, unit=unit, gradient_errors=gradient_errors
        )
    return JudgedUpdate(
        {name: Judged(moved[name], bounds[name]) for name in moved},
        {
            slot: {name: Judged(arrays[name], slot_bounds[slot][name]) for name in arrays}
            for slot, arrays in after.slots.items()
        },
        after.step,
    )


@dataclass(frozen=True)
class Piece:
    """The examples of one update, its learning rate and masks."""

    batch: Batch
    lr: float
    masks: Masks | None = None


@dataclass(frozen=True)
class JudgedTraining:
    """What a training must give.

    Attributes:
        losses: Loss of each update, before it.
        parameters: Afterwards, by name.
    """

    losses: Judged
    parameters: dict[str, Judged]


_TWINS = 8
_SAFETY = 8.0


def trained(
    graph: Graph,
    weights: Arrays,
    loss: Minimised,
    optimizer: Optimizer,
    clip: Clipping | None,
    pieces: Sequence[Piece],
) -> JudgedTraining:
    """Several updates, one after the other.

    Local bounds do not add up to anything useful over several updates, so the bound here is an envelope: ``_TWINS``
    trainings in which every weight and every gradient is moved at each update by as much as rounding in
    working precision could, in random directions, spread around the undisturbed one; ``_SAFETY`` times the widest
    of them is the bound. "As much as rounding could" is ``n u`` relative, ``n`` being the largest number of
    terms of any sum: the backward error of a sum (Higham, section 3.1).
    """
    unit = reference.unit_roundoff(graph.precision)
    longest = max([len(piece.batch) for piece in pieces] + [item.fan_in + 1 for item in graph.parameters])
    runs = [_train(graph, weights, loss, optimizer, clip, pieces, longest * unit, twin) for twin in range(_TWINS + 1)]
    (losses, parameters), twins = runs[0], runs[1:]

    def judged(value: Float, others: list[Float]) -> Judged:
        spread = np.max([np.abs(other - value) for other in others], axis=0)
        return Judged(value, _SAFETY * (spread.max() + longest * unit * np.abs(value)))

    return JudgedTraining(
        judged(losses, [twin[0] for twin in twins]),
        {name: judged(value, [twin[1][name] for twin in twins]) for name, value in parameters.items()},
    )


def _train(
    graph: Graph,
    weights: Arrays,
    loss: Minimised,
    optimizer: Optimizer,
    clip: Clipping | None,
    pieces: Sequence[Piece],
    size: float,
    twin: int,
) -> tuple[Float, dict[str, Float]]:
    """One training in float64; twin 0 is the undisturbed one."""

    def disturbed(arrays: Arrays, path: str, step: int) -> dict[str, Any]:
        return {
            name: value
            * (
                1.0
                + (
                    size * (2.0 * randomness.uniform(twin, f"{path}/{name}", value.shape, step=step) - 1.0)
                    if twin
                    else 0.0
                )
            )
            for name, value in arrays.items()
        }

    now = {name: value.astype(np.float64) for name, value in weights.items()}
    names = [item.name for item in graph.parameters]
    state = reference.initial_state(optimizer, {name: now[name] for name in names})
    losses = []
    for step, piece in enumerate(pieces):
        now = disturbed(now, "weights", step)
        found: Gradients = reference.gradients(graph, now, piece.batch, loss, masks=piece.masks)
        losses.append(found.loss)
        moved, state = reference.apply(
            optimizer,
            clip,
            {name: now[name] for name in names},
            disturbed(found.parameters, "gradients", step),
            state,
            piece.lr,
        )
        now = {**now, **moved, **found.buffers}
    return np.array(losses), now
