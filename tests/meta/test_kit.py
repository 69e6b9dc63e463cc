"""The conformance suite is tested too: it fails a backend that is broken in a known way, at the check that says so."""

# ruff: noqa: ARG005 (a fault has the signature of what it replaces)

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dualml_numpy_example
import numpy as np
import pytest
from dualml_numpy_example import NumpyBackend, operations, training
from dualml_numpy_example.network import NumpyNetwork
from dualml_numpy_example.training import NumpyTrainer

from dualml import reference
from dualml.protocol import Gradients, State
from dualml.reference.layers import dense as reference_layers
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.layers import LAYERS
from dualml.spec.losses import LOSSES
from dualml.spec.optimizers import OPTIMIZERS
from dualml.testing import BackendConformance, cases, oracle
from dualml.testing.base import Check

pytest_plugins = ("pytester",)

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Fault:
    """One way to break the example backend.

    Attributes:
        name: Test id.
        inject: Breaks it.
        check: Id of a check that must fail, or of a method of which some case must.
        says: What the failure says, among other things.
    """

    name: str
    inject: Callable[[Patch], Any]
    check: str
    says: str = ""


FAULTS: list[Fault] = []


def fault(check: str, says: str = "") -> Callable[[Callable[[Patch], Any]], Callable[[Patch], Any]]:
    """Registers a function that breaks the example backend; it may return another backend to check."""

    def register(inject: Callable[[Patch], Any]) -> Callable[[Patch], Any]:
        FAULTS.append(Fault(inject.__name__, inject, check, says))
        return inject

    return register


