"""What must hold for every model the spec takes: both backends build it, agree, and are right.

Each backend's pass is judged node by node by the float64 reference, within the reference's own bounds on rounding.
Then the two are compared with each other as wholes, where rounding of one node is carried on by the next ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualml import reference, registry
from dualml.protocol import Array, Batch, Gradients, Network
from dualml.spec.config import Spec
from dualml.spec.graph import Graph, parameter_count
from dualml.spec.losses import Loss
from dualml.testing.assertions import assert_close, assert_names, check
from dualml.testing.oracle import composed

UNIT = reference.unit_roundoff("float64")
LIMIT = 1e-9
"""Largest difference between the backends, relative to the largest number of an array."""
NEGLIGIBLE = 1e-3
"""Share of the largest number of all arrays of a kind below which an array's own largest number is no measure: exact
zeros, such as the gradient for a bias before a batch norm, leave rounding only."""
DISTURBANCE = 1e-12
"""Relative size of the disturbances that show how far a model carries rounding."""
LARGEST = 1e8
"""Numbers beyond it are no subject of comparison: the float64 of a loss's square would overflow next."""


@dataclass(frozen=True)
class Numbers:
    """Numbers for a model: weights, a batch and masks."""

    weights: dict[str, Array]
    batch: Batch
    masks: dict[str, Array]


def numbers_for(spec: Spec, seed: int, examples: int, *, weighted: bool) -> Numbers:
    """Weights uniform in (-1, 1), buffers a bit above their start, inputs in (-1.5, 1.5), targets that suit."""
    generator, graph = np.random.default_rng(seed), spec.graph
    weights = {item.name: generator.uniform(-1.0, 1.0, item.shape) for item in graph.parameters}
    weights |= {item.name: item.value + generator.uniform(0.0, 0.5, item.shape) for item in graph.buffers}
    below: dict[str, int] = {}
    for node in graph.nodes:
        limit = node.settings.integers_below()
        if limit is not None:
            below[node.inputs[0]] = min(limit, below.get(node.inputs[0], limit))
    inputs = {
        item.name: generator.integers(0, below.get(item.name, 3), (examples, *item.shape))
        if item.integer
        else generator.uniform(-1.5, 1.5, (examples, *item.shape))
        for item in graph.inputs
    }
    targets = {
        label: _targets(generator, term.loss, (examples, *graph.by_name[term.output].shape))
        for label, term in zip(graph.output_names, spec.objective.terms, strict=True)
    }
    masks = {
        node.name: generator.uniform(size=(examples, *(node.random_mask or ()))) >= node.settings.rate
        for node in graph.dropouts
    }
    own = generator.uniform(0.5, 2.0, examples) if weighted else None
    return Numbers(weights, Batch(inputs, targets, own), masks)


def _targets(generator: np.random.Generator, loss: Loss, shape: tuple[int, ...]) -> Array:
    if loss.target == "class":
        found = generator.integers(0, shape[-1], shape[:-1])
        ignored = getattr(loss, "ignore_index", "none")
        if ignored != "none":
            found.flat[0] = ignored
        return found
    if loss.values == "distribution":
        parts = generator.uniform(0.1, 1.0, shape)
        return parts / parts.sum(axis=-1, keepdims=True)
    if loss.values == "sign":
        return np.where(generator.uniform(size=shape) < 0.5, -1.0, 1.0)
    if loss.values == "probability":
        return generator.uniform(0.0, 1.0, shape)
    return generator.uniform(0.0, 2.0, shape) if loss.values == "count" else generator.uniform(-1.0, 1.0, shape)


def native_parameters(network: Network, name: str) -> int:
    """Trainable numbers of a native model, counted by its framework's own means."""
    if name == "torch":
        return sum(item.numel() for item in network.native.parameters() if item.requires_grad)
    return sum(math.prod(item.shape) for item in network.native.trainable_variables)


@dataclass(frozen=True)
class Pass:
    """What one backend made of a model."""

    inference: dict[str, Array]
    training: Gradients


