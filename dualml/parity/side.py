"""One side of a comparison: a spec in a backend, advanced step by step and recorded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from dualml import registry
from dualml.data import Dataset, Split
from dualml.evaluation import evaluate, take
from dualml.parity.records import Key, Record, input_keys, parameter_keys, state_keys
from dualml.protocol import Array, Arrays, Batch, State
from dualml.spec.config import Spec
from dualml.spec.graph import Arithmetic
from dualml.training.plan import Plan, dropout_masks
from dualml.weights import initial_weights

PROBE = "probe"
"""Name of the tensor with predictions for the probe examples."""
PROBE_ROWS = 64
"""Held-back examples whose predictions are recorded at every step."""
PREDICTION_ROWS = 10_000
"""Most held-back examples whose predictions are recorded at the end."""


class Side(Protocol):
    """What the comparison asks of a side, in this process or in one of its own."""

    def start(self, precision: Arithmetic) -> Record:
        """Build the model and record its first state (step 0)."""

    def advance(self, count: int) -> list[Record]:
        """Do updates of the free run; each record holds the loss, the weights after it and probe predictions."""

    def full(self) -> Record:
        """Do one update of the free run and record everything in it, and the state before it."""

    def resynchronised(self, before: Record) -> Record:
        """From the state recorded by the other side before an update, do that update and record everything.

        The free run stays where it was.
        """

    def finish(self) -> Record:
        """Record predictions on held-back examples, and metrics."""

    def describe(self) -> dict[str, Any]:
        """Backend, versions and data of the side."""


def held_back(dataset: Dataset) -> Split:
    """The examples predictions are compared on: the test split, or the best there is."""
    return dataset.test or dataset.validation or dataset.train


def first_piece_only(spec: Spec) -> bool:
    """Whether only the first piece of each update can be judged.

    Where examples depend on each other (batch statistics), an update in several pieces is not one pass over all of
    its examples.
    """
    dependent = any(not node.settings.examples_independent() for node in spec.graph.nodes)
    return dependent and spec.train.accumulate > 1


class LocalSide:
    """A side in this process.

    Args:
        spec: The spec; its ``backend`` says where.
        dataset: Its examples.
    """

    def __init__(self, spec: Spec, dataset: Dataset) -> None:
        self.spec = spec.resolved
        self.backend = registry.load(spec.backend)
        registry.check(self.backend, self.spec)
        self.dataset = dataset

    def start(self, precision: Arithmetic) -> Record:
        self.spec = self.spec.replace(precision=precision).resolved
        self.plan = Plan(self.spec, len(self.dataset.train))
        graph = self.spec.graph
        first = initial_weights(graph, self.spec.seed)
        self.network = self.backend.build(graph, first, device=self.spec.device)
        train = self.spec.train
        self.trainer = self.network.trainer(
            self.spec.objective,
            self.spec.optimizer,
            batch_size=train.batch_size,
            update_size=self.plan.update_size,
            clip=train.clip,
        )
        self.step = 0
        rows = np.arange(min(PROBE_ROWS, len(held_back(self.dataset))))
        self.probe = held_back(self.dataset).gather(rows, self.spec.dtype)[0]
        arrays = parameter_keys("init", self.network.get_weights())
        arrays |= state_keys(self.trainer.get_state())
        arrays |= {Key("input", name, PROBE): array for name, array in graph.named_inputs(self.probe).items()}
        return Record(0, arrays)

    def batch(self, step: int) -> tuple[Batch, dict[str, Array] | None, float]:
        """Examples, masks and learning rate of an update (counted from 0)."""
        rows = self.plan.batch_order(step)
        batch = take(self.dataset.train, rows, self.spec.dtype)
        masks = dropout_masks(self.spec.graph, self.spec, step, len(rows), self.plan.update_size)
        return batch, masks, float(self.plan.rates(step, 1)[0])

    def advance(self, count: int) -> list[Record]:
        return [self._light() for _ in range(count)]

    def _train(self, batch: Batch, masks: dict[str, Array] | None, lr: float) -> float:
        """One update by ``Trainer.run``, which is what trains: in pieces, compiled where the backend compiles."""
        losses = self.trainer.run(self.trainer.place(batch), np.arange(len(batch)), np.array([lr]), masks=masks)
        return float(losses[0])

    def _light(self) -> Record:
        batch, masks, lr = self.batch(self.step)
        loss = self._train(batch, masks, lr)
        self.step += 1
        arrays = self._after(self.network.get_weights())
        arrays[Key("loss", self.spec.graph.output, "value")] = np.array(loss)
        for name in self.spec.graph.outputs:
            arrays[Key("prediction", name, PROBE)] = self.network.predict(self.probe, output=name)
        return Record(self.step, arrays, lr)

    def _after(self, weights: Arrays) -> dict[Key, Array]:
        """Parameters and buffers after an update, as records hold them."""
        buffers = {item.name for item in self.spec.graph.buffers}
        arrays = parameter_keys("update", {name: array for name, array in weights.items() if name not in buffers})
        return arrays | parameter_keys("buffers", {name: weights[name] for name in buffers})

    def full(self) -> Record:
        before = self.network.get_weights(), self.trainer.get_state()
        record = self._observed(self.step)
        if self.partial:  # the free run does the whole update
            self._restore(*before)
            return record.with_free(self._light())
        self.step += 1
        return record

    def _restore(self, weights: Arrays, state: State) -> None:
        self.network.set_weights(weights)
        self.trainer.set_state(state)

    @property
    def partial(self) -> bool:
        """Whether only the first piece of an update can be judged."""
        return first_piece_only(self.spec)

    def _observed(self, step: int) -> Record:
        """One update with everything in it recorded."""
        graph = self.spec.graph
        batch, masks, lr = self.batch(step)
        if self.partial:
            first = slice(self.spec.train.batch_size)
            batch, masks = batch.take(first), {name: mask[first] for name, mask in (masks or {}).items()} or None
        weights, state = self.network.get_weights(), self.trainer.get_state()
        objective, sources = self.spec.objective, [*graph.input_names]
        nodes = [node.name for node in graph.nodes]
        inference = self.network.forward(batch.inputs, taps=nodes)
        gradients = self.network.gradients(batch, objective, masks=masks, taps=[*sources, *nodes])
        self._train(batch, masks, lr)
        trained = self.network.get_weights()
        self._restore(weights, state)
        self.trainer.apply(gradients.parameters, lr)
        self.network.set_weights({**self.network.get_weights(), **gradients.buffers})
        arrays: dict[Key, Array] = {
            **input_keys(graph, batch),
            Key("loss", graph.output, "value"): np.array(gradients.loss),
            Key("loss", graph.output, "examples"): gradients.example_losses,
        }
        arrays |= parameter_keys("before", weights)
        arrays |= state_keys(state, "before_state")
        arrays |= {Key("forward", name, "inference"): inference[name] for name in nodes}
        arrays |= {Key("forward", name, "training"): gradients.values[name] for name in nodes}
        arrays |= {Key("backward", name, "gradient"): gradients.values_gradients[name] for name in [*sources, *nodes]}
        arrays |= parameter_keys("backward", gradients.parameters)
        arrays |= self._after(self.network.get_weights())
        arrays |= parameter_keys("trained", trained)
        arrays |= state_keys(self.trainer.get_state())
        outputs = self.network.forward(batch.inputs)
        for name in graph.outputs:
            arrays[Key("prediction", name, "output")] = outputs[name]
            arrays[Key("prediction", name, graph.predictions[name])] = self.network.predict(batch.inputs, output=name)
            arrays[Key("prediction", name, PROBE)] = self.network.predict(self.probe, output=name)
        return Record(step + 1, arrays, lr, {"optimizer_step": state.step})

    def resynchronised(self, before: Record) -> Record:
        weights, state = self.network.get_weights(), self.trainer.get_state()
        try:
            state_before = State(before.facts["optimizer_step"], before.slots("before_state"))
            self._restore(before.parameters("before"), state_before)
            return self._observed(before.step - 1)
        finally:
            self._restore(weights, state)

    def finish(self) -> Record:
        split = held_back(self.dataset)
        pieces: list[Array] = []
        for start in range(0, min(len(split), PREDICTION_ROWS), 1024):
            rows = np.arange(start, min(start + 1024, len(split), PREDICTION_ROWS))
            pieces.append(self.network.predict(split.gather(rows, self.spec.dtype)[0]))
        arrays = {Key("prediction", self.spec.graph.output, "held_back"): np.concatenate(pieces)}
        return Record(
            self.step, arrays, facts=evaluate(self.network, split, self.spec.objective, self.spec.metrics or ())
        )

    def describe(self) -> dict[str, Any]:
        return {
            "backend": self.backend.name,
            "versions": self.backend.versions(),
            "data": self.dataset.fingerprint(),
            "examples": len(self.dataset.train),
        }
