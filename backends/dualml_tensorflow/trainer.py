"""Updates of one network: step by step, or many in one call of a traced function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dualml.protocol import Arrays, Batch, Masks, State
from dualml.spec.objective import Objective
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.weights import check_parameters
from dualml_tensorflow import slots
from dualml_tensorflow.clipping import CLIPPINGS
from dualml_tensorflow.formulas import Formula
from dualml_tensorflow.objective import divisors
from dualml_tensorflow.optimizers import build_optimizer

if TYPE_CHECKING:
    from dualml_tensorflow.network import TensorflowNetwork

Tensors = Mapping[str, Any]
Data = Mapping[str, Tensors]
"""Tensors of ``inputs`` by name, of ``targets`` by output node and, if examples have weights, of ``weights``."""
Piece = tuple[Data, Tensors]
"""Data and masks of some examples."""


@dataclass(frozen=True)
class Placed:
    """Data as tensors on the network's device."""

    data: Data


class TensorflowTrainer:
    """Implements ``dualml.protocol.Trainer``.

    ``step`` and ``run`` are the same function of TensorFlow operations, ``_update``; compiled it is traced, once,
    with shapes that leave the number of examples open.
    """

    def __init__(
        self,
        network: TensorflowNetwork,
        objective: Objective,
        optimizer: Optimizer,
        *,
        batch_size: int,
        update_size: int,
        clip: Clipping | None,
        compiled: bool,
    ) -> None:
        self.network = network
        self.objective = objective
        self.batch_size = batch_size
        self.update_size = update_size
        self.clip = clip
        self._settings = optimizer
        with network.placement():
            self._optimizer = build_optimizer(optimizer, network.graph, network.variables)
        self._slots = slots.slot_variables(self._optimizer, optimizer, network.graph, list(network.variables))

        precision = network.graph.precision
        gradients = [tf.TensorSpec(parameter.shape, precision) for parameter in network.graph.parameters]
        self._compiled = compiled
        self._functions: dict[tuple[str, bool], Callable[..., Any]] = {}

        # XLA makes one pass over memory of a formula's dozen (2 ms of 6 per update of the network in
        # configs/mlp.yaml), but contracts products and sums into fused operations. So a stock optimizer goes without:
        # with it, a Keras loop written by hand is reproduced to the last bit.
        xla = isinstance(self._optimizer, Formula) and network.device == "cpu"
        self._update_parameters = self._traced(self._optimize, [gradients], xla=xla)
        self._apply_function = self._traced(self._apply, [gradients, tf.TensorSpec((), tf.float64)])

    def _traced(self, function: Callable[..., Any], signature: list[Any], *, xla: bool = False) -> Callable[..., Any]:
        """The function traced with shapes that leave the number of examples open; itself if nothing is compiled."""
        if not self._compiled:
            return function
        traced: Callable[..., Any] = tf.function(function, input_signature=signature, autograph=False, jit_compile=xla)
        return traced

    def _on_data(self, function: Callable[..., Any], data: Data, *others: Any) -> Callable[..., Any]:
        """A function of data, masks and others, traced once for data with weights and once for data without."""
        key = function.__name__, "weights" in data
        if key not in self._functions:
            network = self.network
            signature = {"inputs": network.input_signature(), "targets": network.target_signature(self.objective)}
            if "weights" in data:
                signature["weights"] = {"examples": tf.TensorSpec((None,), network.graph.precision)}
            self._functions[key] = self._traced(function, [signature, network.mask_signature(), *others])
        return self._functions[key]

    @property
    def optimizer(self) -> Any:
        """The native Keras optimizer."""
        return self._optimizer

    def apply(self, gradients: Arrays, lr: float) -> None:
        """Clip, then do one update; see ``dualml.protocol.Trainer.apply``."""
        check_parameters(gradients, self.network.graph, "gradients")
        with self.network.placement():
            tensors = [self.network.tensor(gradients[name]) for name in self.network.variables]
            self._apply_function(tensors, tf.constant(lr, tf.float64))

    def step(self, batch: Batch, lr: float, *, masks: Masks | None = None) -> float:
        """One update from one batch; returns its loss before the update."""
        placed = self.place(batch)
        with self.network.placement():
            function = self._on_data(self._step, placed.data, tf.TensorSpec((), tf.float64))
            loss = function(placed.data, self.network.mask_tensors(masks), tf.constant(lr, tf.float64))
        return float(loss)

    def place(self, batch: Batch) -> Placed:
        """Data as tensors, for ``run``."""
        with self.network.placement():
            data = {
                "inputs": self.network.input_tensors(batch.inputs),
                "targets": self.network.target_tensors(batch.targets, self.objective),
            }
            if batch.weights is not None:
                data["weights"] = {"examples": self.network.tensor(batch.weights)}
            return Placed(data)

    def run(
        self, placed: Placed, order: NDArray[np.int64], lrs: NDArray[np.float64], *, masks: Masks | None = None
    ) -> NDArray[np.float64]:
        """Many updates in one call; see ``dualml.protocol.Trainer.run``.

        Raises:
            ValueError: The number of learning rates is not the number of updates.
        """
        updates = -(-len(order) // self.update_size)
        if len(lrs) != updates:
            raise ValueError(
                f"{len(order)} examples in updates of {self.update_size} need {updates} learning rates, got {len(lrs)}"
            )
        with self.network.placement():
            function = self._on_data(
                self._run, placed.data, tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.float64)
            )
            losses = function(
                placed.data,
                self.network.mask_tensors(masks),
                tf.constant(np.asarray(order, dtype=np.int64)),
                tf.constant(np.asarray(lrs, dtype=np.float64)),
            )
        return losses.numpy()  # type: ignore[no-any-return]

    def get_state(self) -> State:
        """The optimizer's memory."""
        return slots.get_state(self._optimizer, self._slots)

    def set_state(self, state: State) -> None:
        """Replace the optimizer's memory.

        Raises:
            WeightsError: Names or shapes are not those of the network; nothing was changed.
        """
        slots.set_state(self._optimizer, self._slots, self._settings, self.network.graph, state)

    # What follows works on tensors, eagerly or while it is traced.

    def _apply(self, gradients: list[Any], rate: Any) -> None:
        """Clip and update; ``rate`` is a float64 scalar."""
        variable = self._optimizer.learning_rate
        variable.assign(tf.cast(rate, variable.dtype))
        if self.clip is not None:
            gradients = CLIPPINGS[self.clip.kind](self.clip, gradients)
        self._update_parameters(gradients)

    def _optimize(self, gradients: list[Any]) -> None:
        """Update by the learning rate that the optimizer holds."""
        self._optimizer.apply(gradients, list(self.network.variables.values()))

    def _update(self, read: Callable[[Any, Any], Piece], examples: Any, rate: Any) -> Any:
        """One update; returns its loss before it.

        Args:
            read: The update's examples from one number up to another.
            examples: How many it has, int64 scalar.
            rate: Learning rate, float64 scalar.
        """
        # Read whole where a loss needs all targets to know what it divides by; else only their number counts.
        whole = any(term.loss.counts_positions for term in self.objective.terms)
        precision = self.network.graph.precision
        if whole:
            data, _ = read(tf.zeros((), tf.int64), examples)
            divided_by = divisors(self.objective, data["targets"], _weights(data), None)
        else:
            divided_by = (tf.cast(examples, tf.float64),) * len(self.objective.terms)

        def piece(start: Any, stop: Any) -> tuple[Any, list[Any]]:
            data, masks = read(start, stop)
            loss, _, gradients, _, _ = self.network.differentiate(
                data["inputs"],
                data["targets"],
                _weights(data),
                masks,
                self.objective,
                divided_by,
                penalised=tf.equal(start, 0),
            )
            return loss, gradients

        zero = tf.zeros((), tf.int64)
        if self.update_size <= self.batch_size:
            loss, gradients = piece(zero, examples)
        else:

            def accumulate(start: Any, loss: Any, gradients: list[Any]) -> tuple[Any, Any, list[Any]]:
                stop = tf.minimum(start + self.batch_size, examples)
                more, further = piece(start, stop)
                return stop, loss + more, [item + other for item, other in zip(gradients, further, strict=True)]

            sums = [tf.zeros(variable.shape, variable.dtype) for variable in self.network.variables.values()]
            _, loss, gradients = tf.while_loop(
                lambda start, *_: start < examples, accumulate, (zero, tf.zeros((), precision), sums)
            )
        self._apply(gradients, rate)
        return loss

    def _step(self, data: Data, masks: Tensors, rate: Any) -> Any:
        def read(start: Any, stop: Any) -> Piece:
            return _each(data, lambda tensor: tensor[start:stop]), {
                name: mask[start:stop] for name, mask in masks.items()
            }

        first = next(iter(data["inputs"].values()))
        return self._update(read, tf.shape(first, out_type=tf.int64)[0], rate)

    def _run(self, data: Data, masks: Tensors, order: Any, rates: Any) -> Any:
        examples = tf.size(order, out_type=tf.int64)
        updates = tf.size(rates)

        def body(update: Any, losses: Any) -> tuple[Any, Any]:
            first = tf.cast(update, tf.int64) * self.update_size
            last = tf.minimum(first + self.update_size, examples)

            def read(start: Any, stop: Any) -> Piece:
                rows = order[first + start : first + stop]
                kept = {name: mask[first + start : first + stop] for name, mask in masks.items()}
                return _each(data, lambda tensor: tf.gather(tensor, rows)), kept

            loss = self._update(read, last - first, rates[update])
            return update + 1, losses.write(update, tf.cast(loss, tf.float64))

        start = (tf.zeros((), tf.int32), tf.TensorArray(tf.float64, size=updates, element_shape=()))
        _, losses = tf.while_loop(lambda update, _: update < updates, body, start)
        return losses.stack()


def _weights(data: Data) -> Any:
    """Weight of each example, or ``None``."""
    return data["weights"]["examples"] if "weights" in data else None


def _each(data: Data, function: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """Data with a function applied to each tensor."""
    return {kind: {name: function(tensor) for name, tensor in tensors.items()} for kind, tensors in data.items()}
