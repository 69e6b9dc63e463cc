"""Whole graphs: forward values, and gradients by the chain rule, in float64; and every node judged by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.reference.layers import (
    backward_bound,
    new_buffers,
    new_buffers_bound,
    node_backward,
    node_forward,
    sum_bound,
)
from dualml.reference.objective import objective_value, output_gradient_bounds, output_gradients
from dualml.reference.regularizers import penalty, penalty_bound, penalty_gradient_bounds, penalty_gradients
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.graph import Graph
from dualml.spec.objective import Minimised, Objective, as_objective


def forward(
    graph: Graph,
    weights: Arrays,
    inputs: Array | Arrays,
    *,
    training: bool = False,
    masks: Masks | None = None,
    replaced: Arrays | None = None,
) -> dict[str, Float]:
    """Evaluate a model.

    Args:
        graph: The model.
        weights: All parameters and buffers by neutral name, any precision.
        inputs: As in ``Batch``, any precision.
        training: Whether random layers are active and norms use the batch's statistics.
        masks: Which values each node that draws keeps; needed in training.
        replaced: Values of inputs and nodes to use instead of their own.

    Returns:
        Every input and the output of every node, by name, float64.
    """
    replaced = replaced or {}
    given = graph.named_inputs(inputs)
    values = {name: double(replaced.get(name, array)) for name, array in given.items()}
    for node in graph.nodes:
        if node.name in replaced:
            values[node.name] = double(replaced[node.name])
            continue
        sources = [values[name] for name in node.inputs]
        mask = (masks or {}).get(node.name)
        values[node.name] = node_forward(node, weights, sources, training=training, mask=mask)
    return values


def trainable(graph: Graph, weights: Arrays) -> dict[str, Array]:
    """The parameters among all weights."""
    return {item.name: weights[item.name] for item in graph.parameters}


def penalties(objective: Objective, graph: Graph, weights: Arrays) -> float:
    """The sum of an objective's penalties."""
    own = trainable(graph, weights)
    return sum(penalty(regularizer, own) for regularizer in objective.penalties)


def penalties_bound(objective: Objective, graph: Graph, weights: Arrays, value: float, *, unit: float) -> float:
    """Bound on the rounding errors of ``penalties`` and of adding them to ``value``."""
    own = trainable(graph, weights)
    bound = sum(penalty_bound(regularizer, own, unit=unit) for regularizer in objective.penalties)
    count = len(objective.penalties)
    return bound + (gamma(count, unit) * (abs(value) + penalties(objective, graph, weights)) if count else 0.0)


def loss_of(
    graph: Graph,
    weights: Arrays,
    batch: Batch,
    loss: Minimised,
    *,
    masks: Masks | None = None,
    count: int | None = None,
    replaced: Arrays | None = None,
) -> float:
    """The objective in training mode.

    Args:
        graph: The model.
        weights: All parameters and buffers by neutral name, any precision.
        batch: The examples.
        loss: What is minimised.
        masks: Which values each node that draws keeps.
        count: What the sum of the examples' losses is divided by; ``None``: what the loss says.
        replaced: Values of inputs and nodes to use instead of their own.
    """
    values = forward(graph, weights, batch.inputs, training=True, masks=masks, replaced=replaced)
    objective = as_objective(loss, graph)
    data = objective_value(objective, values, graph.named_targets(batch.targets), batch.weights, count).value
    return data + penalties(objective, graph, weights)


def gradients(
    graph: Graph,
    weights: Arrays,
    batch: Batch,
    loss: Minimised,
    *,
    masks: Masks | None = None,
    count: int | None = None,
) -> Gradients:
    """One forward and backward pass in training mode.

    Args:
        graph: The model.
        weights: All parameters and buffers by neutral name, any precision.
        batch: The examples.
        loss: What is differentiated.
        masks: Which values each node that draws keeps.
        count: What the sum of the examples' losses is divided by; ``None``: what the loss says.

    Returns:
        Loss, gradients, values and value gradients of every input and node, and the new buffers, float64.
    """
    objective, targets = as_objective(loss, graph), graph.named_targets(batch.targets)
    values = forward(graph, weights, batch.inputs, training=True, masks=masks)
    of_values: dict[str, Float] = {name: np.zeros_like(array) for name, array in values.items()}
    for name, gradient in output_gradients(objective, values, targets, batch.weights, count).items():
        of_values[name] = of_values[name] + gradient
    of_parameters = {item.name: np.zeros(item.shape) for item in graph.parameters}
    buffers: dict[str, Float] = {}
    for node in reversed(graph.nodes):
        sources = [values[name] for name in node.inputs]
        mask = (masks or {}).get(node.name)
        to_inputs, to_parameters = node_backward(node, weights, sources, of_values[node.name], training=True, mask=mask)
        for name, gradient in to_parameters.items():
            of_parameters[name] = of_parameters[name] + gradient
        for name, gradient in zip(node.inputs, to_inputs, strict=True):
            of_values[name] = of_values[name] + gradient
        buffers |= new_buffers(node, weights, sources)
    for item in graph.inputs:
        if item.integer:
            of_values[item.name] = np.zeros_like(of_values[item.name])
    for regularizer in objective.penalties:
        for name, slope in penalty_gradients(regularizer, trainable(graph, weights)).items():
            of_parameters[name] = of_parameters[name] + slope
    scored = objective_value(objective, values, targets, batch.weights, count)
    value = scored.value + penalties(objective, graph, weights)
    ordered = {item.name: buffers[item.name] for item in graph.buffers}
    return Gradients(value, scored.examples, dict(of_parameters), dict(values), of_values, dict(ordered))


