"""Checks of whole updates: step, accumulation, run, and the compiled forms of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dualml import reference
from dualml.protocol import Array, Backend, Batch, Masks, Network, Trainer
from dualml.spec.graph import Precision
from dualml.spec.optimizers import Adam, GlobalNorm, Sgd
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_array, assert_close, assert_identical, check
from dualml.testing.base import Checks, over
from dualml.testing.cases import PLAIN, RATES, THIN, Case, Update
from dualml.testing.cases.base import update

_SGD = update("sgd", Sgd(lr=0.1, momentum=0.9))
_CLIPPED = replace(_SGD, name="sgd-clipped", clip=GlobalNorm(max_norm=0.7, epsilon=1e-6))
_ADAM = update("adam", Adam(lr=0.1, beta1=0.7, beta2=0.9, epsilon=1e-3))


@dataclass(frozen=True)
class Run:
    """Some updates in one call.

    Attributes:
        name: Test id.
        case: The network.
        update: Optimizer and clipping.
        order: Rows of the data, of which there are 9.
        lrs: Rate of each update.
        batch_size: Most examples in one pass.
        update_size: Most examples in one update.
    """

    name: str
    case: Case
    update: Update
    order: tuple[int, ...] = (3, 1, 4, 0, 5, 8, 2, 6)
    lrs: tuple[float, ...] = (0.1, 0.037)
    batch_size: int = 4
    update_size: int | None = None

    def data(self, precision: Precision = "float64") -> Batch:
        """All rows."""
        return self.case.batch(precision, examples=9)

    def masks(self) -> Masks | None:
        """Row ``i`` belongs to ``order[i]``; none where nothing needs them."""
        return self.case.masks(len(self.order)) or None

    def pieces(self, precision: Precision = "float64") -> list[oracle.Piece]:
        """The updates one by one."""
        size = self.update_size or self.batch_size
        data, masks, order = self.data(precision), self.masks(), np.array(self.order)
        found = []
        for number, lr in enumerate(self.lrs):
            part = slice(number * size, (number + 1) * size)
            batch = data.take(order[part])
            kept = None if masks is None else {name: mask[part] for name, mask in masks.items()}
            found.append(oracle.Piece(batch, lr, kept))
        return found


RUN_CASES = (
    Run("whole-updates", PLAIN, _SGD),
    Run("partial-last-update", PLAIN, _SGD, (3, 1, 4, 0, 5, 8, 2, 6, 7, 1), (0.1, 0.037, 0.02)),
    Run("one-example", PLAIN, _SGD, (5,), (0.1,)),
    Run("rows-repeated", PLAIN, _SGD, (2, 2, 2, 0, 8, 2, 0, 0)),
    Run("masks", THIN, _ADAM, (3, 1, 4, 0, 5, 8, 2), (0.1, 0.037)),
    Run("accumulated", PLAIN, _ADAM, (3, 1, 4, 0, 5, 8, 2, 6), (0.1, 0.037), batch_size=2, update_size=4),
    Run("accumulated-partial", PLAIN, _SGD, (3, 1, 4, 0, 5, 8, 2, 6), (0.1, 0.037), batch_size=2, update_size=5),
    Run("accumulated-masks", THIN, _SGD, (3, 1, 4, 0, 5, 8, 2, 6), (0.1, 0.037), batch_size=3, update_size=5),
    Run("clipped", PLAIN, _CLIPPED),
)
"""Runs with everything that can go wrong at their ends and joints."""


class TrainingChecks(Checks):
    """``step`` is ``gradients`` and ``apply``; ``run`` is ``step`` for each update."""

    @over((_SGD, _CLIPPED, _ADAM))
    def test_step(self, backend: Backend, case: Update) -> None:
        """One step does bit for bit what gradients() followed by apply() does; it returns the loss before it."""
        self.require(backend, THIN.spec(optimizer=case.optimizer))
        one, two = self._twins(backend, THIN)
        stepping, applying = self.trainer(one, THIN, case), self.trainer(two, THIN, case)
        for number, lr in enumerate(RATES):
            batch, masks = THIN.batch(variant=number), THIN.masks(variant=number)
            loss = stepping.step(batch, lr, masks=masks)
            found = two.gradients(batch, THIN.objective, masks=masks)
            applying.apply(found.parameters, lr)
            check(isinstance(loss, float), "what step() returns", "be a Python float", f"it is a {type(loss).__name__}")
            assert_identical(
                f"the loss of step {number + 1}",
                loss,
                found.loss,
                "the loss after the update, or a sum or mean of others",
            )
            hint = "clipping, masks or the rate that reach only one of step() and apply()"
            assert_all_identical(f"the weight after step {number + 1}", one.get_weights(), two.get_weights(), hint)

    @over(tuple(case for case in RUN_CASES if case.update_size))
    def test_step_accumulates(self, backend: Backend, case: Run) -> None:
        """An update of several batches is one update from the sum of their gradients, each divided by all examples."""
        self.require(backend, case.case.spec(optimizer=case.update.optimizer))
        one, two = self._twins(backend, case.case)
        trainer = self.trainer(one, case.case, case.update, batch_size=case.batch_size, update_size=case.update_size)
        unit = reference.unit_roundoff("float64")
        for number, piece in enumerate(case.pieces()):
            weights, state = one.get_weights(), trainer.get_state()
            two.set_weights(weights)
            total: dict[str, Array] = {}
            size: dict[str, Array] = {}
            losses = []
            for start in range(0, len(piece.batch), case.batch_size):
                rows = slice(start, start + case.batch_size)
                found = two.gradients(
                    piece.batch.take(rows),
                    case.case.objective,
                    masks={name: mask[rows] for name, mask in (piece.masks or {}).items()} or None,
                    count=len(piece.batch),
                )
                losses.append(found.loss)
                for name, value in found.parameters.items():
                    total[name] = total[name] + value if name in total else value
                    size[name] = size[name] + np.abs(value) if name in size else np.abs(value)
            loss = trainer.step(piece.batch, piece.lr, masks=piece.masks)
            # Scaling by the number of examples once at the end is as right: two more roundings of each term.
            errors = {name: reference.gamma(len(losses) + 3, unit) * value for name, value in size.items()}
            must = oracle.updated(
                case.update.optimizer,
                None,
                weights,
                total,
                state,
                piece.lr,
                precision="float64",
                gradient_errors=errors,
            )
            hint = "gradients that are summed where they must be averaged over all examples, or the last batch alone"
            bound = reference.gamma(len(losses) + 3, unit) * sum(losses)
            assert_close(f"the loss of step {number + 1}", loss, sum(losses), bound, hint)
            check(
                trainer.get_state().step == number + 1,
                f"state.step after update {number + 1} of several batches",
                f"be {number + 1}",
                f"it is {trainer.get_state().step!r}",
                "a counter that counts batches",
            )
            for name, right in must.parameters.items():
                what = f"the weight {name!r} after step {number + 1}"
                assert_close(what, one.get_weights()[name], right.value, right.bound, hint)

    @over(RUN_CASES)
    def test_run(self, backend: Backend, case: Run) -> None:
        """run() does bit for bit what step() does for each update; the rates and the masks follow the order."""
        self.require(backend, case.case.spec(optimizer=case.update.optimizer))
        one, two = self._twins(backend, case.case)
        losses, running = self.running(one, case, compiled=False)
        stepping = self.trainer(two, case.case, case.update, batch_size=case.batch_size, update_size=case.update_size)
        must = [stepping.step(piece.batch, piece.lr, masks=piece.masks) for piece in case.pieces()]
        assert_array("what run() returns", losses, (len(case.lrs),), "float64")
        hint = "a last update that is left out or filled up, or rates, masks or rows of another update"
        assert_identical("the losses of run()", losses, np.array(must), hint)
        assert_all_identical("the weight after run()", one.get_weights(), two.get_weights(), hint)
        state, right = running.get_state(), stepping.get_state()
        check(state.step == right.step, "state.step after run()", f"be {right.step}", f"it is {state.step!r}", hint)
        for slot in right.slots:
            assert_all_identical(f"the slot {slot!r} after run()", state.slots[slot], right.slots[slot], hint)

    @over(RUN_CASES)
    def test_training(self, backend: Backend, case: Run) -> None:
        """The losses and weights of a whole run, judged by the float64 reference."""
        self.trained(backend, case, "float64", compiled=False)

    def test_training_float32(self, backend: Backend) -> None:
        """The same in float32, with accumulation and masks."""
        for case in RUN_CASES:
            if case.name == "accumulated-masks":
                self.trained(backend, case, "float32", compiled=False)

    def test_runs_follow_each_other(self, backend: Backend) -> None:
        """Two runs on the same placed data are one long run."""
        case = RUN_CASES[0]
        self.require(backend, case.case.spec(optimizer=case.update.optimizer))
        one, two = self._twins(backend, case.case)
        self.running(one, case, compiled=False)
        trainer = self.trainer(two, case.case, case.update, batch_size=case.batch_size)
        placed = trainer.place(case.data())
        for number, lr in enumerate(case.lrs):
            part = slice(number * case.batch_size, (number + 1) * case.batch_size)
            trainer.run(placed, np.array(case.order[part]), np.array([lr]))
        hint = "placed data that a run uses up, or memory that starts anew with each run"
        assert_all_identical("the weight after two runs", two.get_weights(), one.get_weights(), hint)

    def trained(self, backend: Backend, case: Run, precision: Precision, *, compiled: bool) -> None:
        """The losses and weights of a run are those of the float64 reference, up to rounding in working precision."""
        self.require(backend, case.case.spec(precision, optimizer=case.update.optimizer))
        network = self.network(backend, case.case, precision)
        losses, trainer = self.running(network, case, precision, compiled=compiled)
        must = oracle.trained(
            case.case.graph(precision),
            case.case.weights(precision),
            case.case.objective,
            case.update.optimizer,
            case.update.clip,
            case.pieces(precision),
        )
        what = "compiled run()" if compiled else "run()"
        hint = "rates, rows or masks that belong to another update, or gradients that are not averaged"
        assert_array(f"what {what} returns", losses, (len(case.lrs),), "float64")
        assert_close(f"the losses of {what} in {precision}", losses, must.losses.value, must.losses.bound, hint)
        for name, right in must.parameters.items():
            found = network.get_weights()[name]
            assert_close(f"the weight {name!r} after {what} in {precision}", found, right.value, right.bound, hint)
        step = trainer.get_state().step
        check(step == len(case.lrs), f"state.step after {what}", f"be {len(case.lrs)}", f"it is {step!r}", hint)

    def running(
        self, network: Network, case: Run, precision: Precision = "float64", *, compiled: bool
    ) -> tuple[Array, Trainer]:
        """What run() returns, and the trainer that ran."""
        trainer = self.trainer(
            network,
            case.case,
            case.update,
            batch_size=case.batch_size,
            update_size=case.update_size,
            compiled=compiled,
        )
        placed = trainer.place(case.data(precision))
        return trainer.run(placed, np.array(case.order), np.array(case.lrs), masks=case.masks()), trainer

    def _twins(self, backend: Backend, case: Case) -> tuple[Network, Network]:
        """Two networks with the same weights."""
        return self.network(backend, case), self.network(backend, case, copy=1)
