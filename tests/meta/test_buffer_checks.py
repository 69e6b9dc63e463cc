"""The checks of buffers are tested too: they pass a backend that has batch norm, and fail it broken in a known way."""

# ruff: noqa: ARG005 (a fault has the signature of what it replaces)

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dualml_numpy_example import NumpyBackend, operations
from dualml_numpy_example.network import NumpyNetwork
from dualml_numpy_example.training import NumpyTrainer

from dualml.protocol import Arrays, Batch, Gradients
from dualml.spec.graph import Graph
from dualml.testing.base import Check, checks_of
from dualml.testing.checks_buffers import BufferChecks
from dualml.testing.checks_gradients import GradientChecks
from dualml.testing.checks_values import ValueChecks
from dualml.weights import check_weights

Patch = pytest.MonkeyPatch


class NormedNetwork(NumpyNetwork):
    """The example network with batch norm, for an input of one axis; ``moved`` holds the last pass's new buffers."""

    def get_weights(self) -> dict[str, Any]:
        return {name: value.copy() for name, value in {**self.weights, **self.buffers}.items()}

    def set_weights(self, weights: Arrays) -> None:
        super().set_weights(weights)
        self.set_buffers(weights)

    def set_buffers(self, weights: Arrays) -> None:
        self.buffers = {item.name: np.array(weights[item.name]) for item in self.graph.buffers}

    def moments(self, node: Any, x: Any, training: bool) -> tuple[Any, Any]:
        """What an example is normalised by; in training the buffers it leaves go to ``moved``."""
        mean, variance = (self.buffers[item.name] for item in node.buffers)
        if training:
            self.moved |= {item.name: self.buffers[item.name] for item in node.buffers}
        if not training or node.settings.frozen:
            return mean, variance
        batch = x.mean(axis=0), x.var(axis=0)
        factor = len(x) / (len(x) - 1) if node.settings.variance == "unbiased" else 1.0
        for item, new in zip(node.buffers, (batch[0], batch[1] * factor), strict=True):
            self.moved[item.name] = self.average(node, self.buffers[item.name], new)
        return batch

    def average(self, node: Any, old: Any, new: Any) -> Any:
        return node.settings.momentum * old + (1.0 - node.settings.momentum) * new

    def batch_norm(self, node: Any, x: Any, training: bool) -> tuple[Any, Callable[[Any], Any]]:
        names = {item.role: item.name for item in node.parameters}
        mean, variance = self.moments(node, x, training)
        factor = 1.0 / np.sqrt(variance + node.settings.epsilon)
        normed = (x - mean) * factor
        scale = self.weights[names["scale"]]

        def backward(gradient: Any) -> Any:
            inner = gradient * scale
            own = {names["scale"]: (gradient * normed).sum(axis=0), names["offset"]: gradient.sum(axis=0)}
            if not node.settings.frozen:
                inner = inner - inner.mean(axis=0) - normed * (inner * normed).mean(axis=0)
            return [inner * factor], own

        return normed * scale + self.weights[names["offset"]], backward

    def _evaluate(self, inputs: Any, training: bool, masks: Any) -> Any:
        self.moved: dict[str, Any] = {}
        given = self.graph.named_inputs(inputs)
        values = {name: np.asarray(item, dtype=self.graph.precision) for name, item in given.items()}
        backwards = {}
        for node in self.graph.nodes:
            sources = [values[name] for name in node.inputs]
            if node.operation == "batch_norm":
                found = self.batch_norm(node, sources[0], training)
            else:
                found = operations.OPERATIONS[node.operation](node, sources, self.weights, None)
            values[node.name], backwards[node.name] = found
        return values, backwards

    def gradients(self, batch: Batch, *args: Any, **named: Any) -> Gradients:
        found = super().gradients(batch, *args, **named)
        return dataclasses.replace(found, buffers=dict(self.moved))

    def trainer(self, loss: Any, optimizer: Any, **settings: Any) -> NormedTrainer:
        settings.pop("compiled", None)
        size = settings.pop("update_size", None) or settings["batch_size"]
        return NormedTrainer(self, loss, optimizer, settings["batch_size"], size, settings.get("clip"))


class NormedTrainer(NumpyTrainer):
    """The example trainer, whose pieces move the network's buffers."""

    def step(self, batch: Batch, lr: float, *, masks: Any = None) -> float:
        loss, total = 0.0, dict[str, Any]()
        for start in range(0, len(batch), self.batch_size):
            found = self.network.gradients(
                batch.take(slice(start, start + self.batch_size)), self.loss, count=len(batch)
            )
            self.keep(found.buffers)
            loss += found.loss
            total = {name: total[name] + value if total else value for name, value in found.parameters.items()}
        self.apply(total, lr)
        return loss

    def keep(self, buffers: Arrays) -> None:
        self.network.buffers = dict(buffers)


