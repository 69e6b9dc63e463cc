"""A dualml backend in plain NumPy, as a third party would write it.

It shows what an adapter owes (``dualml.protocol``) and that none of it needs an autograd framework: each
operation in ``operations.py`` returns its value and a function that carries gradients back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualml.errors import UnsupportedError
from dualml.protocol import Arrays, Capabilities
from dualml.spec.graph import Graph
from dualml_numpy_example import operations, training
from dualml_numpy_example.network import NumpyNetwork


class NumpyBackend:
    """Builds models whose every array is a NumPy array."""

    name = "numpy_example"
    capabilities = Capabilities(
        operations=frozenset(operations.OPERATIONS),
        activations=frozenset(operations.ACTIVATIONS),
        losses=frozenset(operations.LOSSES),
        optimizers=frozenset(training.UPDATES),
        native_randomness=True,
    )

    def versions(self) -> dict[str, str]:
        """Versions of the framework's packages, by package name."""
        return {"numpy": np.__version__}

    def build(
        self, graph: Graph, weights: Arrays, *, device: str = "cpu", native_randomness: bool = False
    ) -> NumpyNetwork:
        """Build a model.

        Raises:
            UnsupportedError: The graph needs what ``capabilities`` does not list.
            WeightsError: The weights are not the graph's.
        """
        missing = [f"{what} {name!r} ({path})" for what, name, path in self._missing(graph)]
        if device not in self.capabilities.devices:
            missing.append(f"device {device!r}")
        if missing:
            raise UnsupportedError(f"backend {self.name!r} does not support {', '.join(missing)}; use another backend")
        return NumpyNetwork(graph, weights, native_randomness=native_randomness)

    def _missing(self, graph: Graph) -> list[tuple[str, str, str]]:
        needed: Mapping[str, tuple[frozenset[str], list[tuple[str, str]]]] = {
            "the layer": (self.capabilities.operations, [(node.operation, node.path) for node in graph.nodes]),
            "the activation": (
                self.capabilities.activations,
                [(node.settings.function.kind, node.path) for node in graph.nodes if node.operation == "activation"],
            ),
            "precision": (self.capabilities.precisions, [(graph.precision, "precision")]),
        }
        return [
            (what, name, path) for what, (able, wanted) in needed.items() for name, path in wanted if name not in able
        ]


backend = NumpyBackend()
"""What the entry point names."""
