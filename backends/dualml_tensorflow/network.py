"""One native Keras model behind the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from dualml import randomness
from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.spec.graph import INPUT, Graph
from dualml.spec.losses import Loss
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.weights import check_weights
from dualml_tensorflow import layout
from dualml_tensorflow.layers import given_masks
from dualml_tensorflow.losses import example_losses
from dualml_tensorflow.model import build_model, tapped_model
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
            self._native = build_model(graph, native_randomness=native_randomness)
        self.variables = layout.parameter_variables(self._native, graph)
        self._models: dict[tuple[str, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self.set_weights(weights)

    @property
    def native(self) -> Any:
        """The ``keras.Model``; its output is the graph's (logits)."""
        return self._native

    @property
    def graph(self) -> Graph:
        """What it was built from."""
        return self._graph

    def placement(self) -> AbstractContextManager[Any]:
        """Within it, TensorFlow computes on the network's device."""
        scope: AbstractContextManager[Any] = tf.device(f"/{self.device.upper()}:0")
        return scope

    def get_weights(self) -> dict[str, Array]:
        """All parameters, neutral names and layout."""
        return layout.to_neutral(self.variables)

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong.
        """
        check_weights(weights, self.graph)
        layout.assign(self.variables, weights)

    def forward(
        self, inputs: Array, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model; see ``dualml.protocol.Network.forward``."""
        nodes = self._known((*taps, self.graph.output))

        def evaluate(inputs: Any, masks: Tensors) -> Tensors:
            return self.values(inputs, masks, nodes, training=training)

        function = self._traced(("forward", nodes, training), evaluate, training=training)
        with self.placement():
            values = function(self.tensor(inputs), self.mask_tensors(masks) if training else {})
        return {name: value.numpy() for name, value in values.items()}

    def predict(self, inputs: Array) -> Array:
        """Predictions in inference mode: the softmax of the output, or the output itself."""
        output = self.graph.output

        def evaluate(inputs: Any, masks: Tensors) -> Any:
            values = self.values(inputs, masks, (output,), training=False)[output]
            return tf.nn.softmax(values) if self.graph.prediction == "softmax" else values

        function = self._traced(("predict",), evaluate, training=False)
        with self.placement():
            return function(self.tensor(inputs), {}).numpy()  # type: ignore[no-any-return]

    def gradients(
        self,
        batch: Batch,
        loss: Loss,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode; see ``dualml.protocol.Network.gradients``."""
        nodes = self._known(taps)
        examples = len(batch) if count is None else count
        with self.placement():
            total, losses, parameters, values, slopes = self.differentiate(
                self.tensor(batch.inputs),
                self.target_tensor(batch.targets, loss),
                self.mask_tensors(masks),
                loss,
                tf.constant(examples, self.graph.precision),
                nodes,
            )
        return Gradients(
            loss=float(total),
            example_losses=losses.numpy(),
            parameters={name: item.numpy() for name, item in zip(self.variables, parameters, strict=True)},
            values={name: item.numpy() for name, item in values.items()},
            values_gradients={name: item.numpy() for name, item in slopes.items()},
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
    ) -> TensorflowTrainer:
        """A trainer of this network; see ``dualml.protocol.Network.trainer``."""
        return TensorflowTrainer(
            self,
            loss,
            optimizer,
            batch_size=batch_size,
            update_size=batch_size if update_size is None else update_size,
            clip=clip,
            compiled=compiled,
        )

    def seed(self, seed: int) -> None:
        """Seed each dropout layer's own generator, by the layer's name, so that no two draw the same mask."""
        for node in self.graph.dropouts:
            if node.settings.rate > 0:  # Keras makes no generator for a layer that drops nothing
                state = self.native.get_layer(node.name).seed_generator.state
                state.assign([randomness.integer(seed, f"dropout/{node.name}"), 0])

    # What follows works on tensors, eagerly or while it is traced; the trainer is built of it.

    def tensor(self, array: Array) -> Any:
        """A copy of an array as a tensor of the graph's precision."""
        return tf.constant(np.asarray(array, dtype=self.graph.precision))

    def target_tensor(self, array: Array, loss: Loss) -> Any:
        """A copy of targets as a tensor of the dtype that the loss takes."""
        return tf.constant(np.asarray(array, dtype=self.target_dtype(loss)))

    def target_dtype(self, loss: Loss) -> str:
        """The dtype of a loss's targets."""
        return "int64" if loss.target == "class" else self.graph.precision

    def mask_tensors(self, masks: Masks | None) -> Tensors:
        """Masks of all dropout nodes as tensors; none where the layers draw their own.

        Raises:
            ValueError: There is no mask for a node that needs one, or one for a node that takes none.
        """
        wanted = set() if self._native_randomness else {node.name for node in self.graph.dropouts}
        given = set(masks or {})
        if wanted != given:
            raise ValueError(
                f"masks must be given for exactly the dropout nodes {sorted(wanted)}"
                f"{' (randomness is native)' if self._native_randomness else ''}, got {sorted(given)}"
            )
        return {name: tf.constant(np.asarray(masks[name], dtype=np.bool_)) for name in sorted(wanted)} if masks else {}

    def mask_signature(self) -> Tensors:
        """What ``mask_tensors`` returns, as ``tf.TensorSpec``s."""
        dropouts = () if self._native_randomness else self.graph.dropouts
        return {node.name: tf.TensorSpec((None, *node.shape), tf.bool) for node in dropouts}

    def input_signature(self) -> Any:
        """What ``tensor`` returns for inputs, as a ``tf.TensorSpec``."""
        return tf.TensorSpec((None, *self.graph.input_shape), self.graph.precision)

    def values(self, inputs: Any, masks: Mapping[str, Any], nodes: tuple[str, ...], *, training: bool) -> Tensors:
        """Values of some nodes (or ``input``) by name, as tensors."""
        operations = tuple(name for name in nodes if name != INPUT)
        if operations not in self._models:
            self._models[operations] = tapped_model(self.native, operations)
        with given_masks(self.native, masks):
            values = self._models[operations](inputs, training=training)
        return {name: inputs if name == INPUT else values[name] for name in nodes}

    def differentiate(
        self, inputs: Any, targets: Any, masks: Mapping[str, Any], loss: Loss, count: Any, taps: tuple[str, ...] = ()
    ) -> tuple[Any, Any, list[Any], Tensors, Tensors]:
        """One forward and backward pass in training mode.

        Args:
            inputs: Shape ``(examples, *graph.input_shape)``.
            targets: As the loss takes them.
            masks: By dropout node.
            loss: What is differentiated.
            count: What the sum of the examples' losses is divided by; a scalar of the graph's precision.
            taps: Nodes, or ``input``, whose values and gradients are wanted.

        Returns:
            The loss, that of each example, its gradient for each parameter in their order, the tapped values by
            name, and the gradients for them by name. All are dense.
        """
        variables = [variable.value for variable in self.variables.values()]
        nodes = tuple(dict.fromkeys((*taps, self.graph.output)))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            if taps:
                tape.watch(inputs)  # also for nodes that no parameter feeds: the tape records what depends on it
            values = self.values(inputs, masks, nodes, training=True)
            losses = example_losses(loss, values[self.graph.output], targets)
            total = tf.reduce_sum(losses) / count
        tapped = {name: values[name] for name in taps}
        sources = (variables, tapped)
        parameters, slopes = tape.gradient(total, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return total, losses, [tf.convert_to_tensor(item) for item in parameters], tapped, slopes

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names once each.

        Raises:
            ValueError: One is not a node's.
        """
        unknown = [name for name in names if name != INPUT and name not in self.graph.by_name]
        if unknown:
            raise ValueError(f"taps must be nodes ({', '.join((INPUT, *self.graph.by_name))}), got {unknown}")
        return tuple(dict.fromkeys(names))

    def _traced(self, key: tuple[Any, ...], function: Callable[..., Any], *, training: bool) -> Callable[..., Any]:
        """A traced function of inputs and masks, the same one for the same key."""
        if key not in self._functions:
            signature = [self.input_signature(), self.mask_signature() if training else {}]
            self._functions[key] = tf.function(function, input_signature=signature, autograph=False, jit_compile=False)
        return self._functions[key]
