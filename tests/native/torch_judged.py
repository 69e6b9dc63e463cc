"""Judges what the torch adapter says of a model: every node's values and gradients by the reference of its claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dualml_torch.native.model import TorchNativeModel
from torch import nn

from dualml.native.protocol import OPAQUE, Observation
from dualml.native.read import read
from dualml.native.reading import Reading
from dualml.protocol import Array, Arrays, Batch, Gradients
from dualml.reference import forward_bound, local_gradients, node_forward, unit_roundoff
from dualml.spec.graph import Node
from dualml.spec.losses import MeanSquaredError


@dataclass(frozen=True)
class Judged:
    """What came out.

    Attributes:
        reading: What the model means.
        worst: The largest error in rounding units, by mode and node, or by weight.
    """

    reading: Reading
    worst: Mapping[str, float]

    @property
    def kinds(self) -> list[str]:
        return [node.operation for node in self.reading.graph.nodes]

    @property
    def outside(self) -> dict[str, float]:
        """What is no certified agreement."""
        return {name: rho for name, rho in self.worst.items() if not rho <= 1}


def judged(model: nn.Module, inputs: Arrays, precision: str = "float64", *, masked: bool = True) -> Judged:
    """Run a model in inference and in training with the loss ``MSELoss`` and judge every node of its reading."""
    native = TorchNativeModel(model, nn.MSELoss())
    native.start(precision)  # type: ignore[arg-type]
    reading = read(native.trace(inputs), native.get_weights(), precision, trained=native.parameters)  # type: ignore[arg-type]
    assert OPAQUE not in [node.operation for node in reading.graph.nodes], reading.notes
    weights = reading.neutral_weights(native.get_weights())
    unit = unit_roundoff(precision)
    generator = np.random.default_rng(1)
    worst: dict[str, float] = {}

    observed = native.forward(inputs, training=False)
    given = {name: _neutral(reading, observed, name) for name in reading.inputs}
    for node in reading.graph.nodes:
        worst[f"inference {node.name}"] = _forward_rho(
            reading, node, weights, observed, unit, training=False, mask=None
        )

    masks = {node.name: _mask(reading, node, given, generator) for node in reading.graph.dropouts} if masked else {}
    ours = {reading.places[name].calls[-1].name: _native_mask(reading, name, mask) for name, mask in masks.items()}
    shapes = {name: observed.values[key].shape for name, key in observed.outputs.items()}
    targets = {name: generator.standard_normal(shape).astype(precision) for name, shape in shapes.items()}
    back = native.backward(inputs, targets, masks=ours)
    for node in reading.graph.nodes:
        rho = _forward_rho(reading, node, weights, back, unit, training=True, mask=masks.get(node.name))
        worst[f"training {node.name}"] = rho
    worst |= _backward(reading, weights, given, targets, back, masks, unit)
    return Judged(reading, worst)


def _neutral(reading: Reading, observed: Observation, name: str) -> Array:
    return reading.neutral(name, observed.values[reading.places[name].value])


def _forward_rho(
    reading: Reading,
    node: Node,
    weights: Arrays,
    observed: Observation,
    unit: float,
    *,
    training: bool,
    mask: Array | None,
) -> float:
    sources = [_neutral(reading, observed, name) for name in node.inputs]
    wanted = node_forward(node, weights, sources, training=training, mask=mask)
    bound = forward_bound(node, weights, sources, training=training, mask=mask, unit=unit)
    return float(np.max(np.abs(_neutral(reading, observed, node.name) - wanted) / bound))


def _mask(reading: Reading, node: Node, given: Arrays, generator: np.random.Generator) -> Array:
    examples = len(next(iter(given.values())))
    assert node.random_mask is not None
    return generator.random((examples, *node.random_mask)) > 0.3


def _native_mask(reading: Reading, name: str, mask: Array) -> Array:
    node, axes = reading.graph.by_name[name], reading.places[name].axes
    if node.operation == "attention":
        return mask
    return np.transpose(np.broadcast_to(mask, (len(mask), *node.shape)), np.argsort(axes))


def _backward(
    reading: Reading,
    weights: Arrays,
    given: Arrays,
    targets: Arrays,
    back: Observation,
    masks: Arrays,
    unit: float,
) -> dict[str, float]:
    graph = reading.graph
    names = [*given, *(node.name for node in graph.nodes)]
    values = {name: _neutral(reading, back, name) for name in names}
    slopes = {}
    for name in names:
        slope = back.value_gradients.get(reading.places[name].value)
        slopes[name] = np.zeros(values[name].shape) if slope is None else reading.neutral(name, slope)
    (output,) = graph.outputs
    wanted = reading.neutral(output, next(iter(targets.values())))
    gradients = reading.neutral_weights(back.gradients)
    buffers = reading.neutral_weights(back.buffers)
    recorded = Gradients(back.loss or 0.0, np.zeros(len(wanted)), gradients, values, slopes, buffers)
    batch = Batch(given if len(given) > 1 else next(iter(given.values())), wanted)
    local = local_gradients(graph, weights, batch, MeanSquaredError(), recorded, masks=masks, unit=unit)
    worst: dict[str, float] = {}
    for name, gradient in local.parameters.items():
        worst[f"gradient {name}"] = _rho(gradients[name], gradient, local.parameter_bounds[name])
    for name in names:
        if values[name].dtype.kind == "f":
            worst[f"gradient at {name}"] = _rho(slopes[name], local.values[name], local.value_bounds[name])
    for name, buffer in local.buffers.items():
        worst[f"buffer {name}"] = _rho(buffers[name], buffer, local.buffer_bounds[name])
    return worst


def _rho(found: Array, wanted: Array, bound: Array) -> float:
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    return float(np.max(np.abs(found - wanted) / bound)) if found.size else 0.0
