"""A model: evaluates its nodes in order, and goes back through them for gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualml.errors import DataError
from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.reference.losses import denominator
from dualml.spec.graph import Graph, Node
from dualml.spec.objective import Minimised, as_objective
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
        self, inputs: Array | Arrays, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model: the values of the tapped nodes and of the output, by node name."""
        values, _ = self._evaluate(inputs, training, masks)
        return {name: values[name].copy() for name in (*taps, *self.graph.outputs)}

    def predict(self, inputs: Array | Arrays, *, output: str | None = None) -> Array:
        """Softmax of an output, or the output itself, in inference mode."""
        name = self.graph.output if output is None else output
        value = self.forward(inputs)[name]
        return operations.PREDICTIONS[self.graph.predictions[name]](value)

    def gradients(
        self,
        batch: Batch,
        loss: Minimised,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: float | None = None,
        penalised: bool = True,
    ) -> Gradients:
        """One forward and backward pass in training mode; ``penalised`` is the trainer's own."""
        values, backwards = self._evaluate(batch.inputs, True, masks)
        targets = self.graph.named_targets(batch.targets)
        examples = np.zeros(len(batch), dtype=self.graph.precision)
        total = 0.0
        flows: dict[str, Array] = {}
        objective = as_objective(loss, self.graph)
        for term in objective.terms:
            each, gradient = operations.LOSSES[term.loss.kind](term.loss, values[term.output], targets[term.output])
            weights = np.full(len(batch), term.weight, dtype=each.dtype)
            weights = weights if batch.weights is None else weights * batch.weights
            examples += weights * each
            divisor = denominator(term.loss, targets[term.output], batch.weights) or 1.0 if count is None else count
            total += float((weights * each).sum() / divisor)
            flows[term.output] = gradient * weights.reshape(-1, *(1,) * (gradient.ndim - 1)) / divisor
        flows, parameters = self._back(flows, backwards)
        for regularizer in objective.penalties if penalised else ():
            l1, l2 = regularizer.factors
            for name, value in self.weights.items():
                if regularizer.applies(name):
                    total += l1 * float(np.abs(value).sum()) + l2 * float((value * value).sum())
                    parameters[name] = parameters[name] + l1 * np.sign(value) + 2 * l2 * value
        return Gradients(
            loss=total,
            example_losses=examples,
            parameters=parameters,
            values={name: values[name].copy() for name in taps},
            values_gradients={name: flows[name].copy() for name in taps},
        )

    def input_gradients(self, inputs: Array | Arrays, slopes: Arrays) -> dict[str, Array]:
        """Gradients for the inputs of the outputs' sum, each value counted by its slope."""
        values, backwards = self._evaluate(inputs, False, None)
        flows, _ = self._back(slopes, backwards)
        return {name: flows.get(name, np.zeros_like(values[name])) for name in self.graph.input_names}

    def trainer(
        self,
        loss: Minimised,
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

    def _back(self, flows: Arrays, backwards: dict[str, Backward]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Gradients for every value that outputs' gradients reach, and for all parameters."""
        found = dict(flows)
        parameters = {name: np.zeros_like(value) for name, value in self.weights.items()}
        for node in reversed(self.graph.nodes):
            if node.name not in found:
                continue
            inputs, own = backwards[node.name](found[node.name])
            for name, value in own.items():
                parameters[name] = parameters[name] + value
            for source, flow in zip(node.inputs, inputs, strict=True):
                found[source] = found[source] + flow if source in found else flow
        return found, parameters

    def _mask(self, node: Node, examples: int, masks: Masks | None) -> Array:
        if masks is not None and node.name in masks:
            return masks[node.name]
        if self.random is None:
            raise DataError(f"training needs a mask for the dropout {node.name!r}; pass masks")
        return np.asarray(self.random.random((examples, *(node.random_mask or ()))) >= node.settings.rate)

    def _evaluate(
        self, inputs: Array | Arrays, training: bool, masks: Masks | None
    ) -> tuple[dict[str, Array], dict[str, Backward]]:
        given = self.graph.named_inputs(inputs)
        values: dict[str, Array] = {name: np.asarray(item, dtype=self.graph.precision) for name, item in given.items()}
        examples = len(next(iter(values.values())))
        backwards: dict[str, Backward] = {}
        for node in self.graph.nodes:
            mask = None
            if training and node.operation == "dropout":
                mask = self._mask(node, examples, masks)
            sources = [values[name] for name in node.inputs]
            values[node.name], backwards[node.name] = operations.OPERATIONS[node.operation](
                node, sources, self.weights, mask
            )
        return values, backwards
