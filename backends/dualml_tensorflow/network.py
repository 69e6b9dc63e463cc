"""One native Keras model behind the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from dualml import randomness
from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.spec.graph import Graph, GraphInput
from dualml.spec.objective import Minimised, Objective, Term, as_objective
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.weights import check_weights
from dualml_tensorflow import layout
from dualml_tensorflow.layers import given_masks, seen_by
from dualml_tensorflow.model import build_model
from dualml_tensorflow.objective import divisors, objective_value, penalties
from dualml_tensorflow.predictions import PREDICTIONS
from dualml_tensorflow.trainer import TensorflowTrainer

Tensors = dict[str, Any]


class TensorflowNetwork:
    """Implements ``dualml.protocol.Network``.

    ``forward`` and ``predict`` are traced once for each set of taps and mode. ``gradients`` runs eagerly, as the
    trainer does that is not compiled, so that the two agree bit for bit.
    """

    def __init__(self, graph: Graph, weights: Arrays, *, device: str, native_randomness: bool) -> None:
        check_weights(weights, graph)
        self._graph = graph
        self.device = device
        self._native_randomness = native_randomness
        with self.placement():
            self._model = build_model(graph, native_randomness=native_randomness)
        self.variables, self.buffers = layout.weight_variables(self._model.layers, graph)
        self._models: dict[tuple[str, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self.set_weights(weights)

    @property
    def native(self) -> Any:
        """The ``keras.Model``; its outputs are the graph's (logits)."""
        return self._model.model

    @property
    def graph(self) -> Graph:
        """What it was built from."""
        return self._graph

    def placement(self) -> AbstractContextManager[Any]:
        """Within it, TensorFlow computes on the network's device."""
        scope: AbstractContextManager[Any] = tf.device(f"/{self.device.upper()}:0")
        return scope

    def get_weights(self) -> dict[str, Array]:
        """All parameters and buffers, neutral names and layout."""
        return layout.to_neutral({**self.variables, **self.buffers})

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters and buffers.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong.
        """
        check_weights(weights, self.graph)
        layout.assign({**self.variables, **self.buffers}, weights)

    @contextmanager
    def kept_buffers(self) -> Iterator[None]:
        """Afterwards the buffers are what they were before."""
        before = layout.to_neutral(self.buffers)
        try:
            yield
        finally:
            layout.assign(self.buffers, before)

    def forward(
        self, inputs: Array | Arrays, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model; see ``dualml.protocol.Network.forward``."""
        nodes = self._known((*taps, *self.graph.outputs))

        def evaluate(inputs: Tensors, masks: Tensors) -> Tensors:
            return self.kept(self.values(inputs, masks, nodes, training=training))

        function = self._traced(("forward", nodes, training), evaluate, self.mask_signature() if training else {})
        with self.placement(), self.kept_buffers():
            values = function(self.input_tensors(inputs), self.mask_tensors(masks) if training else {})
        return {name: value.numpy() for name, value in values.items()}

    def predict(self, inputs: Array | Arrays, *, output: str | None = None) -> Array:
        """Predictions in inference mode: the framework's softmax or sigmoid of an output, or the output itself."""
        name = self.graph.output if output is None else output

        def evaluate(inputs: Tensors, masks: Tensors) -> Any:
            value = self.kept(self.values(inputs, masks, (name,), training=False))[name]
            return PREDICTIONS[self.graph.predictions[name]](value)

        function = self._traced(("predict", name), evaluate, {})
        with self.placement():
            return function(self.input_tensors(inputs), {}).numpy()  # type: ignore[no-any-return]

    def gradients(
        self,
        batch: Batch,
        loss: Minimised,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode; see ``dualml.protocol.Network.gradients``."""
        nodes = self._known(taps)
        objective = as_objective(loss, self.graph)
        with self.placement(), self.kept_buffers():
            targets = self.target_tensors(batch.targets, objective)
            weights = None if batch.weights is None else self.tensor(batch.weights)
            total, losses, parameters, values, slopes = self.differentiate(
                self.input_tensors(batch.inputs),
                targets,
                weights,
                self.mask_tensors(masks),
                objective,
                divisors(objective, targets, weights, count),
                nodes,
                penalised=True,
            )
            buffers = layout.to_neutral(self.buffers)
        return Gradients(
            loss=float(total),
            example_losses=losses.numpy(),
            parameters={name: item.numpy() for name, item in zip(self.variables, parameters, strict=True)},
            values={name: item.numpy() for name, item in values.items()},
            values_gradients={name: item.numpy() for name, item in slopes.items()},
            buffers=buffers,
        )

    def input_gradients(self, inputs: Array | Arrays, slopes: Arrays) -> dict[str, Array]:
        """Gradients for the inputs in inference mode; see ``dualml.protocol.Network.input_gradients``."""
        nodes = self._known(tuple(slopes))
        integers = {item.name for item in self.graph.inputs if item.integer}

        def differentiate(inputs: Tensors, slopes: Tensors) -> Tensors:
            watched = {name: value for name, value in inputs.items() if name not in integers}
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(watched)
                outputs = self.kept(self.values(inputs, {}, nodes, training=False))
            found = tape.gradient(outputs, watched, slopes, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            held = {name: tf.zeros(tf.shape(inputs[name]), self.graph.precision) for name in integers}
            return {name: tf.convert_to_tensor(slope) for name, slope in (found | held).items()}

        counted = {name: tf.TensorSpec((None, *self.graph.by_name[name].shape), self.graph.precision) for name in nodes}
        function = self._traced(("input_gradients", nodes), differentiate, counted)
        with self.placement():
            found = function(self.input_tensors(inputs), {name: self.tensor(slopes[name]) for name in nodes})
        return {name: found[name].numpy() for name in self.graph.input_names}

    def trainer(
        self,
        loss: Minimised,
        optimizer: Optimizer,
        *,
        batch_size: int,
        update_size: int | None = None,
        clip: Clipping | None = None,
        compiled: bool = True,
    ) -> TensorflowTrainer:
        """A trainer of this network; see ``dualml.protocol.Network.trainer``."""
        return TensorflowTrainer(
            self,
            as_objective(loss, self.graph),
            optimizer,
            batch_size=batch_size,
            update_size=batch_size if update_size is None else update_size,
            clip=clip,
            compiled=compiled,
        )

    def seed(self, seed: int) -> None:
        """Seed the own generator of each layer that draws, by the layer's name, so that no two draw the same mask."""
        for node in self.graph.dropouts:
            if node.settings.rate > 0:  # Keras makes no generator for a layer that drops nothing
                state = self._model.layers[node.name].seed_generator.state
                state.assign([randomness.integer(seed, f"dropout/{node.name}"), 0])

    # What follows works on tensors, eagerly or while it is traced; the trainer is built of it.

    def tensor(self, array: Array) -> Any:
        """A copy of an array as a tensor of the graph's precision."""
        return tf.constant(np.asarray(array, dtype=self.graph.precision))

    def input_tensors(self, inputs: Array | Arrays) -> Tensors:
        """Copies of inputs as tensors: whole numbers int64, values in the graph's precision."""
        given = self.graph.named_inputs(inputs)
        return {
            item.name: tf.constant(np.asarray(given[item.name], dtype=self._input_dtype(item)))
            for item in self.graph.inputs
        }

    def _input_dtype(self, item: GraphInput) -> str:
        return "int64" if item.integer else self.graph.precision

    def target_tensors(self, targets: Array | Arrays, objective: Objective) -> Tensors:
        """Copies of targets as tensors of the dtypes that the losses take, by output node."""
        given = self.graph.named_targets(targets)
        return {
            term.output: tf.constant(np.asarray(given[term.output], dtype=self.target_dtype(term)))
            for term in objective.terms
        }

    def target_dtype(self, term: Term) -> str:
        """The dtype of a loss's targets."""
        return "int64" if term.loss.target == "class" else self.graph.precision

    def target_signature(self, objective: Objective) -> Tensors:
        """What ``target_tensors`` returns, as ``tf.TensorSpec``s."""
        found = {}
        for term in objective.terms:
            shape = self.graph.by_name[term.output].shape
            shape = shape[:-1] if term.loss.target == "class" else shape
            found[term.output] = tf.TensorSpec((None, *shape), self.target_dtype(term))
        return found

    def mask_tensors(self, masks: Masks | None) -> Tensors:
        """Masks of all dropout nodes as tensors; none where the layers draw their own.

        Raises:
            ValueError: There is no mask for a node that needs one, or one for a node that takes none.
        """
        wanted = set() if self._native_randomness else {node.name for node in self.graph.dropouts}
        given = set(masks or {})
        if wanted != given:
            raise ValueError(
                f"masks must be given for exactly the nodes that draw, {sorted(wanted)}"
                f"{' (randomness is native)' if self._native_randomness else ''}, got {sorted(given)}"
            )
        return {name: tf.constant(np.asarray(masks[name], dtype=np.bool_)) for name in sorted(wanted)} if masks else {}

    def mask_signature(self) -> Tensors:
        """What ``mask_tensors`` returns, as ``tf.TensorSpec``s."""
        dropouts = () if self._native_randomness else self.graph.dropouts
        return {node.name: tf.TensorSpec((None, *(node.random_mask or ())), tf.bool) for node in dropouts}

    def input_signature(self) -> Tensors:
        """What ``input_tensors`` returns, as ``tf.TensorSpec``s."""
        return {item.name: tf.TensorSpec((None, *item.shape), self._input_dtype(item)) for item in self.graph.inputs}

    def values(
        self, inputs: Mapping[str, Any], masks: Mapping[str, Any], names: tuple[str, ...], *, training: bool
    ) -> Tensors:
        """Values of some nodes (or inputs) by name, as tensors."""
        operations = tuple(name for name in names if name in self.graph.by_name)
        if operations not in self._models:
            self._models[operations] = self._model.tapped(operations)
        ordered = [inputs[name] for name in self.graph.input_names]
        with given_masks(self._model.layers, masks):
            values = self._models[operations](ordered[0] if len(ordered) == 1 else ordered, training=training)
        return {name: inputs[name] if name in inputs else values[name] for name in names}

    def kept(self, values: Tensors) -> Tensors:
        """The same values; those of a layer that computes in bfloat16 in float32."""
        return {
            name: tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value for name, value in values.items()
        }

    def differentiate(
        self,
        inputs: Mapping[str, Any],
        targets: Mapping[str, Any],
        weights: Any,
        masks: Mapping[str, Any],
        objective: Objective,
        divided_by: tuple[Any, ...],
        taps: tuple[str, ...] = (),
        *,
        penalised: Any,
    ) -> tuple[Any, Any, list[Any], Tensors, Tensors]:
        """One forward and backward pass in training mode; buffers move on.

        Args:
            inputs: By name.
            targets: By output node.
            weights: Weight of each example, or ``None``.
            masks: By node that draws.
            objective: What is differentiated.
            divided_by: What each term's sum of the examples' losses is divided by, float64 scalars.
            taps: Nodes, or inputs, whose values and gradients are wanted.
            penalised: Whether penalties are added; a bool, or a scalar tensor.

        Returns:
            The loss, that of each example, its gradient for each parameter in their order, the tapped values by
            name, and the gradients for them by name. All are dense.
        """
        variables = [variable.value for variable in self.variables.values()]
        nodes = tuple(dict.fromkeys((*taps, *self.graph.outputs)))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            if taps:  # also for nodes that no parameter feeds: the tape records what depends on it
                tape.watch([value for value in inputs.values() if value.dtype.is_floating])
            with seen_by(tape if taps else None, self._model.layers):
                values = self.values(inputs, masks, nodes, training=True)
            outputs = self.kept({name: values[name] for name in self.graph.outputs})
            total, losses = objective_value(objective, outputs, targets, weights, divided_by)
            penalty = penalties(objective, dict(zip(self.variables, variables, strict=True)))
            if penalty is not None:
                total += tf.where(penalised, penalty, tf.zeros_like(penalty))
        tapped = {name: values[name] for name in taps}
        watched = {name: value for name, value in tapped.items() if value.dtype.is_floating}
        parameters, slopes = tape.gradient(
            total, (variables, watched), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        for name in tapped.keys() - watched.keys():  # whole numbers have no gradient
            slopes[name] = tf.zeros(tf.shape(tapped[name]), self.graph.precision)
        slopes = self.kept({name: tf.convert_to_tensor(slope) for name, slope in slopes.items()})
        return total, losses, [tf.convert_to_tensor(item) for item in parameters], self.kept(tapped), slopes

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names once each.

        Raises:
            ValueError: One is not a node's.
        """
        unknown = [name for name in names if name not in self.graph.names]
        if unknown:
            raise ValueError(f"taps must be nodes ({', '.join(self.graph.names)}), got {unknown}")
        return tuple(dict.fromkeys(names))

    def _traced(self, key: tuple[Any, ...], function: Callable[..., Any], second: Tensors) -> Callable[..., Any]:
        """A traced function of inputs and of something else that ``second`` describes, one for each key."""
        if key not in self._functions:
            signature = [self.input_signature(), second]
            self._functions[key] = tf.function(function, input_signature=signature, autograph=False, jit_compile=False)
        return self._functions[key]