def within_range(spec: Spec, numbers: Numbers) -> bool:
    """Whether everything stays far from overflow, as the reference computes it."""
    with np.errstate(all="ignore"):
        found = reference.gradients(
            spec.graph, numbers.weights, numbers.batch, spec.objective, masks=numbers.masks or None
        )
        inference = reference.forward(spec.graph, numbers.weights, numbers.batch.inputs)
    arrays = (
        *found.values.values(),
        *found.values_gradients.values(),
        *found.parameters.values(),
        np.array(found.loss),
    )
    return all(np.abs(array).max(initial=0.0) < LARGEST for array in (*arrays, *inference.values()))


def check_model(spec: Spec, numbers: Numbers, backends: tuple[str, ...] = ("torch", "tensorflow")) -> None:
    """Build a model in every backend and check all that must hold."""
    passes = []
    for name in sorted(backends, key=registry.load_order):
        backend = registry.load(name)
        registry.check(backend, spec.replace(backend=name).resolved)
        network = backend.build(spec.graph, numbers.weights)
        count = native_parameters(network, name)
        check(
            count == parameter_count(spec.graph),
            f"the number of {name}'s trainable parameters",
            f"be {parameter_count(spec.graph)}",
            f"it is {count}",
        )
        passes.append(run(network, name, spec, numbers))
        judge(name, passes[-1], spec, numbers)
    compare(spec, numbers, *passes)


def run(network: Any, name: str, spec: Spec, numbers: Numbers) -> Pass:
    """One pass in each mode, everything tapped."""
    inputs, nodes = numbers.batch.inputs, tuple(spec.graph.by_name)
    if name == "tensorflow":  # forward() would be traced anew for every model, which takes longer than all the rest
        tensors = network.values(network.input_tensors(inputs), {}, nodes, training=False)
        inference = {node: tensor.numpy() for node, tensor in tensors.items()}
    else:
        inference = network.forward(inputs, taps=nodes)
    training = network.gradients(
        numbers.batch, spec.objective, masks=numbers.masks or None, taps=list(spec.graph.names)
    )
    return Pass(inference, training)


def judge(name: str, found: Pass, spec: Spec, numbers: Numbers) -> None:
    """Every node's value, gradient and buffer against the reference, given what the backend itself fed the node."""
    graph, batch, masks = spec.graph, numbers.batch, numbers.masks or None
    given = graph.named_inputs(batch.inputs)
    for training, values in ((False, found.inference), (True, found.training.values)):
        mode = "training" if training else "inference"
        for node, must in composed(graph, numbers.weights, {**values, **given}, masks, training=training).items():
            what = f"{name}: the value of {node!r} ({graph.by_name[node].operation}) in {mode}"
            assert_close(what, values[node], must.value, 2.0 * must.bound)  # the reference rounds as well
    got = found.training
    outputs = {item: got.values[item] for item in graph.outputs}
    arguments = (spec.objective, outputs, graph.named_targets(batch.targets), batch.weights, None)
    scored, bounds = reference.objective_value(*arguments), reference.objective_bound(*arguments, unit=UNIT)
    added = reference.penalties(spec.objective, graph, numbers.weights)
    bound = bounds.value + reference.penalties_bound(spec.objective, graph, numbers.weights, scored.value, unit=UNIT)
    assert_close(f"{name}: the loss", got.loss, scored.value + added, 2.0 * bound)
    assert_close(f"{name}: the losses of the examples", got.example_losses, scored.examples, 2.0 * bounds.examples)
    must = reference.local_gradients(graph, numbers.weights, batch, spec.objective, got, masks=masks, unit=UNIT)
    assert_names(f"{name}: the gradients", got.parameters, must.parameters)
    assert_names(f"{name}: the new buffers", got.buffers, must.buffers)
    for node, value in must.values.items():
        operation = graph.by_name[node].operation if node in graph.by_name else "input"
        what = f"{name}: the gradient for the value of {node!r} ({operation}), given those of its readers,"
        assert_close(what, got.values_gradients[node], value, 2.0 * must.value_bounds[node])
    for item, value in must.parameters.items():
        assert_close(
            f"{name}: the gradient for {item!r}", got.parameters[item], value, 2.0 * must.parameter_bounds[item]
        )
    for item, value in must.buffers.items():
        assert_close(f"{name}: the new {item!r}", got.buffers[item], value, 2.0 * must.buffer_bounds[item])


