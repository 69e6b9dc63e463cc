"""The order of flattened features: a matter of convention as long as the next kernel's rows stand in the same one.

PyTorch flattens an image channels first, Keras channels last. A port of one to the other permutes the rows of the
dense kernel behind it, and both mean the same. So values and weights from a flattening up to the next dense layers
are taken in one order, channels last, on both sides; a kernel whose rows were not permuted then differs, as it should.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from dualml.native.reading import Reading
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph, Node
from dualml.spec.layers import Flatten

Order = NDArray[np.int64]
"""Where each feature of the common order stands in the framework's."""

ACROSS = ("softmax", "log_softmax", "glu")
"""Activations that mix features or care for their order; softmax mixes, but in no order, so it may pass."""

ELEMENTWISE = frozenset({"dropout", "alpha_dropout", "stochastic_depth"})
MERGING = frozenset({"add", "subtract", "multiply", "average", "maximum", "minimum"})
FEATURE_WEIGHTS = frozenset({"batch_norm", "layer_norm", "rms_norm", "prelu"})


@dataclass(frozen=True)
class Ordered(Reading):
    """A reading whose flattened features are in the common order.

    Attributes:
        features: By node, the order of the last axis of its value.
        rows: By weight of the graph, the order of its first axis.
    """

    features: Mapping[str, Order] = field(default_factory=dict)
    rows: Mapping[str, Order] = field(default_factory=dict)

    def neutral(self, node: str, array: Array) -> Array:
        found = super().neutral(node, array)
        return found[..., self.features[node]] if node in self.features else found

    def native(self, node: str, array: Array) -> Array:
        if node in self.features and np.shape(array)[-1] == len(self.features[node]):
            array = array[..., np.argsort(self.features[node])]
        return super().native(node, array)

    def neutral_weights(self, native: Arrays) -> dict[str, Array]:
        found = super().neutral_weights(native)
        return {name: array[self.rows[name]] if name in self.rows else array for name, array in found.items()}

    def native_rows(self, name: str, array: Array) -> Array:
        """A weight of the graph with its first axis as the framework has it."""
        return array[np.argsort(self.rows[name])] if name in self.rows else array


def in_one_order(left: Reading, right: Reading) -> tuple[Reading, Reading]:
    """Both readings with their flattened features in one order, where the two sides flatten in different ones."""
    counts = [
        sum(isinstance(node.settings, Flatten) and node.settings.order == "channels_first" for node in graph.nodes)
        for graph in (left.graph, right.graph)
    ]
    return (left, right) if counts[0] == counts[1] else (ordered(left), ordered(right))


def ordered(reading: Reading) -> Reading:
    """The reading with every flattening channels last whose order nothing but dense kernels behind it depends on."""
    graph = reading.graph
    features: dict[str, Order] = {}
    rows: dict[str, Order] = {}
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        if not isinstance(node.settings, Flatten) or node.settings.order != "channels_first":
            continue
        own, held = _followed(graph, node, dict(features), dict(rows))
        if own is None or held is None:
            continue
        features, rows = own, held
        nodes[node.name] = replace(node, settings=node.settings.model_copy(update={"order": "channels_last"}))
    if not features:
        return reading
    values = {item.name: getattr(reading, item.name) for item in fields(Reading)}
    values["graph"] = replace(graph, nodes=tuple(nodes.values()))
    return Ordered(**values, features=features, rows=rows)


def _common(shape: tuple[int, ...]) -> Order:
    """Features of an image flattened channels first, in the order of channels last."""
    channels_first = (shape[-1], *shape[:-1])
    places = np.arange(math.prod(shape)).reshape(channels_first)
    return np.asarray(np.moveaxis(places, 0, -1).reshape(-1))


def _followed(
    graph: Graph, flatten: Node, features: dict[str, Order], rows: dict[str, Order]
) -> tuple[dict[str, Order], dict[str, Order]] | tuple[None, None]:
    """Everything that the order of a flattening reaches; ``None`` if something else than kernels depends on it."""
    features[flatten.name] = _common(flatten.input_shapes[0])
    for node in graph.nodes:
        reached = [name for name in node.inputs if name in features]
        if not reached or node.name in features:
            continue
        order = features[reached[0]]
        if node.operation == "dense" and len(node.input_shapes[0]) == 1:
            held = [item.name for item in node.parameters if item.role == "kernel"]
        elif _passes(node) and all(np.array_equal(features.get(name, ()), order) for name in node.inputs):
            features[node.name] = order
            held = [item.name for item in node.weights if item.shape == (len(order),)]
            if any(item.shape not in ((len(order),), (1,), ()) for item in node.weights):
                return None, None
        else:
            return None, None
        for name in held:
            if name in rows and not np.array_equal(rows[name], order):
                return None, None
            rows[name] = order
    if any(name in features for name in graph.outputs):
        return None, None
    users = [node.name for node in graph.nodes if any(item.name in rows for item in node.weights)]
    known = all(name in features or any(source in features for source in graph.by_name[name].inputs) for name in users)
    return (features, rows) if known else (None, None)


def _passes(node: Node) -> bool:
    """Whether a node treats every feature by itself, whatever its place."""
    if node.operation == "activation":
        return getattr(node.settings.function, "kind", "") not in ACROSS
    return node.operation in ELEMENTWISE | MERGING | FEATURE_WEIGHTS
