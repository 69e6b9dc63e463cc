"""A graph as a native ``keras.Model``."""

from __future__ import annotations

from typing import Any

import keras

from dualml.spec.graph import INPUT, Graph
from dualml_tensorflow.layers import LAYERS

NAME = "model"
"""Name of every native model; without one Keras numbers them by a process-wide count."""


def build_model(graph: Graph, *, native_randomness: bool) -> Any:
    """A functional Keras model whose layers have the nodes' names and whose output is the graph's.

    Also for a chain, where ``keras.Sequential`` would do: the input then has its name and dtype in ``summary`` and
    in a saved file, and every node's value can be reached as ``model.get_layer(name).output``.

    Args:
        graph: What to build.
        native_randomness: Use the stock dropout layer.
    """
    values = {INPUT: keras.Input(shape=graph.input_shape, name=INPUT, dtype=graph.precision)}
    for node in graph.nodes:
        layer = LAYERS[node.operation](node, graph.precision, native_randomness)
        fed = [values[name] for name in node.inputs]
        values[node.name] = layer(fed[0] if len(fed) == 1 else fed)
    return keras.Model(values[INPUT], values[graph.output], name=NAME)


def tapped_model(model: Any, nodes: tuple[str, ...]) -> Any:
    """The same layers with the values of some nodes as outputs, by node name."""
    return keras.Model(model.input, {name: model.get_layer(name).output for name in nodes}, name=NAME)
