"""Checks of manners: who owns arrays, what stays untouched, what is random."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from dualml.protocol import Array, Backend, Batch, State
from dualml.spec.graph import INPUT
from dualml.spec.layers import Dropout
from dualml.spec.losses import MeanSquaredError
from dualml.spec.optimizers import Sgd
from dualml.testing.assertions import assert_all_identical, assert_identical, check, fail
from dualml.testing.base import Checks, over
from dualml.testing.cases import OPTIMIZER_CASES, PLAIN, THIN, Case, Update, gradients
from dualml.testing.checks_training import RUN_CASES

WITH_MEMORY = tuple(row for row in OPTIMIZER_CASES if row.name in ("sgd-momentum", "adam-torch", "adam-keras"))
"""Optimizers with slots of either kind."""


class OwnershipChecks(Checks):
    """Arrays that come back are the caller's; arrays that go in are only read."""

    def test_returned_arrays_are_owned(self, backend: Backend) -> None:
        """Writing into what forward(), predict(), gradients() and get_weights() return changes nothing inside."""
        network = self.network(backend, PLAIN)
        taps = [INPUT, *PLAIN.graph().by_name]

        def everything() -> dict[str, Array]:
            found = network.gradients(PLAIN.batch(), PLAIN.objective, taps=taps)
            forward = network.forward(PLAIN.inputs(), taps=taps[1:])
            return {
                **_under("get_weights()", network.get_weights()),
                **_under("forward()", forward),
                **_under("gradients().parameters", found.parameters),
                **_under("gradients().values", found.values),
                **_under("gradients().values_gradients", found.values_gradients),
                "gradients().example_losses": found.example_losses,
                "predict()": network.predict(PLAIN.inputs()),
            }

        _assert_owned(everything)

    @over(WITH_MEMORY)
    def test_state_is_owned(self, backend: Backend, case: Update) -> None:
        """Writing into what get_state() returns changes nothing inside."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        network = self.network(backend, PLAIN)
        trainer = self.trainer(network, PLAIN, case)
        trainer.apply(gradients(PLAIN, 0), 0.1)

        def slots() -> dict[str, Array]:
            return {
                f"get_state() slot {slot!r} of {name}": value
                for slot, arrays in trainer.get_state().slots.items()
                for name, value in arrays.items()
            }

        _assert_owned(slots)

    @over(WITH_MEMORY)
    def test_training_leaves_returned_arrays(self, backend: Backend, case: Update) -> None:
        """What was returned before does not change when training goes on, eager or compiled."""
        self.require(backend, THIN.spec(optimizer=case.optimizer))
        for compiled in sorted({False, backend.capabilities.compiled}):
            network = self.network(backend, THIN)
            trainer = self.trainer(network, THIN, case, compiled=compiled)
            batch, masks = THIN.batch(), THIN.masks()
            taps = [INPUT, *THIN.graph().by_name]
            trainer.step(batch, 0.1, masks=masks)
            found = network.gradients(batch, THIN.objective, masks=masks, taps=taps)
            state = trainer.get_state()
            kept = {
                **_under("get_weights()", network.get_weights()),
                **_under("forward()", network.forward(batch.inputs, taps=taps[1:])),
                **_under("gradients().parameters", found.parameters),
                **_under("gradients().values", found.values),
                **_under("gradients().values_gradients", found.values_gradients),
                **{
                    f"slot {slot}: {name}": array
                    for slot, arrays in state.slots.items()
                    for name, array in arrays.items()
                },
            }
            copies = {name: value.copy() for name, value in kept.items()}
            trainer.step(batch, 0.1, masks=masks)
            network.gradients(THIN.batch(variant=1), THIN.objective, masks=masks, taps=taps)
            network.set_weights(THIN.weights(variant=1))
            hint = "an array that shares memory with the framework's own tensor"
            assert_all_identical("what was returned before more training, from", kept, copies, hint)
            check(state.step == 1, "state.step of an older state", "stay 1", f"it is {state.step!r}", hint)

    def test_arguments_are_only_read(self, backend: Backend) -> None:
        """No call writes into its arguments, neither at once nor later."""
        self.require(backend, THIN.spec())
        weights, batch, masks = THIN.weights(), THIN.batch(), THIN.masks()
        given = gradients(THIN, 0)
        run = next(case for case in RUN_CASES if case.case is THIN)
        data, order, lrs = run.data(), np.array(run.order), np.array(run.lrs)
        run_masks = dict(run.masks() or {})
        arguments: dict[str, Array] = {
            **_under("weights", weights),
            **_under("masks", masks),
            **_under("gradients", given),
            **_under("run masks", run_masks),
            "inputs": np.asarray(batch.inputs),
            "targets": np.asarray(batch.targets),
            "data inputs": np.asarray(data.inputs),
            "data targets": np.asarray(data.targets),
            "order": order,
            "lrs": lrs,
        }
        for update in WITH_MEMORY:
            if update.optimizer.kind not in backend.capabilities.optimizers:
                continue
            network = backend.build(THIN.graph(), weights)
            trainer = self.trainer(network, THIN, update)
            state = State(
                3,
                {
                    slot: {name: np.full_like(value, 0.25) for name, value in weights.items()}
                    for slot in update.optimizer.slots
                },
            )
            watched = dict(arguments)
            for slot, arrays in state.slots.items():
                watched.update(_under(f"state slot {slot}", arrays))
            copies = {name: value.copy() for name, value in watched.items()}
            network.forward(batch.inputs, training=True, taps=[INPUT][:0], masks=masks)
            network.predict(batch.inputs)
            network.gradients(batch, THIN.objective, masks=masks, taps=[INPUT])
            network.set_weights(weights)
            trainer.set_state(state)
            trainer.apply(given, 0.1)
            trainer.step(batch, 0.1, masks=masks)
            trainer.run(trainer.place(data), order, lrs, masks=run_masks)
            hint = "a tensor that shares memory with the caller's array"
            assert_all_identical("after all calls, the argument", watched, copies, hint)

    def test_arguments_are_copied(self, backend: Backend) -> None:
        """What the caller later does to weights, gradients and states it passed changes nothing inside."""
        update = next((row for row in WITH_MEMORY if row.optimizer.kind in backend.capabilities.optimizers), None)
        if update is None:
            pytest.skip("not declared, so not checked: no optimizer with memory")
        self.require(backend, PLAIN.spec(optimizer=update.optimizer))
        weights = PLAIN.weights()
        network = backend.build(PLAIN.graph(), weights)
        trainer = self.trainer(network, PLAIN, update)
        hint = "a tensor that shares memory with the caller's array"

        def spoil(arrays: Mapping[str, Array]) -> None:
            for array in arrays.values():
                array[...] = 77

        spoil(weights)
        assert_all_identical("after build(), the weight", network.get_weights(), PLAIN.weights(), hint)
        weights = PLAIN.weights(variant=1)
        network.set_weights(weights)
        spoil(weights)
        assert_all_identical("after set_weights(), the weight", network.get_weights(), PLAIN.weights(variant=1), hint)
        slots = {slot: _positive() for slot in update.optimizer.slots}
        trainer.set_state(State(2, slots))
        for slot_arrays in slots.values():
            spoil(slot_arrays)
        for slot, arrays in trainer.get_state().slots.items():
            assert_all_identical(f"after set_state(), the slot {slot!r}", arrays, _positive(), hint)
        given = gradients(PLAIN, 0)
        trainer.set_state(State(0, {slot: _positive() for slot in update.optimizer.slots}))
        trainer.apply(given, 0.1)
        kept, state = network.get_weights(), trainer.get_state()
        spoil(given)
        assert_all_identical("after apply(), the weight", network.get_weights(), kept, hint)
        for slot, arrays in trainer.get_state().slots.items():
            assert_all_identical(f"after apply(), the slot {slot!r}", arrays, state.slots[slot], hint)

    def test_any_array_will_do(self, backend: Backend) -> None:
        """Arguments may be views: reversed, strided, in column-major order, read-only."""
        network = self.network(backend, THIN)
        batch, masks = THIN.batch(), THIN.masks()
        must = network.gradients(batch, THIN.objective, masks=masks)

        def reversed_view(array: Array) -> Array:
            return np.ascontiguousarray(array[::-1])[::-1]

        def every_other(array: Array) -> Array:
            return np.repeat(array, 2, axis=0)[::2]

        def read_only(array: Array) -> Array:
            copy = array.copy()
            copy.flags.writeable = False
            return copy

        for what, view in (
            ("reversed", reversed_view),
            ("strided", every_other),
            ("column-major", np.asfortranarray),
            ("read-only", read_only),
        ):
            network.set_weights({name: view(value) for name, value in THIN.weights().items()})
            got = network.gradients(
                Batch(view(np.asarray(batch.inputs)), view(np.asarray(batch.targets))),
                THIN.objective,
                masks={name: view(mask) for name, mask in masks.items()},
            )
            hint = "memory that is read without looking at the strides"
            assert_all_identical(f"with {what} arguments, the gradient", got.parameters, must.parameters, hint)


class IsolationChecks(Checks):
    """Networks know nothing of each other, and nobody touches what is global."""

    @over(WITH_MEMORY)
    def test_networks_are_separate(self, backend: Backend, case: Update) -> None:
        """Training one network in turns with another gives what training it alone gives."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        alone = backend.build(PLAIN.graph(), PLAIN.weights())
        trainer = self.trainer(alone, PLAIN, case)
        for number in range(3):
            trainer.step(PLAIN.batch(variant=number), 0.1)
        one, two = (backend.build(PLAIN.graph(), PLAIN.weights(variant=variant)) for variant in (0, 1))
        of_one, of_two = self.trainer(one, PLAIN, case), self.trainer(two, PLAIN, case)
        assert_all_identical(
            "the weight of one network after another was built", one.get_weights(), PLAIN.weights(), "shared weights"
        )
        for number in range(3):
            of_one.step(PLAIN.batch(variant=number), 0.1)
            of_two.step(PLAIN.batch(variant=number + 10), 0.01)
        hint = "variables, optimizer memory or compiled functions shared between networks"
        assert_all_identical("the weight of one of two networks", one.get_weights(), alone.get_weights(), hint)

    @over(WITH_MEMORY)
    def test_trainers_are_separate(self, backend: Backend, case: Update) -> None:
        """A second trainer of a network has a memory of its own, and both update the same weights."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        network = self.network(backend, PLAIN)
        first = self.trainer(network, PLAIN, case)
        first.apply(gradients(PLAIN, 0), 0.1)
        before = first.get_state()
        second = self.trainer(network, PLAIN, case)
        step = second.get_state().step
        check(step == 0, "state.step of a new trainer", "be 0", f"it is {step!r}", "memory kept with the network")
        second.apply(gradients(PLAIN, 1), 0.1)
        for slot, arrays in first.get_state().slots.items():
            assert_all_identical(f"the slot {slot!r} of the first trainer", arrays, before.slots[slot], "shared memory")

    def test_global_randomness_is_left_alone(self, backend: Backend) -> None:
        """Neither Python's nor NumPy's global random numbers are drawn or seeded."""
        self.require(backend, THIN.spec(optimizer=Sgd()))
        before = np.random.get_state(legacy=False), random.getstate()
        network = backend.build(THIN.graph(), THIN.weights())
        network.seed(5)
        network.forward(THIN.inputs(), training=True, masks=THIN.masks())
        run = next(case for case in RUN_CASES if case.case is THIN)
        if run.update.optimizer.kind in backend.capabilities.optimizers:
            trainer = self.trainer(network, THIN, run.update)
            trainer.run(trainer.place(run.data()), np.array(run.order), np.array(run.lrs), masks=run.masks())
        after = np.random.get_state(legacy=False), random.getstate()
        check(
            before[1] == after[1],
            "Python's global random state",
            "be what it was",
            "it has changed",
            "random.seed() in build() or seed()",
        )
        check(
            str(before[0]) == str(after[0]) and np.array_equal(before[0]["state"]["key"], after[0]["state"]["key"]),
            "NumPy's global random state",
            "be what it was",
            "it has changed",
            "keras.utils.set_random_seed() or np.random.seed() in build() or seed()",
        )


class RandomnessChecks(Checks):
    """Dropout: with shared masks nothing is drawn; with native randomness the framework draws."""

    def test_masks_are_needed(self, backend: Backend) -> None:
        """In training mode without masks dropout cannot go on, and must not go on silently."""
        network = self.network(backend, THIN)
        calls: dict[str, Callable[[], Any]] = {
            "forward(training=True)": lambda: network.forward(THIN.inputs(), training=True),
            "gradients()": lambda: network.gradients(THIN.batch(), THIN.objective),
        }
        for what, call in calls.items():
            try:
                call()
            except Exception:  # which one the protocol leaves open
                continue
            fail(
                f"{what} of a network with dropout but no masks",
                "raise, because randomness is shared",
                "it returned",
                "dropout that is passed over, or that draws its own masks",
            )

    def test_native_randomness(self, backend: Backend) -> None:
        """Own masks: the right share of values is kept and scaled, another one each time, the same after a seed."""
        if not backend.capabilities.native_randomness:
            pytest.skip("not declared, so not checked: capabilities.native_randomness is False")
        rate, size = 0.3, 20_000
        case = Case("native", (size,), [Dropout(rate=rate)], MeanSquaredError())
        self.require(backend, case.spec(randomness="native"))
        network = backend.build(case.graph(), {}, native_randomness=True)
        inputs, output = np.ones((1, size)), case.graph().output

        def draw() -> Array:
            return network.forward(inputs, training=True)[output]

        network.seed(1)
        first, second = draw(), draw()
        kept = first != 0
        scaled = 1.0 / (1.0 - rate)
        check(
            bool(np.all(np.abs(first[kept] - scaled) <= 4 * 2.0**-53 * scaled)),
            "values kept by native dropout",
            f"be 1 / (1 - rate) = {scaled!r} times the input",
            f"they range from {first[kept].min()!r} to {first[kept].max()!r}",
            "another rate, or a rate that passed through float32",
        )
        # Six standard deviations of a binomial share: a right backend fails once in 5e8 seeds.
        spread = 6.0 * (rate * (1.0 - rate) / size) ** 0.5
        check(
            abs(kept.mean() - (1.0 - rate)) <= spread,
            "the share of values that native dropout keeps",
            f"be {1.0 - rate} within {spread:.3f}",
            f"it is {kept.mean():.4f}",
            "a rate that is the share kept instead of the share dropped",
        )
        check(not np.array_equal(first, second), "two native masks", "differ", "they are the same", "one mask for ever")
        network.seed(1)
        assert_identical("the native mask after the same seed", draw(), first, "randomness that seed() does not reach")
        network.seed(2)
        check(
            not np.array_equal(draw(), first), "the mask after another seed", "differ", "it is the same", "a fixed seed"
        )
        assert_identical("the output in inference mode", network.forward(inputs)[output], inputs, "active in inference")
        network.seed(1)
        trained = network.gradients(Batch(inputs, np.zeros((1, size))), case.objective, taps=[output])
        assert_identical(
            "the values in gradients() after the same seed", trained.values[output], first, "another generator there"
        )

    def test_native_randomness_in_training(self, backend: Backend) -> None:
        """Training with own masks repeats itself after the same seed, eager and compiled."""
        if not backend.capabilities.native_randomness:
            pytest.skip("not declared, so not checked: capabilities.native_randomness is False")
        update = next((row for row in WITH_MEMORY if row.optimizer.kind in backend.capabilities.optimizers), None)
        if update is None:
            pytest.skip("not declared, so not checked: no optimizer with memory")
        run = next(case for case in RUN_CASES if case.case is THIN)
        for compiled in sorted({False, backend.capabilities.compiled}):
            network = backend.build(THIN.graph(), THIN.weights(), native_randomness=True)
            found = []
            for _ in range(2):
                network.set_weights(THIN.weights())
                network.seed(3)
                trainer = self.trainer(network, THIN, update, compiled=compiled)
                trainer.run(trainer.place(run.data()), np.array(run.order), np.array(run.lrs))
                found.append(network.get_weights())
            hint = "randomness that seed() does not reach in run()"
            assert_all_identical(f"after the same seed (compiled={compiled}), the weight", found[1], found[0], hint)


def _positive() -> dict[str, Array]:
    """Slots that any optimizer may have, second moments included."""
    return {name: np.abs(value) for name, value in gradients(PLAIN, 5).items()}


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}: {name}": value for name, value in arrays.items()}


def _assert_owned(read: Callable[[], dict[str, Array]]) -> None:
    """Reading, writing into what was read, and reading again gives the same."""
    first = read()
    copies = {name: value.copy() for name, value in first.items()}
    for name, value in first.items():
        try:
            value[...] = 77
        except ValueError:
            fail(f"what comes from {name}", "be the caller's own array", "it is read-only", "a view of a tensor")
    hint = "a view of the framework's memory instead of a copy"
    assert_all_identical("after writing into what was returned before,", read(), copies, hint)
