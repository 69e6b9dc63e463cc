"""Between the neutral layout and Keras': which variable holds which parameter.

The neutral layout is channels last with dense kernels as ``(inputs, units)``. That is Keras' own, so arrays pass as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dualml.protocol import Array
from dualml.spec.graph import Graph
from dualml_tensorflow.layers import variables as layer_variables


def weight_variables(layers: Mapping[str, Any], graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Keras variable of each parameter and of each buffer, by neutral name, in the graph's order.

    Args:
        layers: The Keras layer of each node.
        graph: The model.
    """
    found: dict[str, Any] = {}
    for node in graph.nodes:
        if node.weights:
            held = layer_variables(node.operation, layers[node.name])
            for weight in node.weights:
                if weight.name not in found:  # shared and tied ones are the owner's
                    found[weight.name] = held[weight.role]
    return (
        {item.name: found[item.name] for item in graph.parameters},
        {item.name: found[item.name] for item in graph.buffers},
    )


def to_neutral(variables: Mapping[str, Any]) -> dict[str, Array]:
    """Copies of variables' values, in the neutral layout."""
    return {name: np.array(variable.value.numpy()) for name, variable in variables.items()}


def assign(variables: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Set variables from arrays in the neutral layout. The arrays hold the variables' names and shapes."""
    for name, variable in variables.items():
        variable.assign(np.asarray(arrays[name], dtype=variable.dtype))
