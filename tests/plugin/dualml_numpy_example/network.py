"""A model: evaluates its nodes in order, and goes back through them for gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualml.errors import DataError
from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.spec.graph import INPUT, Graph, Node
from dualml.spec.losses import Loss
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.weights import check_weights
from dualml_numpy_example import operations
from dualml_numpy_example.operations import Backward
from dualml_numpy_example.training import NumpyTrainer


class NumpyNetwork:
    """A graph and its weights."""

    def __init__(self, graph: Graph, weights: Arrays, *, native_randomness: bool = False) -> None:
        self.graph = graph
        self.random = np.random.default_rng(0) if native_randomness else None
        self.set_weights(weights)

    @property
    def native(self) -> NumpyNetwork:
        """There is no framework below: the network itself."""
        return self

    def get_weights(self) -> dict[str, Array]:
        """All parameters, neutral names and layout."""
        return {name: value.copy() for name, value in self.weights.items()}

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters.

        Raises:
            WeightsError: They are not the graph's.
        """
        check_weights(weights, self.graph)
        names = [parameter.name for parameter in self.graph.parameters]
        self.weights = {name: np.array(weights[name], dtype=self.graph.precision) for name in names}

    def forward(
        self, inputs: Array, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model: the values of the tapped nodes and of the output, by node name."""
        values, _ = self._evaluate(inputs, training, masks)
        return {name: values[name].copy() for name in (*taps, self.graph.output)}

    def predict(self, inputs: Array) -> Array:
        """Softmax of the output, or the output itself, in inference mode."""
        output = self.forward(inputs)[self.graph.output]
        return operations.softmax(output)[0] if self.graph.prediction == "softmax" else output

    def gradients(
        self,
        batch: Batch,
        loss: Loss,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode."""
        count = len(batch) if count is None else count
        values, backwards = self._evaluate(batch.inputs, True, masks)
        each, gradient = operations.LOSSES[loss.kind](loss, values[self.graph.output], batch.targets)
        flows = {self.graph.output: gradient / count}
        parameters: dict[str, Array] = {}
        for node in reversed(self.graph.nodes):
            if node.name not in flows:
                continue
            inputs, own = backwards[node.name](flows[node.name])
            parameters.update(own)
            for source, flow in zip(node.inputs, inputs, strict=True):
                flows[source] = flows[source] + flow if source in flows else flow
        return Gradients(
            loss=float(each.sum() / count),
            example_losses=each,
            parameters={name: parameters[name] for name in self.weights},
            values={name: values[name].copy() for name in taps},
            values_gradients={name: flows[name].copy() for name in taps},
        )

    def trainer(
        self,
        loss: Loss,
        optimizer: Optimizer,
        *,
        batch_size: int,
        update_size: int | None = None,
        clip: Clipping | None = None,
        compiled: bool = True,
    ) -> NumpyTrainer:
        """A trainer of this network."""
        return NumpyTrainer(self, loss, optimizer, batch_size, update_size or batch_size, clip)

    def seed(self, seed: int) -> None:
        """Start the network's own random numbers anew."""
        if self.random is not None:
            self.random = np.random.default_rng(seed)

    def _mask(self, node: Node, examples: int, masks: Masks | None) -> Array:
        if masks is not None and node.name in masks:
            return masks[node.name]
        if self.random is None:
            raise DataError(f"training needs a mask for the dropout {node.name!r}; pass masks")
        return np.asarray(self.random.random((examples, *node.shape)) >= node.settings.rate)

    def _evaluate(
        self, inputs: Array, training: bool, masks: Masks | None
    ) -> tuple[dict[str, Array], dict[str, Backward]]:
        values: dict[str, Array] = {INPUT: np.asarray(inputs, dtype=self.graph.precision)}
        backwards: dict[str, Backward] = {}
        for node in self.graph.nodes:
            mask = None
            if training and node.operation == "dropout":
                mask = self._mask(node, len(inputs), masks)
            sources = [values[name] for name in node.inputs]
            values[node.name], backwards[node.name] = operations.OPERATIONS[node.operation](
                node, sources, self.weights, mask
            )
        return values, backwards