def wrap(patch: Patch, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replaces a method by ``wrapper(original, self, ...)``."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **named: wrapper(original, *args, **named))


# ------------------------------------------------------------------ weights and values


@fault("test_values[dense-square]", "kernel in the other layout")
def transposed_kernel(patch: Patch) -> None:
    def dense(node: Any, inputs: Any, weights: Any, mask: Any) -> Any:
        turned = {
            name: value.T if value.ndim == 2 and len(set(value.shape)) == 1 else value
            for name, value in weights.items()
        }
        return operations.dense(node, inputs, turned, mask)

    patch.setitem(operations.OPERATIONS, "dense", dense)


@fault("test_values[dense]", "a bias that was forgotten")
def bias_forgotten(patch: Patch) -> None:
    def dense(node: Any, inputs: Any, weights: Any, mask: Any) -> Any:
        return operations.dense(node, inputs, {name: value * (value.ndim > 1) for name, value in weights.items()}, mask)

    patch.setitem(operations.OPERATIONS, "dense", dense)


@fault("test_float64_survives", "float32")
def weights_through_float32(patch: Patch) -> None:
    def rounded(original: Any, self: Any, weights: Any) -> None:
        original(
            self,
            {name: value.astype(np.float32) if hasattr(value, "astype") else value for name, value in weights.items()},
        )

    wrap(patch, NumpyNetwork, "set_weights", rounded)


@fault("test_values", "overflow")
def output_is_nan(patch: Patch) -> None:
    patch.setitem(operations.ACTIVATIONS, "tanh", lambda x: (np.full_like(x, np.nan), lambda gradient: gradient))


@fault("test_values[softmax-over-last-axis]", "another axis")
def softmax_over_wrong_axis(patch: Patch) -> None:
    def softmax(x: Any) -> Any:
        value, backward = operations.softmax(x.swapaxes(1, -1))
        return value.swapaxes(1, -1), lambda gradient: backward(gradient.swapaxes(1, -1)).swapaxes(1, -1)

    patch.setitem(operations.ACTIVATIONS, "softmax", softmax)


@fault("test_predictions", "softmax over another axis")
def predictions_are_logits(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "predict", lambda self, inputs: self.forward(inputs)[self.graph.output])


@fault("test_values[flatten]")
def flatten_columns_first(patch: Patch) -> None:
    def flatten(node: Any, inputs: Any, weights: Any, mask: Any) -> Any:
        value, backward = operations.flatten(node, [inputs[0].swapaxes(1, -1)], weights, mask)
        return value, lambda gradient: ([backward(gradient)[0][0].swapaxes(1, -1)], {})

    patch.setitem(operations.OPERATIONS, "flatten", flatten)


@fault("test_taps_change_nothing", "older value")
def stale_tap(patch: Patch) -> None:
    def forward(original: Any, self: Any, inputs: Any, *, taps: Any = (), **named: Any) -> Any:
        found = original(self, inputs, taps=taps, **named)
        kept = self.__dict__.setdefault("kept", dict(found))
        return {
            name: kept.get(name, value) if name in taps and len(taps) > 1 else value for name, value in found.items()
        }

    wrap(patch, NumpyNetwork, "forward", forward)


@fault("test_training_leaves_returned_arrays", "shares memory")
def tap_is_a_view(patch: Patch) -> None:
    def gradients(original: Any, self: Any, *args: Any, **named: Any) -> Any:
        found = original(self, *args, **named)
        buffers = self.__dict__.setdefault("buffers", {})
        for name, value in found.values.items():
            buffer = buffers.setdefault((name, value.shape), np.empty_like(value))
            buffer[...] = value
            found.values[name] = buffer
        return found

    wrap(patch, NumpyNetwork, "gradients", gradients)


@fault("test_returned_arrays_are_owned", "a view")
def weights_are_a_view(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "get_weights", lambda self: dict(self.weights))


@fault("test_wrong_weights_are_refused", "not checked")
def weights_are_not_checked(patch: Patch) -> None:
    def set_weights(self: Any, weights: Any) -> None:
        self.weights = {**getattr(self, "weights", {}), **{name: np.array(value) for name, value in weights.items()}}

    patch.setattr(NumpyNetwork, "set_weights", set_weights)


@fault("test_arguments_are_copied", "caller's array")
def weights_are_not_copied(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "set_weights", lambda self, weights: setattr(self, "weights", dict(weights)))


# ------------------------------------------------------------------ gradients for the inputs in inference mode


@fault("test_input_gradients", "training mode")
def input_gradients_in_training_mode(patch: Patch) -> None:
    def input_gradients(self: Any, inputs: Any, slopes: Any) -> Any:
        count = len(next(iter(self.graph.named_inputs(inputs).values())))
        masks = {node.name: np.zeros((count, *node.random_mask), bool) for node in self.graph.dropouts}
        values, backwards = self._evaluate(inputs, True, masks)
        flows, _ = self._back(slopes, backwards)
        return {name: flows.get(name, np.zeros_like(values[name])) for name in self.graph.input_names}

    patch.setattr(NumpyNetwork, "input_gradients", input_gradients)


@fault("test_input_gradients[mlp]", "slopes that were not used")
def input_gradients_without_slopes(patch: Patch) -> None:
    def input_gradients(original: Any, self: Any, inputs: Any, slopes: Any) -> Any:
        return original(self, inputs, {name: np.ones_like(slope) for name, slope in slopes.items()})

    wrap(patch, NumpyNetwork, "input_gradients", input_gradients)


@fault("test_input_gradients_change_nothing", "accumulate")
def input_gradients_accumulate(patch: Patch) -> None:
    def input_gradients(original: Any, self: Any, inputs: Any, slopes: Any) -> Any:
        before = self.__dict__.setdefault("before", {})
        for name, gradient in original(self, inputs, slopes).items():
            before[name] = before.get(name, 0.0) + gradient
        return dict(before)

    wrap(patch, NumpyNetwork, "input_gradients", input_gradients)


# ------------------------------------------------------------------ dropout


def dropout_with(formula: Callable[[Any, Any, float], Any]) -> Callable[..., Any]:
    def dropout(node: Any, inputs: Any, weights: Any, mask: Any) -> Any:
        rate = node.settings.rate
        return formula(inputs[0], mask, rate), lambda gradient: ([formula(gradient, mask, rate)], {})

    return dropout


@fault("test_values[dropout]")
def dropout_active_in_inference(patch: Patch) -> None:
    def formula(x: Any, mask: Any, rate: float) -> Any:
        mask = np.random.default_rng(x.size).random(x.shape) >= rate if mask is None else mask
        return np.where(mask, x, 0) / (1 - rate)

    patch.setitem(operations.OPERATIONS, "dropout", dropout_with(formula))


@fault("test_values_in_training[dropout-input]", "constant factor")
def dropout_scale_missing(patch: Patch) -> None:
    formula = dropout_with(lambda x, mask, rate: x if mask is None else np.where(mask, x, 0))
    patch.setitem(operations.OPERATIONS, "dropout", formula)


@fault("test_values_in_training[dropout]", "inverted")
def dropout_mask_inverted(patch: Patch) -> None:
    formula = dropout_with(lambda x, mask, rate: x if mask is None else np.where(mask, 0, x) / (1 - rate))
    patch.setitem(operations.OPERATIONS, "dropout", formula)


@fault("test_values_in_training[dropout]", "passed through float32")
def dropout_rate_through_float32(patch: Patch) -> None:
    formula = dropout_with(
        lambda x, mask, rate: x if mask is None else np.where(mask, x, 0) / (1 - float(np.float32(rate)))
    )
    patch.setitem(operations.OPERATIONS, "dropout", formula)


@fault("test_masks_are_needed", "passed over")
def dropout_passed_over(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "_mask", lambda self, node, examples, masks: (masks or {}).get(node.name))


@fault("test_native_randomness", "instead of the share dropped")
def native_rate_inverted(patch: Patch) -> None:
    def mask(original: Any, self: Any, node: Any, examples: int, masks: Any) -> Any:
        found = original(self, node, examples, masks)
        return found if masks else ~found

    wrap(patch, NumpyNetwork, "_mask", mask)


@fault("test_native_randomness", "seed() does not reach")
def native_seed_ignored(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "seed", lambda self, seed: None)


@fault("test_global_randomness_is_left_alone", "seed()")
def global_seed_set(patch: Patch) -> None:
    patch.setattr(NumpyNetwork, "seed", lambda self, seed: np.random.seed(seed))


# ------------------------------------------------------------------ losses and gradients


@fault("test_losses[cross-entropy-smoothed]", "smoothing")
def label_smoothing_off(patch: Patch) -> None:
    def loss(settings: Any, output: Any, targets: Any) -> Any:
        return operations.cross_entropy(settings.model_copy(update={"label_smoothing": 0.0}), output, targets)

    patch.setitem(operations.LOSSES, "cross_entropy", loss)


@fault("test_gradients_compose[cross-entropy-smoothed]", "passed through float32")
def label_smoothing_through_float32(patch: Patch) -> None:
    def loss(settings: Any, output: Any, targets: Any) -> Any:
        rounded = float(np.float32(settings.label_smoothing))
        return operations.cross_entropy(settings.model_copy(update={"label_smoothing": rounded}), output, targets)

    patch.setitem(operations.LOSSES, "cross_entropy", loss)


@fault("test_losses", "constant factor: every value is 5 times")
def loss_is_a_sum(patch: Patch) -> None:
    def gradients(original: Any, self: Any, batch: Any, *args: Any, **named: Any) -> Any:
        found = original(self, batch, *args, **named)
        return dataclasses.replace(found, loss=float(found.example_losses.sum()))

    wrap(patch, NumpyNetwork, "gradients", gradients)


@fault("test_count", "constant factor")
def count_ignored(patch: Patch) -> None:
    def gradients(original: Any, self: Any, batch: Any, loss: Any, *, count: Any = None, **named: Any) -> Any:
        return original(self, batch, loss, **named)

    wrap(patch, NumpyNetwork, "gradients", gradients)


@fault("test_gradients[dense]", "constant factor: every value is 3 times")
def gradient_of_the_sum(patch: Patch) -> None:
    def gradients(original: Any, self: Any, batch: Any, *args: Any, **named: Any) -> Any:
        found = original(self, batch, *args, **named)
        scaled = {name: value * len(batch) for name, value in found.parameters.items()}
        return dataclasses.replace(found, parameters=scaled)

    wrap(patch, NumpyNetwork, "gradients", gradients)


@fault("test_gradients[add-twice]")
def gradient_of_one_of_several_uses(patch: Patch) -> None:
    def add(node: Any, inputs: Any, weights: Any, mask: Any) -> Any:
        value, _ = operations.add(node, inputs, weights, mask)
        return value, lambda gradient: ([gradient, *(np.zeros_like(gradient) for _ in inputs[1:])], {})

    patch.setitem(operations.OPERATIONS, "add", add)


@fault("test_gradient_at_zero[relu]", "convention at the kink")
def relu_rises_at_zero(patch: Patch) -> None:
    relu = lambda x: (np.maximum(x, 0), lambda gradient: np.where(x >= 0, gradient, 0))  # noqa: E731
    patch.setitem(operations.ACTIVATIONS, "relu", relu)


@fault("test_gradients_repeat", "accumulate from call to call")
def gradients_accumulate(patch: Patch) -> None:
    def gradients(original: Any, self: Any, *args: Any, **named: Any) -> Any:
        found = original(self, *args, **named)
        before = self.__dict__.get("total", dict.fromkeys(found.parameters, 0.0))
        self.total = {name: value + before[name] for name, value in found.parameters.items()}
        return dataclasses.replace(found, parameters=dict(self.total))

    wrap(patch, NumpyNetwork, "gradients", gradients)


# ------------------------------------------------------------------ updates


def changed_settings(patch: Patch, kind: str, change: Callable[[Any], dict[str, Any]]) -> None:
    original = training.UPDATES[kind]

    def update(settings: Any, *args: Any) -> Any:
        return original(settings.model_copy(update=change(settings)), *args)

    patch.setitem(training.UPDATES, kind, update)


@fault("test_update[adam-uncorrected]", "where epsilon stands")
def epsilon_placement_swapped(patch: Patch) -> None:
    other = {"corrected": "uncorrected", "uncorrected": "corrected"}
    changed_settings(patch, "adam", lambda settings: {"epsilon_placement": other[settings.epsilon_placement]})


@fault("test_update[adam-torch]", "where epsilon stands")
def epsilon_inside_the_root(patch: Patch) -> None:
    def adam(settings: Any, value: Any, gradient: Any, slots: Any, lr: float, step: int) -> Any:
        training.adam(settings, value, gradient, slots, lr, step)
        first = slots["first_moment"] / (1 - settings.beta1**step)
        second = slots["second_moment"] / (1 - settings.beta2**step)
        return value - lr * first / np.sqrt(second + settings.epsilon)

    patch.setitem(training.UPDATES, "adam", adam)


@fault("test_hyperparameters_in_full_precision[sgd-torch]", "those for lr rounded to float32")
def float32_learning_rate(patch: Patch) -> None:
    wrap(patch, NumpyTrainer, "apply", lambda original, self, given, lr: original(self, given, float(np.float32(lr))))


@fault("test_hyperparameters_in_full_precision[adam-torch]", "those for beta1 and beta2 rounded to float32")
def float32_betas(patch: Patch) -> None:
    changed_settings(
        patch,
        "adam",
        lambda settings: {name: float(np.float32(getattr(settings, name))) for name in ("beta1", "beta2")},
    )


@fault("test_update[sgd-momentum]", "lr is in the momentum")
def lr_inside_momentum(patch: Patch) -> None:
    changed_settings(patch, "sgd", lambda settings: {"lr_in_momentum": True})


@fault("test_update[adam-corrected-decoupled]", "how decay enters")
def coupled_for_decoupled(patch: Patch) -> None:
    def decay(original: Any, settings: Any, *args: Any) -> Any:
        return original(settings.model_copy(update={"decay": "coupled"}), *args)

    wrap(patch, training, "decay", decay)


@fault("test_update[clip-active]")
def clipping_per_parameter(patch: Patch) -> None:
    def apply(original: Any, self: Any, given: Any, lr: float) -> None:
        if self.clip is not None:
            given = {n: value * training.factor(self.clip, {n: value}) for n, value in given.items()}
        original(self, given, lr)

    wrap(patch, NumpyTrainer, "apply", apply)


@fault("test_clipping_of_nothing")
def clipping_divides_by_zero(patch: Patch) -> None:
    def clipped(clip: Any, given: Any) -> Any:
        norm = np.sqrt(sum(float((value * value).sum()) for value in given.values()))
        factor = min(1.0, clip.max_norm / (norm + clip.epsilon)) if norm else np.nan
        return {name: value * factor for name, value in given.items()}

    patch.setitem(training.CLIPPINGS, "global_norm", clipped)


@fault("test_arguments_are_only_read", "caller's array")
def gradients_scaled_in_place(patch: Patch) -> None:
    def apply(original: Any, self: Any, given: Any, lr: float) -> None:
        original(self, given, lr)
        for value in given.values():
            value *= 0.5

    wrap(patch, NumpyTrainer, "apply", apply)


# ------------------------------------------------------------------ state


@fault("test_state[adam-torch]", "state.step before any update must be 0, but it is 1")
def state_off_by_one(patch: Patch) -> None:
    wrap(patch, NumpyTrainer, "get_state", lambda original, self: State(self.updates + 1, original(self).slots))


@fault("test_state_round_trip[adam-torch]", "step")
def step_is_not_restored(patch: Patch) -> None:
    def set_state(original: Any, self: Any, state: Any) -> None:
        original(self, State(0, state.slots))

    wrap(patch, NumpyTrainer, "set_state", set_state)


@fault("test_state_round_trip[adam-torch]", "does not put back")
def step_is_restored_only_on_paper(patch: Patch) -> None:
    def set_state(original: Any, self: Any, state: Any) -> None:
        original(self, state)
        self.reported, self.updates = state.step, 0

    def get_state(original: Any, self: Any) -> Any:
        return State(self.updates + getattr(self, "reported", 0), original(self).slots)

    wrap(patch, NumpyTrainer, "set_state", set_state)
    wrap(patch, NumpyTrainer, "get_state", get_state)


@fault("test_state_is_owned", "a view")
def state_is_a_view(patch: Patch) -> None:
    patch.setattr(NumpyTrainer, "get_state", lambda self: State(self.updates, self.slots))


@fault("test_wrong_state_is_refused", "not checked")
def state_is_not_checked(patch: Patch) -> None:
    def set_state(self: Any, state: Any) -> None:
        self.updates, self.slots = state.step, {slot: dict(arrays) for slot, arrays in state.slots.items()}

    patch.setattr(NumpyTrainer, "set_state", set_state)


@fault("test_trainers_are_separate", "shared memory")
def memory_kept_with_the_network(patch: Patch) -> None:
    def start(original: Any, self: Any, *args: Any) -> None:
        original(self, *args)
        self.slots = self.network.__dict__.setdefault("slots", {}).setdefault(self.optimizer, self.slots)

    wrap(patch, NumpyTrainer, "__init__", start)


@fault("test_networks_are_separate")
def memory_shared_between_networks(patch: Patch) -> None:
    everyone: dict[str, Any] = {}

    def start(original: Any, self: Any, *args: Any) -> None:
        original(self, *args)
        if self.optimizer.slots:
            self.slots = everyone.setdefault(str((self.optimizer, self.slots.keys())), self.slots)

    wrap(patch, NumpyTrainer, "__init__", start)


# ------------------------------------------------------------------ training


@fault("test_step_accumulates[accumulated]", "constant factor: every value is 2 times")
def accumulated_gradients_not_averaged(patch: Patch) -> None:
    def gradients(original: Any, self: Any, batch: Any, loss: Any, *, count: Any = None, **named: Any) -> Any:
        # As a loop that calls backward() on each batch's mean does.
        found: Gradients = original(self, batch, loss, count=count, **named)
        times = (count or len(batch)) / len(batch) if self.__dict__.get("stepping") else 1.0
        scaled = {name: value * times for name, value in found.parameters.items()}
        return dataclasses.replace(found, loss=found.loss * times, parameters=scaled)

    def step(original: Any, self: Any, *args: Any, **named: Any) -> Any:
        self.network.stepping = True
        try:
            return original(self, *args, **named)
        finally:
            self.network.stepping = False

    wrap(patch, NumpyNetwork, "gradients", gradients)
    wrap(patch, NumpyTrainer, "step", step)


@fault("test_step", "the loss after the update")
def loss_after_the_update(patch: Patch) -> None:
    def step(original: Any, self: Any, batch: Any, lr: float, *, masks: Any = None) -> float:
        original(self, batch, lr, masks=masks)
        return float(self.network.gradients(batch, self.loss, masks=masks).loss)

    wrap(patch, NumpyTrainer, "step", step)


@fault("test_run[partial-last-update]", "a last update that is left out")
def partial_last_update_ignored(patch: Patch) -> None:
    def run(original: Any, self: Any, placed: Any, order: Any, lrs: Any, *, masks: Any = None) -> Any:
        whole = len(order) // self.update_size
        losses = np.zeros(len(lrs))
        losses[:whole] = original(self, placed, order, lrs[:whole], masks=masks)
        return losses

    wrap(patch, NumpyTrainer, "run", run)


@fault("test_training[whole-updates]", "another update")
def first_rate_for_all_updates(patch: Patch) -> None:
    def run(original: Any, self: Any, placed: Any, order: Any, lrs: Any, *, masks: Any = None) -> Any:
        return original(self, placed, order, np.full_like(lrs, lrs[0]), masks=masks)

    wrap(patch, NumpyTrainer, "run", run)


@fault("test_run[masks]", "masks")
def masks_in_the_order_of_the_data(patch: Patch) -> None:
    def run(original: Any, self: Any, placed: Any, order: Any, lrs: Any, *, masks: Any = None) -> Any:
        turned = {name: mask[np.argsort(order)] for name, mask in (masks or {}).items()}
        return original(self, placed, order, lrs, masks=turned)

    wrap(patch, NumpyTrainer, "run", run)


# ------------------------------------------------------------------ capabilities and compilers


class Honest(NumpyBackend):
    """The example, said to have a compiler: what it compiles to is the same."""

    capabilities = dataclasses.replace(NumpyBackend.capabilities, compiled=True)


@fault("test_declared_operations_work", "declare what the backend cannot do")
def declares_too_much(patch: Patch) -> NumpyBackend:
    class Boasting(NumpyBackend):
        def _missing(self, graph: Any) -> Any:
            able = operations.OPERATIONS
            return [("the layer", node.operation, node.path) for node in graph.nodes if node.operation not in able]

    declared = NumpyBackend.capabilities
    patch.setattr(Boasting, "capabilities", dataclasses.replace(declared, operations=declared.operations | {"concat"}))
    return Boasting()


@fault("test_undeclared_are_refused", "leave out what the backend can do")
def declares_too_little(patch: Patch) -> NumpyBackend:
    class Modest(NumpyBackend):
        def _missing(self, graph: Any) -> Any:
            able = operations.OPERATIONS
            return [("the layer", node.operation, node.path) for node in graph.nodes if node.operation not in able]

    declared = NumpyBackend.capabilities
    patch.setattr(Modest, "capabilities", dataclasses.replace(declared, operations=declared.operations - {"flatten"}))
    return Modest()


@fault("test_undeclared_are_refused", "passed over")
def unknown_operation_passed_over(patch: Patch) -> NumpyBackend:
    patch.setattr(NumpyBackend, "_missing", lambda self, graph: [])
    return NumpyBackend()


@fault("test_capabilities_are_known", "misspelt")
def kind_misspelt(patch: Patch) -> NumpyBackend:
    class Misspelt(NumpyBackend):
        capabilities = dataclasses.replace(NumpyBackend.capabilities, operations=frozenset({"densee"}))

    return Misspelt()


@fault("test_compiled_step", "compiled in as a constant")
def rate_compiled_in(patch: Patch) -> NumpyBackend:
    def trainer(original: Any, self: Any, *args: Any, compiled: bool = True, **named: Any) -> Any:
        found = original(self, *args, compiled=compiled, **named)
        found.compiled = compiled
        return found

    def apply(original: Any, self: Any, given: Any, lr: float) -> None:
        if self.compiled:
            lr = self.__dict__.setdefault("first_lr", lr)
        original(self, given, lr)

    wrap(patch, NumpyNetwork, "trainer", trainer)
    wrap(patch, NumpyTrainer, "apply", apply)
    return Honest()


# ------------------------------------------------------------------ the tests


def failures(backend: Any, wanted: str) -> Iterator[tuple[Check, str]]:
    """Checks of an id, or all cases of a method, that fail, and what they say."""

    class Suite(BackendConformance):
        pass

    chosen = [check for check in Suite.checks() if wanted in (check.id, check.method)]
    assert chosen, f"no check is called {wanted}"
    for check in chosen:
        try:
            check.run(Suite(), backend)
        except AssertionError as error:
            yield check, str(error)
        except pytest.skip.Exception:
            continue


@pytest.mark.parametrize("case", FAULTS, ids=[case.name for case in FAULTS])
def test_a_broken_backend_fails_the_right_check(case: Fault, monkeypatch: Patch) -> None:
    assert list(failures(dualml_numpy_example.backend, case.check)) == [], "the unbroken backend must pass"
    backend = case.inject(monkeypatch) or NumpyBackend()
    with np.errstate(all="ignore"):
        found = list(failures(backend, case.check))
    assert found, f"{case.check} passes a backend with {case.name}"
    assert any(case.says in message for _, message in found), found


def test_there_are_enough_faults() -> None:
    assert len({case.name for case in FAULTS}) == len(FAULTS) >= 40


def test_compiled_checks_pass_a_right_compiler() -> None:
    for method in ("test_compiled_run", "test_compiled_step", "test_compiled_update", "test_compiled_float32"):
        assert list(failures(Honest(), method)) == []


def test_a_mistake_in_an_analytic_gradient_cannot_hide(monkeypatch: Patch) -> None:
    def backward(self: Any, call: Any, gradient: Any) -> Any:
        inputs, parameters = original(self, call, gradient)
        return [2.0 * array for array in inputs], parameters

    original = reference_layers.Dense.backward
    monkeypatch.setattr(reference_layers.Dense, "backward", backward)
    backend = dualml_numpy_example.backend
    assert list(failures(backend, "test_gradients[mlp]")) == [], "central differences know nothing of it"
    assert list(failures(backend, "test_gradients_compose[mlp]")), "the reference disagrees with a right backend"


def test_every_kind_has_a_case() -> None:
    graphs = [case.graph() for case in cases.NETWORK_CASES]
    nodes = [node for graph in graphs for node in graph.nodes]
    assert {node.operation for node in nodes} == {layer.kind for layer in LAYERS}
    functions = {node.settings.function.kind for node in nodes if node.operation == "activation"}
    assert functions == {function.kind for function in ACTIVATIONS}
    assert {case.loss.kind for case in cases.LOSS_CASES} == {loss.kind for loss in LOSSES}
    assert {case.optimizer.kind for case in cases.OPTIMIZER_CASES} == {optimizer.kind for optimizer in OPTIMIZERS}


def test_ids_of_checks_are_unique() -> None:
    ids = [check.id for check in BackendConformance.checks()]
    assert len(set(ids)) == len(ids) > 600


def test_names_of_cases_are_unique() -> None:
    for rows in (
        (*cases.NETWORK_CASES, *cases.LOSS_CASES, cases.PLAIN, cases.THIN),
        (*cases.OPTIMIZER_CASES, *cases.CLIPPING_CASES),
    ):
        names = [case.name for case in rows]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", [*cases.NETWORK_CASES, *cases.LOSS_CASES], ids=lambda case: case.name)
def test_no_case_lies_near_a_kink(case: cases.Case) -> None:
    # Otherwise the central differences are off by much, their bound says so, and the check finds nothing.
    arguments = (case.graph(), case.weights(), case.batch(), case.objective, case.masks())
    for judged in (*oracle.parameter_gradients(*arguments).values(), *oracle.value_gradients(*arguments).values()):
        assert judged.bound.max() < 1e-9 * max(1.0, np.abs(judged.value).max())


def test_central_differences_know_their_error() -> None:
    at = np.array([0.3, -1.1, 2.0])
    judged = oracle.central_differences(lambda x: float(np.sin(3.0 * x).sum()), at)
    error = np.abs(judged.value - 3.0 * np.cos(3.0 * at))
    assert (error <= judged.bound).all()
    assert judged.bound.max() < 1e-9


def test_the_envelope_of_a_training_is_tight() -> None:
    case = cases.PLAIN
    pieces = [oracle.Piece(case.batch(variant=number), lr) for number, lr in enumerate(cases.RATES)]
    update = next(row for row in cases.OPTIMIZER_CASES if row.name == "sgd-momentum")
    must = oracle.trained(case.graph(), case.weights(), case.loss, update.optimizer, None, pieces)
    largest = max(judged.bound.max() for judged in must.parameters.values())
    assert reference.unit_roundoff("float64") < largest < 1e-12


SUITE = """
    import pytest
    from dualml_numpy_example import backend as example
    from dualml.testing import BackendConformance

    class TestMine(BackendConformance):
        expected_failures = {expected}

        @pytest.fixture
        def backend(self):
            return example
"""


def run_suite(pytester: pytest.Pytester, expected: dict[str, str], *select: str) -> pytest.RunResult:
    pytester.makepyfile(test_mine=SUITE.format(expected=expected))
    names = [f"test_mine.py::TestMine::{name}" for name in select]
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-q", *names)


def test_pytest_sees_the_failure(pytester: pytest.Pytester, monkeypatch: Patch) -> None:
    bias_forgotten(monkeypatch)
    result = run_suite(pytester, {}, "test_values[dense]", "test_values[dense-no-bias]", "test_values[concat]")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*the value of 'dense_1' (dense) in inference mode must be * at index *"])


@pytest.mark.parametrize("key", ["test_values", "test_values[dense]"])
def test_an_expected_failure_is_an_xfail(key: str, pytester: pytest.Pytester, monkeypatch: Patch) -> None:
    bias_forgotten(monkeypatch)
    run_suite(pytester, {key: "no biases yet"}, "test_values[dense]").assert_outcomes(xfailed=1)


def test_an_expected_failure_that_passes_is_a_failure(pytester: pytest.Pytester) -> None:
    result = run_suite(pytester, {"test_values[dense]": "no biases yet"}, "test_values[dense]", "test_values[flatten]")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*no biases yet*"])


@pytest.mark.parametrize("key", ["test_value", "test_values[dens]", "values"])
def test_expected_failures_must_name_checks(key: str) -> None:
    with pytest.raises(TypeError, match="must name checks of the suite"):
        type("TestStale", (BackendConformance,), {"expected_failures": {key: "renamed since"}})


def test_a_suite_without_a_backend_says_what_to_override(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_mine="""
        from dualml.testing import BackendConformance
        class TestMine(BackendConformance): pass
        """
    )
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "test_mine.py::TestMine::test_protocol")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*override the fixture 'backend'*"])


def test_checks_run_from_the_simple_to_the_rest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=SUITE.format(expected={}))
    result = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider")
    found = [line.split("::")[-1] for line in result.outlines if "::" in line]
    places = [
        found.index(name)
        for name in (
            "test_protocol",
            "test_weights[dense]",
            "test_values[dense]",
            "test_gradients[dense]",
            "test_update[sgd-torch]",
            "test_state_round_trip[sgd-torch]",
            "test_step[sgd]",
            "test_compiled_run[whole-updates]",
            "test_returned_arrays_are_owned",
            "test_native_randomness",
        )
    ]
    assert places == sorted(places)
