"""Whole graphs: forward values, and gradients by the chain rule, in float64; and every node judged by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.reference.layers import backward_bound, node_backward, node_forward, sum_bound
from dualml.reference.losses import example_losses, loss_gradient, loss_gradient_bound
from dualml.reference.rounding import Float, double
from dualml.spec.graph import INPUT, Graph
from dualml.spec.losses import Loss


def forward(
    graph: Graph, weights: Arrays, inputs: Array, *, training: bool = False, masks: Masks | None = None
) -> dict[str, Float]:
    """Evaluate a model.

    Args:
        graph: The model.
        weights: All parameters by neutral name, any precision.
        inputs: Shape ``(examples, *graph.input_shape)``, any precision.
        training: Whether random layers are active.
        masks: Which values each dropout node keeps; needed in training.

    Returns:
        The input and the output of every node, by name, float64.
    """
    values = {INPUT: double(inputs)}
    for node in graph.nodes:
        sources = [values[name] for name in node.inputs]
        mask = (masks or {}).get(node.name)
        values[node.name] = node_forward(node, weights, sources, training=training, mask=mask)
    return values


def gradients(
    graph: Graph,
    weights: Arrays,
    batch: Batch,
    loss: Loss,
    *,
    masks: Masks | None = None,
    count: int | None = None,
) -> Gradients:
    """One forward and backward pass in training mode.

    Args:
        graph: The model.
        weights: All parameters by neutral name, any precision.
        batch: The examples.
        loss: What is differentiated.
        masks: Which values each dropout node keeps.
        count: What the sum of the examples' losses is divided by; ``None``: their number.

    Returns:
        Loss, gradients, and values and value gradients of the input and every node, float64.
    """
    number = len(batch) if count is None else count
    values = forward(graph, weights, batch.inputs, training=True, masks=masks)
    outputs = values[graph.output]
    of_values: dict[str, Float] = {name: np.zeros_like(array) for name, array in values.items()}
    of_values[graph.output] = loss_gradient(loss, outputs, batch.targets, number)
    of_parameters: dict[str, Float] = {}
    for node in reversed(graph.nodes):
        sources = [values[name] for name in node.inputs]
        mask = (masks or {}).get(node.name)
        to_inputs, to_parameters = node_backward(node, weights, sources, of_values[node.name], training=True, mask=mask)
        of_parameters.update(to_parameters)
        for name, gradient in zip(node.inputs, to_inputs, strict=True):
            of_values[name] = of_values[name] + gradient
    losses = example_losses(loss, outputs, batch.targets)
    ordered = {parameter.name: of_parameters[parameter.name] for parameter in graph.parameters}
    return Gradients(float(losses.sum()) / number, losses, ordered, dict(values), of_values)


@dataclass(frozen=True)
class LocalGradients:
    """What each node should have passed on, given what it was given.

    Attributes:
        parameters: Gradient for each parameter.
        parameter_bounds: Bounds on their rounding errors.
        values: Gradient for the input and each node's output.
        value_bounds: Bounds on their rounding errors.
    """

    parameters: dict[str, Float]
    parameter_bounds: dict[str, Float]
    values: dict[str, Float]
    value_bounds: dict[str, Float]


def local_gradients(
    graph: Graph,
    weights: Arrays,
    batch: Batch,
    loss: Loss,
    recorded: Gradients,
    *,
    masks: Masks | None = None,
    count: int | None = None,
    unit: float,
) -> LocalGradients:
    """Judge a recorded backward pass node by node: no error of one node is charged to another.

    Each node's gradients are computed from the recorded values of its inputs and the recorded gradient for
    its output. A value used in several places receives the sum of theirs, rounded in any order.

    Args:
        graph: The model.
        weights: All parameters, in working precision.
        batch: The examples.
        loss: What was differentiated.
        recorded: One pass in training mode with every node and ``input`` tapped.
        masks: Which values each dropout node kept.
        count: What the sum of the examples' losses was divided by; ``None``: their number.
        unit: Unit roundoff of the working precision.
    """
    number = len(batch) if count is None else count
    outputs = recorded.values[graph.output]
    terms: dict[str, list[Float]] = {name: [] for name in (INPUT, *graph.by_name)}
    errors: dict[str, list[Float]] = {name: [] for name in terms}
    terms[graph.output].append(loss_gradient(loss, outputs, batch.targets, number))
    errors[graph.output].append(loss_gradient_bound(loss, outputs, batch.targets, number, unit=unit))
    parameters: dict[str, Float] = {}
    parameter_bounds: dict[str, Float] = {}
    for node in graph.nodes:
        sources = [batch.inputs if name == INPUT else recorded.values[name] for name in node.inputs]
        given = recorded.values_gradients[node.name]
        mask = (masks or {}).get(node.name)
        to_inputs, to_parameters = node_backward(node, weights, sources, given, training=True, mask=mask)
        input_bounds, bounds = backward_bound(node, weights, sources, given, training=True, mask=mask, unit=unit)
        parameters.update(to_parameters)
        parameter_bounds.update(bounds)
        for name, term, error in zip(node.inputs, to_inputs, input_bounds, strict=True):
            terms[name].append(term)
            errors[name].append(error)
    values = {name: np.sum(parts, axis=0) for name, parts in terms.items()}
    value_bounds = {
        name: np.sum(parts, axis=0) + (sum_bound(terms[name], unit) if len(parts) > 1 else 0.0)
        for name, parts in errors.items()
    }
    return LocalGradients(parameters, parameter_bounds, values, value_bounds)
