"""Checks of buffers: what training makes of running statistics, who reads them and who leaves them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dualml.errors import WeightsError
from dualml.protocol import Array, Arrays, Backend, Batch, Network
from dualml.spec.activations import Tanh
from dualml.spec.graph import Graph, Precision
from dualml.spec.layers import BatchNorm, Dense
from dualml.spec.optimizers import Sgd
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_close, assert_names, check, fail
from dualml.testing.base import Checks, over
from dualml.testing.cases import RATES, Case
from dualml.testing.cases.base import update

NORMED = Case(
    "normed",
    (3,),
    [
        Dense(units=4, activation=Tanh()),
        BatchNorm(variance="unbiased", momentum=0.87, epsilon=0.013),
        Dense(units=3, activation=Tanh()),
        BatchNorm(variance="biased", momentum=0.61, epsilon=0.037),
        Dense(units=2),
    ],
    examples=6,
)
"""A network with both running variances, each after a layer that moves."""

FROZEN = replace(
    NORMED, name="frozen", layers=[Dense(units=4, activation=Tanh()), BatchNorm(frozen=True), Dense(units=2)]
)
"""A network whose buffers stay."""

SGD = update("sgd", Sgd(lr=0.1, momentum=0.9))

_PIECE, _ORDER = 2, np.array([3, 1, 4, 0, 5, 7, 2, 6])
"""Examples in a piece of an update, and rows in the order of their use."""


class BufferChecks(Checks):
    """Running statistics in training, in inference and in between."""

    def test_training_moves_buffers(self, backend: Backend) -> None:
        """The buffers after several steps, eager and compiled, are the float64 reference's."""
        for compiled in sorted({False, backend.capabilities.compiled}):
            self._trained(backend, "float64", compiled=compiled)

    def test_training_moves_buffers_float32(self, backend: Backend) -> None:
        """The same in float32."""
        for compiled in sorted({False, backend.capabilities.compiled}):
            self._trained(backend, "float32", compiled=compiled)

    def _trained(self, backend: Backend, precision: Precision, *, compiled: bool) -> None:
        network = self.network(backend, NORMED, precision)
        graph = NORMED.graph(precision)
        pieces = [oracle.Piece(NORMED.batch(precision, variant=number), lr) for number, lr in enumerate(RATES)]
        must = oracle.trained(graph, NORMED.weights(precision), NORMED.objective, SGD.optimizer, None, pieces)
        trainer = self.trainer(network, NORMED, SGD, compiled=compiled)
        for piece in pieces:
            trainer.step(piece.batch, piece.lr)
        found = network.get_weights()
        hint = "a momentum the other way round, the other variance, or buffers that move twice or not at all in a step"
        for name in _names(graph):
            right = must.parameters[name]
            what = f"the buffer {name!r} after {len(pieces)} steps in {precision}{' (compiled)' if compiled else ''}"
            assert_close(what, found[name], right.value, right.bound, hint)

    def test_step_moves_buffers(self, backend: Backend) -> None:
        """A step leaves, bit for bit, the buffers that gradients() foretells."""
        network = self.network(backend, NORMED)
        trainer = self.trainer(network, NORMED, SGD)
        for number, lr in enumerate(RATES):
            batch = NORMED.batch(variant=number)
            must = network.gradients(batch, NORMED.objective).buffers
            trainer.step(batch, lr)
            hint = "buffers that move in another pass as well, or not at all"
            assert_all_identical(f"the buffer after step {number + 1}", _buffers(network), must, hint)

    def test_buffers_move_piece_by_piece(self, backend: Backend) -> None:
        """Where an update has several pieces, each finds the buffers that the piece before it left."""
        network, other = self._stateful_twins(backend)
        trainer = self.trainer(network, NORMED, SGD, batch_size=_PIECE, update_size=2 * _PIECE)
        batch = NORMED.batch(examples=2 * _PIECE)
        must = _after_pieces(other, [batch.take(slice(start, start + _PIECE)) for start in (0, _PIECE)])
        trainer.step(batch, 0.1)
        hint = "statistics over the whole update, or the last piece's alone"
        assert_all_identical("the buffer after a step of two pieces", _buffers(network), must, hint)

    def test_run_moves_buffers(self, backend: Backend) -> None:
        """run() leaves the buffers and parameters that step() leaves, bit for bit in eager mode, also in pieces."""
        for update_size in (_PIECE, 2 * _PIECE):
            network, other = self._stateful_twins(backend)
            data, rates = NORMED.batch(examples=len(_ORDER)), np.array(RATES[: len(_ORDER) // update_size])
            running, stepping = (
                self.trainer(item, NORMED, SGD, batch_size=_PIECE, update_size=update_size) for item in (network, other)
            )
            running.run(running.place(data), _ORDER, rates)
            for number, lr in enumerate(rates):
                rows = _ORDER[number * update_size : (number + 1) * update_size]
                stepping.step(data.take(rows), float(lr))
            what = f"the weight after run() in updates of {update_size}"
            assert_all_identical(what, network.get_weights(), other.get_weights(), "buffers of another update or piece")

    def test_buffers_stay(self, backend: Backend) -> None:
        """forward() in both modes, predict(), gradients() and apply() leave the buffers as training left them."""
        network = self.network(backend, NORMED)
        trainer = self.trainer(network, NORMED, SGD)
        batch = NORMED.batch()
        trainer.step(batch, 0.1)
        before = _buffers(network)
        taps = list(NORMED.graph().by_name)
        gradients = network.gradients(batch, NORMED.objective, taps=taps)
        for what, act in (
            ("gradients()", lambda: network.gradients(batch, NORMED.objective)),
            ("gradients() with taps", lambda: network.gradients(batch, NORMED.objective, taps=taps)),
            ("forward(training=True)", lambda: network.forward(batch.inputs, training=True)),
            ("forward(training=True) with taps", lambda: network.forward(batch.inputs, training=True, taps=taps)),
            ("forward()", lambda: network.forward(batch.inputs)),
            ("predict()", lambda: network.predict(batch.inputs)),
            ("apply()", lambda: trainer.apply(gradients.parameters, 0.1)),
        ):
            act()
            hint = "a pass in training mode whose buffers are kept"
            assert_all_identical(f"the buffer after {what}", _buffers(network), before, hint)

    def test_inference_uses_buffers(self, backend: Backend) -> None:
        """After training, inference normalises by the buffers; training mode does not read them."""
        network, graph = self.network(backend, NORMED), NORMED.graph()
        trainer = self.trainer(network, NORMED, SGD)
        for number, lr in enumerate(RATES):
            trainer.step(NORMED.batch(variant=number), lr)
        inputs, weights, taps = NORMED.inputs(variant=9), network.get_weights(), list(graph.by_name)
        got = network.forward(inputs, taps=taps)
        must = oracle.composed(graph, weights, {**graph.named_inputs(inputs), **got}, None, training=False)
        hint = "the statistics of the batch in inference, or buffers from before the training"
        for name, right in must.items():
            assert_close(
                f"the value of {name!r} in inference after training", got[name], right.value, right.bound, hint
            )
        alone = network.forward(inputs[:1], taps=taps)
        must = oracle.composed(graph, weights, {**graph.named_inputs(inputs[:1]), **alone}, None, training=False)
        for name, right in must.items():
            what = f"the value of {name!r} for one example alone"
            assert_close(what, alone[name], right.value, right.bound, hint)
        trained = network.forward(inputs, training=True, taps=taps)
        network.set_weights({**weights, **{name: weights[name] + 1.0 for name in _names(graph)}})
        hint = "running statistics that are read in training"
        moved = network.forward(inputs, training=True, taps=taps)
        assert_all_identical("the value in training mode with other buffers", moved, trained, hint)

    def test_frozen_buffers_stay(self, backend: Backend) -> None:
        """Frozen buffers are used in training and left alone by it, while scale and offset learn."""
        network, graph = self.network(backend, FROZEN), FROZEN.graph()
        trainer = self.trainer(network, FROZEN, SGD)
        before = network.get_weights()
        frozen = {name: before[name] for name in _names(graph)}
        assert_all_identical(
            "the buffer that gradients() foretells for a frozen layer",
            network.gradients(FROZEN.batch(), FROZEN.objective).buffers,
            frozen,
            "a frozen layer that follows the batch",
        )
        for number, lr in enumerate(RATES):
            trainer.step(FROZEN.batch(variant=number), lr)
        after = network.get_weights()
        hint = "a frozen layer that follows the batch"
        assert_all_identical("the frozen buffer after training", {name: after[name] for name in frozen}, frozen, hint)
        for role in ("scale", "offset"):
            name = f"batch_norm_1.{role}"
            if np.array_equal(after[name], before[name]):
                fail(f"{name!r} after training", "have moved", "it is what it was", "a layer frozen as a whole")
        inputs = FROZEN.inputs()
        output = graph.output
        assert_all_identical(
            "the value in training mode of a model with frozen buffers",
            {output: network.forward(inputs, training=True)[output]},
            {output: network.forward(inputs)[output]},
            "the statistics of the batch",
        )

    def test_weights_carry_buffers(self, backend: Backend) -> None:
        """get_weights() and set_weights() carry buffers; a missing one is refused and nothing changes."""
        network, other = self._stateful_twins(backend)
        trainer = self.trainer(network, NORMED, SGD)
        trainer.step(NORMED.batch(), 0.1)
        weights = network.get_weights()
        other.set_weights(weights)
        assert_all_identical("the weight of another network after set_weights()", other.get_weights(), weights)
        inputs = NORMED.inputs()
        hint = "buffers that stay behind"
        assert_all_identical("the value in another network", other.forward(inputs), network.forward(inputs), hint)
        name = _names(NORMED.graph())[0]
        try:
            other.set_weights({key: value + 1.0 for key, value in weights.items() if key != name})
        except WeightsError as error:
            check(name in str(error), "the message about a missing buffer", f"name {name!r}", str(error))
        else:
            fail("set_weights() without a buffer", "raise WeightsError", "it raised nothing", "buffers not checked")
        assert_all_identical("the weight after a set_weights() that was refused", other.get_weights(), weights)

    def test_networks_have_their_own_buffers(self, backend: Backend) -> None:
        """Training one of two networks built from the same arrays changes neither the other nor the arrays."""
        given = NORMED.weights()
        kept = {name: value.copy() for name, value in given.items()}
        self.require(backend, NORMED.spec())
        network, other = (backend.build(NORMED.graph(), given) for _ in range(2))
        returned = network.get_weights()
        self.trainer(network, NORMED, SGD).step(NORMED.batch(), 0.1)
        hint = "buffers that share memory"
        assert_all_identical("the weight of the other network", other.get_weights(), kept, hint)
        assert_all_identical("the array a network was built from", given, kept, hint)
        assert_all_identical("the array that get_weights() returned before training", returned, kept, hint)

    @over((NORMED, FROZEN))
    def test_names_of_buffers(self, backend: Backend, case: Case) -> None:
        """gradients() and get_weights() have every buffer; apply() wants no gradient for them."""
        network, graph = self.network(backend, case), case.graph()
        found = network.gradients(case.batch(), case.objective)
        assert_names("gradients().buffers", found.buffers, _names(graph))
        assert_names("gradients().parameters", found.parameters, [item.name for item in graph.parameters])
        assert_names("get_weights()", network.get_weights(), [item.name for item in graph.weights])

    def _stateful_twins(self, backend: Backend) -> tuple[Network, Network]:
        """Two networks with the same weights."""
        return self.network(backend, NORMED), self.network(backend, NORMED, copy=1)


def _names(graph: Graph) -> list[str]:
    return [item.name for item in graph.buffers]


def _buffers(network: Network) -> dict[str, Array]:
    weights = network.get_weights()
    return {name: weights[name] for name in _names(network.graph)}


def _after_pieces(network: Network, pieces: list[Batch]) -> Arrays:
    """The buffers after some passes in training mode, each of which finds those of the one before it."""
    for piece in pieces:
        found = network.gradients(piece, NORMED.objective).buffers
        network.set_weights({**network.get_weights(), **found})
    return _buffers(network)