class NormedBackend(NumpyBackend):
    """The example backend with batch norm."""

    @property
    def capabilities(self) -> Any:
        known = super().capabilities
        return dataclasses.replace(known, operations=known.operations | {"batch_norm"})

    def build(self, graph: Graph, weights: Arrays, **settings: Any) -> NormedNetwork:
        return NormedNetwork(graph, weights)


class Suite(BufferChecks, GradientChecks, ValueChecks):
    """The checks that know of buffers."""


def run(check: str, backend: Any) -> None:
    """Run a check by its id, on networks of its own."""
    suite = type("Once", (Suite,), {"_networks": {}})
    (found,) = [item for item in checks_of(suite) if item.id == check]
    found.run(suite(), backend)


CHECKS = list(checks_of(BufferChecks))
CASES = ("batch-norm", "batch-norm-keras", "batch-norm-twice")
ON_CASES = ("test_values", "test_values_in_training", "test_gradients", "test_gradients_compose")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_right_backend_passes(check: Check) -> None:
    run(check.id, NormedBackend())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("check", ON_CASES)
def test_a_right_backend_passes_on_cases(check: str, case: str) -> None:
    run(f"{check}[{case}]", NormedBackend())


# ---------------------------------------------------------------- one fault at a time


def momentum_of_the_new(patch: Patch) -> None:
    def average(self: Any, node: Any, old: Any, new: Any) -> Any:
        return (1.0 - node.settings.momentum) * old + node.settings.momentum * new

    patch.setattr(NormedNetwork, "average", average)


def momentum_through_float32(patch: Patch) -> None:
    def average(self: Any, node: Any, old: Any, new: Any) -> Any:
        momentum = float(np.float32(node.settings.momentum))
        return momentum * old + (1.0 - momentum) * new

    patch.setattr(NormedNetwork, "average", average)


def buffers_never_move(patch: Patch) -> None:
    patch.setattr(NormedTrainer, "keep", lambda self, buffers: None)


def gradients_move_buffers(patch: Patch) -> None:
    original = NormedNetwork.gradients

    def gradients(self: Any, *args: Any, **named: Any) -> Gradients:
        found = original(self, *args, **named)
        self.buffers = dict(found.buffers)
        return found

    patch.setattr(NormedNetwork, "gradients", gradients)


def forward_in_training_moves_buffers(patch: Patch) -> None:
    original = NormedNetwork.forward

    def forward(self: Any, inputs: Any, *, training: bool = False, **named: Any) -> Any:
        found = original(self, inputs, training=training, **named)
        if training:
            self.buffers = dict(self.moved)
        return found

    patch.setattr(NormedNetwork, "forward", forward)


def inference_uses_the_batch(patch: Patch) -> None:
    original = NormedNetwork.moments

    def moments(self: Any, node: Any, x: Any, training: bool) -> Any:
        return original(self, node, x, True)

    patch.setattr(NormedNetwork, "moments", moments)


def pieces_find_the_first_buffers(patch: Patch) -> None:
    original = NormedTrainer.step

    def step(self: Any, batch: Batch, lr: float, *, masks: Any = None) -> float:
        patch.setattr(NormedTrainer, "keep", lambda self, buffers: setattr(self, "last", dict(buffers)))
        loss = original(self, batch, lr)
        self.network.buffers = self.last
        return loss

    patch.setattr(NormedTrainer, "step", step)


def run_forgets_buffers(patch: Patch) -> None:
    original = NormedTrainer.run

    def forgetful(self: Any, *args: Any, **named: Any) -> Any:
        before = dict(self.network.buffers)
        losses = original(self, *args, **named)
        self.network.buffers = before
        return losses

    patch.setattr(NormedTrainer, "run", forgetful)


def set_weights_leaves_buffers(patch: Patch) -> None:
    original = NormedNetwork.set_buffers

    def set_buffers(self: Any, weights: Arrays) -> None:
        if not hasattr(self, "buffers"):
            original(self, weights)

    patch.setattr(NormedNetwork, "set_buffers", set_buffers)


def missing_buffers_are_taken(patch: Patch) -> None:
    def set_weights(self: Any, weights: Arrays) -> None:
        whole = {**(self.get_weights() if hasattr(self, "buffers") else {}), **weights}
        check_weights(whole, self.graph)
        self.weights = {item.name: np.array(whole[item.name]) for item in self.graph.parameters}
        self.set_buffers(whole)

    patch.setattr(NormedNetwork, "set_weights", set_weights)


