"""A graph as a native ``keras.Model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from dualml.spec.graph import Graph
from dualml.spec.mixed import MIXED
from dualml_tensorflow.layers import LAYERS, invoke
from dualml_tensorflow.layers.mixed import summing_in_float32

NAME = "model"
"""Name of every native model; without one Keras numbers them by a process-wide count."""


@dataclass(frozen=True)
class NativeModel:
    """A Keras model with what ties it to its graph.

    Attributes:
        model: The model.
        layers: The layer of each node; a shared layer is that of several.
        values: The symbolic value of each input and node.
    """

    model: Any
    layers: Mapping[str, Any]
    values: Mapping[str, Any]

    def tapped(self, nodes: tuple[str, ...]) -> Any:
        """The same layers with the values of some nodes as outputs, by node name."""
        return keras.Model(self.model.inputs, {name: self.values[name] for name in nodes}, name=NAME)


def build_model(graph: Graph, *, native_randomness: bool) -> NativeModel:
    """A functional Keras model whose layers have the nodes' names and whose outputs are the graph's.

    Also for a chain, where ``keras.Sequential`` would do: the input then has its name and dtype in ``summary`` and
    in a saved file.

    Args:
        graph: What to build.
        native_randomness: Use stock layers that draw their own masks.
    """
    values = {
        item.name: keras.Input(shape=item.shape, name=item.name, dtype="int64" if item.integer else graph.precision)
        for item in graph.inputs
    }
    inputs = list(values.values())
    policy = MIXED if graph.mixed else graph.precision  # Keras has a dtype policy of the same name and meaning
    layers: dict[str, Any] = {}
    for node in graph.nodes:
        if node.owner == node.name:
            made = LAYERS[node.operation](node, policy, native_randomness)
            layers[node.name] = summing_in_float32(made) if graph.mixed else made
            for parameter in node.parameters:
                owner, _, _ = parameter.name.rpartition(".")
                if owner != node.name:  # a tied parameter: the layer takes its variable from the owner's
                    layers[node.name].tie(layers[owner])
        else:
            layers[node.name] = layers[node.owner]
        values[node.name] = invoke(node.operation, layers[node.name], [values[name] for name in node.inputs])
    outputs = [values[name] for name in graph.outputs]
    model = keras.Model(
        inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs, name=NAME
    )
    return NativeModel(model, layers, values)
