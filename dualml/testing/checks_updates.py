"""Checks of updates: every optimizer with every setting from given gradients, clipping, and the optimizer's memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from dualml.errors import WeightsError
from dualml.protocol import Arrays, Backend, State, Trainer
from dualml.spec.graph import Precision
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_close, assert_names, check, fail
from dualml.testing.base import Checks, over
from dualml.testing.cases import CLIPPING_CASES, OPTIMIZER_CASES, PLAIN, RATES, Update, gradients
from dualml.testing.checks_structure import wrong_arrays

_HINT = "another formula, setting or default: where epsilon stands, how decay enters, whether lr is in the momentum"


_WITH_EVERY_SETTING = (
    "sgd-torch",
    "sgd-nesterov-coupled",
    "sgd-nesterov-lr-inside-decoupled",
    "adam-torch",
    "adam-corrected-coupled",
    "adam-uncorrected-decoupled",
    "adamw-corrected",
    "adamw-uncorrected",
    "nadam-fast-decoupled",
    "adamax-gradient-coupled",
    "adamax-norm-decoupled",
    "rmsprop-outside-centered-momentum-coupled",
    "rmsprop-inside-centered-momentum-lr-inside-decoupled",
    "adagrad-outside-coupled",
    "adagrad-inside-decoupled",
    "adadelta-fast-coupled",
    "lion-fast-decoupled",
    "adafactor-added-after-decay",
    "adafactor-floor-before-decay",
    "muon-sum-nesterov-added-rms",
    "muon-average-nesterov-floor-spectral",
    "clip-active-epsilon",
    "clip-active-norm-epsilon",
    "clip-active-value",
    "clip-adam",
)
PRECISION_CASES = tuple(row for row in (*OPTIMIZER_CASES, *CLIPPING_CASES) if row.name in _WITH_EVERY_SETTING)
"""Rows that have every setting of every optimizer between them."""


class UpdateChecks(Checks):
    """Updates from synthetic gradients of +-1, 1e-3, 1e-7 and 0, each judged from the backend's own last state."""

    @over((*OPTIMIZER_CASES, *CLIPPING_CASES))
    def test_update(self, backend: Backend, case: Update) -> None:
        """Parameters, slots and step after each of several updates with one change of the rate, float64."""
        self._updates(backend, case, "float64")

    @over((*OPTIMIZER_CASES, *CLIPPING_CASES))
    def test_update_float32(self, backend: Backend, case: Update) -> None:
        """The same in float32."""
        self._updates(backend, case, "float32")

    def _updates(self, backend: Backend, case: Update, precision: Precision) -> None:
        self.require(backend, PLAIN.spec(precision, optimizer=case.optimizer))
        network = self.network(backend, PLAIN, precision)
        trainer = self.trainer(network, PLAIN, case)
        for number, lr in enumerate(RATES):
            given, weights, state = gradients(PLAIN, number, precision), network.get_weights(), trainer.get_state()
            must = oracle.updated(case.optimizer, case.clip, weights, given, state, lr, precision=precision)
            trainer.apply(given, lr)
            found, after = network.get_weights(), trainer.get_state()
            check(
                after.step == must.step == number + 1,
                f"state.step after update {number + 1}",
                f"be {number + 1}",
                f"it is {after.step!r}",
                "a counter that is off by one, or that counts batches",
            )
            for slot, arrays in must.slots.items():
                for name, right in arrays.items():
                    what = f"the slot {slot!r} of {name!r} after update {number + 1} (lr {lr}) in {precision}"
                    assert_close(what, after.slots[slot][name], right.value, right.bound, _HINT)
            for name, right in must.parameters.items():
                what = f"the weight {name!r} after update {number + 1} (lr {lr}) in {precision}"
                assert_close(what, found[name], right.value, right.bound, _HINT)

    def test_clipping_of_nothing(self, backend: Backend) -> None:
        """Gradients that are all 0 stay 0, with and without an epsilon."""
        for case in CLIPPING_CASES:
            if case.optimizer.kind in backend.capabilities.optimizers and case.name.startswith("clip-active"):
                network = self.network(backend, PLAIN)
                before = network.get_weights()
                self.trainer(network, PLAIN, case).apply(
                    {name: np.zeros_like(value) for name, value in before.items()}, 0.1
                )
                assert_all_identical(
                    "the weight after an update from zeros", network.get_weights(), before, "max_norm / 0 times 0"
                )

    @over(PRECISION_CASES)
    def test_hyperparameters_in_full_precision(self, backend: Backend, case: Update) -> None:
        """In float64 no setting of the optimizer, nor the rate, arrives as the nearest float32 number."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        network = self.network(backend, PLAIN)
        trainer = self.trainer(network, PLAIN, case)
        for number, lr in enumerate(RATES):
            given, weights, state = gradients(PLAIN, number), network.get_weights(), trainer.get_state()
            trainer.apply(given, lr)
            found = network.get_weights()

            def distances(
                optimizer: Optimizer,
                clip: Clipping | None,
                lr: float,
                before: tuple[Arrays, Arrays, State] = (weights, given, state),
                after: Arrays = found,
            ) -> float:
                """How far the weights are from those of some settings, in units of the bound; the farthest of them."""
                must = oracle.updated(optimizer, clip, *before, lr, precision="float64").parameters
                return max(float((np.abs(after[name] - x.value) / x.bound).max()) for name, x in must.items())

            if distances(case.optimizer, case.clip, lr) > 1:
                rounded = [what for what, *settings in _through_float32(case, lr) if distances(*settings) <= 4]
                fail(
                    f"every setting of {case.name!r} in update {number + 1} (lr {lr})",
                    "arrive as a float64 number",
                    f"the weights are those for {rounded[0]} rounded to float32"
                    if rounded
                    else "the weights are wrong",
                    "a Python float turned into a float32 tensor first" if rounded else _HINT,
                )


def _through_float32(case: Update, lr: float) -> Iterator[tuple[str, Optimizer, Any, float]]:
    """The same update with one number, or some of them, rounded to float32; fewest first."""
    names = [("lr", lr)]
    for owner, settings in (("", case.optimizer), ("clip.", case.clip)):
        for name in type(settings).model_fields if settings is not None else ():
            value = getattr(settings, name)
            if name != "lr" and isinstance(value, float) and float(np.float32(value)) != value:
                names.append((owner + name, value))
    for size in sorted({1, 2, len(names)}):  # all of them, or one or two: Muon has thousands of other choices
        for some in itertools.combinations(names, size):
            new = {name: float(np.float32(value)) for name, value in some}
            of_clip = {name.partition(".")[2]: value for name, value in new.items() if "." in name}
            of_optimizer = {name: value for name, value in new.items() if "." not in name and name != "lr"}
            yield (
                " and ".join(new),
                case.optimizer.model_copy(update=of_optimizer),
                None if case.clip is None else case.clip.model_copy(update=of_clip),
                new.get("lr", lr),
            )


STATE_CASES = tuple(
    row
    for row in OPTIMIZER_CASES
    if row.name.endswith(
        ("-torch", "-keras", "adam-corrected", "adam-uncorrected", "sgd-momentum", "momentum-lr-inside")
    )
)
"""Rows that differ in what is remembered."""


class StateChecks(Checks):
    """What an optimizer remembers can be taken out and put back, in another network of the same kind too."""

    @over(STATE_CASES)
    def test_state_round_trip(self, backend: Backend, case: Update) -> None:
        """A new network with the weights and the state of another goes on bit for bit as that one does."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        first = self.network(backend, PLAIN)
        one = self.trainer(first, PLAIN, case)
        for number in range(2):
            one.apply(gradients(PLAIN, number), RATES[number])
        weights, state = first.get_weights(), one.get_state()
        second = self.network(backend, PLAIN, copy=1)
        second.set_weights(weights)
        two = self.trainer(second, PLAIN, case)
        two.set_state(state)
        _assert_same_state("the state after set_state()", two.get_state(), state)
        for number in range(2, 4):
            for trainer in (one, two):
                trainer.apply(gradients(PLAIN, number), RATES[number])
        hint = "memory that get_state() does not give or set_state() does not put back, such as the step"
        assert_all_identical("the weight of the resumed network", second.get_weights(), first.get_weights(), hint)
        _assert_same_state("the state of the resumed network", two.get_state(), one.get_state())

    @over(STATE_CASES)
    def test_state_can_go_back(self, backend: Backend, case: Update) -> None:
        """set_state() replaces everything: the same trainer, put back, repeats itself bit for bit."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        network = self.network(backend, PLAIN)
        trainer = self.trainer(network, PLAIN, case)
        start = trainer.get_state()
        found = []
        for _ in range(2):
            network.set_weights(PLAIN.weights())
            trainer.set_state(start)
            for number, lr in enumerate(RATES[:3]):
                trainer.apply(gradients(PLAIN, number), lr)
            found.append((network.get_weights(), trainer.get_state()))
        hint = "memory beside the state, such as a counter that goes on"
        assert_all_identical("the weight, a second time,", found[1][0], found[0][0], hint)
        _assert_same_state("the state, a second time,", found[1][1], found[0][1])

    def test_wrong_state_is_refused(self, backend: Backend) -> None:
        """A state with other names or shapes raises WeightsError and changes nothing."""
        for case in OPTIMIZER_CASES:
            if case.optimizer.kind in backend.capabilities.optimizers and case.optimizer.slots:
                self._refuses(self.trainer(self.network(backend, PLAIN), PLAIN, case))
                return

    def _refuses(self, trainer: Trainer) -> None:
        trainer.apply(gradients(PLAIN, 0), 0.1)
        before = trainer.get_state()
        first, *rest = before.slots
        bad = [
            (what, State(before.step, {**before.slots, first: arrays}))
            for what, arrays, _ in wrong_arrays(dict(before.slots[first]))
        ]
        bad.append(("a slot missing", State(before.step, {slot: before.slots[slot] for slot in rest})))
        bad.append(("an unknown slot", State(before.step, {**before.slots, "stranger": before.slots[first]})))
        for what, state in bad:
            try:
                trainer.set_state(state)
            except WeightsError:
                _assert_same_state(f"the state after a refused one with {what}", trainer.get_state(), before)
            else:
                fail(f"set_state() with {what}", "raise WeightsError", "it accepted it", "names that are not checked")


def _assert_same_state(what: str, got: State, want: State) -> None:
    check(got.step == want.step, f"{what}: step", f"be {want.step}", f"it is {got.step!r}", "a step that is not kept")
    assert_names(f"{what}: slots", got.slots, want.slots)
    for slot in want.slots:
        assert_all_identical(f"{what}: the slot {slot!r}", got.slots[slot], want.slots[slot])