def networks_share_buffers(patch: Patch) -> None:
    def set_buffers(self: Any, weights: Arrays) -> None:
        self.buffers = {item.name: weights[item.name] for item in self.graph.buffers}

    def keep(self: Any, buffers: Arrays) -> None:
        for name, value in buffers.items():
            self.network.buffers[name][...] = value

    patch.setattr(NormedNetwork, "set_buffers", set_buffers)
    patch.setattr(NormedTrainer, "keep", keep)


def frozen_follows_the_batch(patch: Patch) -> None:
    original = NormedNetwork.moments

    def moments(self: Any, node: Any, x: Any, training: bool) -> Any:
        thawed = dataclasses.replace(node, settings=node.settings.model_copy(update={"frozen": False}))
        return original(self, thawed, x, training)

    patch.setattr(NormedNetwork, "moments", moments)


def frozen_as_a_whole(patch: Patch) -> None:
    original = NormedNetwork.gradients

    def gradients(self: Any, *args: Any, **named: Any) -> Gradients:
        found = original(self, *args, **named)
        frozen = {node.name for node in self.graph.nodes if getattr(node.settings, "frozen", False)}
        parameters = {name: value * (name.partition(".")[0] not in frozen) for name, value in found.parameters.items()}
        return dataclasses.replace(found, parameters=parameters)

    patch.setattr(NormedNetwork, "gradients", gradients)


def gradients_name_no_buffers(patch: Patch) -> None:
    original = NormedNetwork.gradients

    def gradients(self: Any, *args: Any, **named: Any) -> Gradients:
        return dataclasses.replace(original(self, *args, **named), buffers={})

    patch.setattr(NormedNetwork, "gradients", gradients)
    patch.setattr(NormedTrainer, "keep", lambda self, buffers: setattr(self.network, "buffers", self.network.moved))


def other_variance(patch: Patch) -> None:
    original = NormedNetwork.moments

    def moments(self: Any, node: Any, x: Any, training: bool) -> Any:
        other = {"biased": "unbiased", "unbiased": "biased"}[node.settings.variance]
        swapped = dataclasses.replace(node, settings=node.settings.model_copy(update={"variance": other}))
        return original(self, swapped, x, training)

    patch.setattr(NormedNetwork, "moments", moments)


@pytest.mark.parametrize(
    ("fault", "check", "says"),
    [
        (momentum_of_the_new, "test_training_moves_buffers", "a momentum the other way round"),
        (momentum_of_the_new, "test_gradients_compose[batch-norm]", "running_mean"),
        (momentum_through_float32, "test_training_moves_buffers", "running"),
        (other_variance, "test_training_moves_buffers", "running_variance"),
        (other_variance, "test_gradients_compose[batch-norm-keras]", "running_variance"),
        (buffers_never_move, "test_step_moves_buffers", "after step 1"),
        (buffers_never_move, "test_training_moves_buffers", "not at all"),
        (gradients_move_buffers, "test_buffers_stay", "after gradients()"),
        (forward_in_training_moves_buffers, "test_buffers_stay", "after forward(training=True)"),
        (inference_uses_the_batch, "test_inference_uses_buffers", "statistics of the batch"),
        (inference_uses_the_batch, "test_values[batch-norm]", "batch_norm_1"),
        (pieces_find_the_first_buffers, "test_buffers_move_piece_by_piece", "step of two pieces"),
        (run_forgets_buffers, "test_run_moves_buffers", "after run()"),
        (set_weights_leaves_buffers, "test_weights_carry_buffers", "after set_weights()"),
        (missing_buffers_are_taken, "test_weights_carry_buffers", "raise WeightsError"),
        (networks_share_buffers, "test_networks_have_their_own_buffers", "share memory"),
        (frozen_follows_the_batch, "test_frozen_buffers_stay", "follows the batch"),
        (frozen_as_a_whole, "test_frozen_buffers_stay", "frozen as a whole"),
        (gradients_name_no_buffers, "test_names_of_buffers[normed]", "missing are"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_a_fault_is_found(fault: Callable[[Patch], None], check: str, says: str, monkeypatch: Patch) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        run(check, NormedBackend())
    assert says in str(caught.value)


def test_every_check_has_a_fault() -> None:
    marks = test_a_fault_is_found.pytestmark  # type: ignore[attr-defined]
    found = {check.partition("[")[0] for _, check, _ in marks[0].args[1]}
    exempt = {"test_training_moves_buffers_float32"}  # the same code in another precision
    assert {check.method for check in CHECKS} - exempt <= found