def kinds_of_arrays(inference: Any, training: Gradients) -> dict[str, dict[str, Array]]:
    """Everything that two passes can be compared in, by what it is."""
    return {
        "value in inference": dict(inference),
        "value in training": dict(training.values),
        "gradient for the value": dict(training.values_gradients),
        "gradient for the parameter": dict(training.parameters),
        "new buffer": dict(training.buffers),
        "loss": {"all": np.array(training.loss), "of the examples": training.example_losses},
    }


def compare(spec: Spec, numbers: Numbers, left: Pass, right: Pass) -> None:
    """The two backends as wholes.

    Where they differ by more than ``LIMIT`` the model itself must carry rounding that far: the reference, with weights
    and inputs disturbed by ``DISTURBANCE``, must move at least a tenth as far. That is so where a value lies at a kink
    up to rounding (equal values reach a maximum by two ways), or is divided by a spread near 0.
    """
    ours, theirs = (kinds_of_arrays(side.inference, side.training) for side in (left, right))
    spread: dict[str, dict[str, Array]] | None = None
    largest = {
        what: max((float(np.abs(array).max(initial=0.0)) for array in arrays.values()), default=0.0)
        for what, arrays in ours.items()
    }
    gradients = max(size for what, size in largest.items() if what.startswith("gradient"))
    for what, arrays in ours.items():
        for name, array in arrays.items():
            size = gradients if what.startswith("gradient") else largest[what]
            other = theirs[what][name]
            scale = max(float(np.abs(array).max(initial=0.0)), NEGLIGIBLE * size)
            if np.abs(array - other).max(initial=0.0) <= LIMIT * scale:
                continue
            spread = spread or _spread(spec, numbers)
            allowed = 10.0 * spread[what][name].max(initial=0.0) + LIMIT * scale
            assert_close(f"the {what} of {name!r} in both backends", other, array, allowed)


def _spread(spec: Spec, numbers: Numbers, twins: int = 8) -> dict[str, dict[str, Array]]:
    """How far the exact model moves when weights and inputs do by a few roundings."""
    graph, masks = spec.graph, numbers.masks or None
    found = []
    for twin in range(twins + 1):
        generator = np.random.default_rng(twin) if twin else None
        weights = {name: _near(array, generator) for name, array in numbers.weights.items()}
        given = graph.named_inputs(numbers.batch.inputs)
        inputs = {name: _near(array, generator) for name, array in given.items()}
        batch = Batch(inputs, numbers.batch.targets, numbers.batch.weights)
        training = reference.gradients(graph, weights, batch, spec.objective, masks=masks)
        found.append(kinds_of_arrays(reference.forward(graph, weights, inputs), training))
    first, *others = found
    return {
        what: {
            name: np.max([np.abs(other[what][name] - array) for other in others], axis=0)
            for name, array in items.items()
        }
        for what, items in first.items()
    }


def _near(array: Array, generator: np.random.Generator | None) -> Array:
    """An array, or one a little off; whole numbers stay."""
    if generator is None or array.dtype.kind != "f":
        return array
    return array * (1.0 + DISTURBANCE * generator.uniform(-1.0, 1.0, array.shape))


def same_graph(left: Graph, right: Graph) -> None:
    """Two graphs are of the same nodes, wiring, settings, parameters and buffers."""
    assert left.inputs == right.inputs
    assert (left.outputs, left.output_names) == (right.outputs, right.output_names)
    assert [_described(node) for node in left.nodes] == [_described(node) for node in right.nodes]


def _described(node: Any) -> tuple[Any, ...]:
    parameters = [(item.name, item.role, item.shape, item.fan_in, item.fan_out) for item in node.parameters]
    return (node.name, node.settings, node.inputs, node.shape, parameters, node.buffers, node.owner, node.random_mask)