@dataclass(frozen=True)
class LocalGradients:
    """What each node should have passed on, given what it was given.

    Attributes:
        parameters: Gradient for each parameter.
        parameter_bounds: Bounds on their rounding errors.
        values: Gradient for each input and each node's output.
        value_bounds: Bounds on their rounding errors.
        buffers: What each buffer should have become.
        buffer_bounds: Bounds on their rounding errors.
    """

    parameters: dict[str, Float]
    parameter_bounds: dict[str, Float]
    values: dict[str, Float]
    value_bounds: dict[str, Float]
    buffers: dict[str, Float]
    buffer_bounds: dict[str, Float]


_PARTS = 4
"""A node may pass on its gradient in parts that join the sum one by one, each with a rounding of the sum so far: three
of attention (queries, keys, values), up to four of a normalisation. Where they are added first, their bound has it."""


class _Sums:
    """Terms that are added up for each name, with bounds on their errors and on that of adding them in any order."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.terms: dict[str, list[Float]] = {name: [] for name in shapes}
        self.bounds: dict[str, list[Float]] = {name: [] for name in shapes}

    def add(self, name: str, term: Float, bound: Float) -> None:
        self.terms[name].append(term)
        self.bounds[name].append(bound)

    def totals(self) -> dict[str, Float]:
        return {
            name: np.sum(terms, axis=0) if terms else np.zeros(self.shapes[name]) for name, terms in self.terms.items()
        }

    def total_bounds(self, unit: float) -> dict[str, Float]:
        found = {}
        for name, bounds in self.bounds.items():
            total = np.sum(bounds, axis=0) if bounds else np.full(self.shapes[name], underflow_unit(unit))
            if len(bounds) > 1:
                size = np.sum(np.abs(self.terms[name]), axis=0)
                total = total + sum_bound(self.terms[name], unit) + gamma(_PARTS, unit) * size
            found[name] = total
        return found


def local_gradients(
    graph: Graph,
    weights: Arrays,
    batch: Batch,
    loss: Minimised,
    recorded: Gradients,
    *,
    masks: Masks | None = None,
    count: int | None = None,
    unit: float,
) -> LocalGradients:
    """Judge a recorded backward pass node by node: no error of one node is charged to another.

    Each node's gradients are computed from the recorded values of its inputs and the recorded gradient for
    its output. A value or a parameter used in several places receives the sum of theirs, rounded in any order.

    Args:
        graph: The model.
        weights: All parameters and buffers, in working precision.
        batch: The examples.
        loss: What was differentiated.
        recorded: One pass in training mode with every node and input tapped.
        masks: Which values each node that draws kept.
        count: What the sum of the examples' losses was divided by; ``None``: what the loss says.
        unit: Unit roundoff of the working precision.
    """
    objective, targets = as_objective(loss, graph), graph.named_targets(batch.targets)
    given = graph.named_inputs(batch.inputs)
    known = {**recorded.values, **given}
    values = _Sums({name: known[name].shape for name in graph.names})
    parameters = _Sums({item.name: item.shape for item in graph.parameters})
    outputs = {name: known[name] for name in graph.outputs}
    slopes = output_gradients(objective, outputs, targets, batch.weights, count)
    slope_bounds = output_gradient_bounds(objective, outputs, targets, batch.weights, count, unit=unit)
    for name, slope in slopes.items():
        values.add(name, slope, slope_bounds[name])
    integers = {item.name for item in graph.inputs if item.integer}
    buffers: dict[str, Float] = {}
    buffer_bounds: dict[str, Float] = {}
    for node in graph.nodes:
        sources = [known[name] for name in node.inputs]
        received = recorded.values_gradients[node.name]
        mask = (masks or {}).get(node.name)
        to_inputs, to_parameters = node_backward(node, weights, sources, received, training=True, mask=mask)
        input_bounds, bounds = backward_bound(node, weights, sources, received, training=True, mask=mask, unit=unit)
        for name, term in to_parameters.items():
            parameters.add(name, term, bounds[name])
        for name, term, bound in zip(node.inputs, to_inputs, input_bounds, strict=True):
            if name not in integers:
                values.add(name, term, bound)
        buffers |= new_buffers(node, weights, sources)
        buffer_bounds |= new_buffers_bound(node, weights, sources, unit=unit)
    for regularizer in objective.penalties:
        own = trainable(graph, weights)
        slope_bounds = penalty_gradient_bounds(regularizer, own, unit=unit)
        for name, slope in penalty_gradients(regularizer, own).items():
            if regularizer.applies(name):
                parameters.add(name, slope, slope_bounds[name])
    return LocalGradients(
        parameters.totals(),
        parameters.total_bounds(unit),
        values.totals(),
        values.total_bounds(unit),
        buffers,
        buffer_bounds,
    )
