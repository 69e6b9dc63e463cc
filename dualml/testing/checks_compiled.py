"""Checks of the framework's compiler: it may reorder sums, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dualml.protocol import Backend
from dualml.testing import oracle
from dualml.testing.assertions import assert_close
from dualml.testing.base import over
from dualml.testing.cases import OPTIMIZER_CASES, PLAIN, RATES, THIN, Case, Update
from dualml.testing.checks_training import RUN_CASES, Run, TrainingChecks

COMPILED_UPDATES = tuple(
    row
    for row in OPTIMIZER_CASES
    if row.name.endswith(("-torch", "-keras"))
    or row.name in ("sgd-nesterov-coupled", "sgd-nesterov-lr-inside-decoupled")
)
"""Optimizers checked under the compiler too: what each convention means, and the momentum with most terms."""


class CompiledChecks(TrainingChecks):
    """The compiled ``step`` and ``run`` are the eager ones up to rounding."""

    @over(RUN_CASES)
    def test_compiled_run(self, backend: Backend, case: Run) -> None:
        """The losses and weights of a compiled run, judged by the float64 reference."""
        _need_compiler(backend)
        self.trained(backend, case, "float64", compiled=True)

    @over(COMPILED_UPDATES)
    def test_compiled_update(self, backend: Backend, case: Update) -> None:
        """Each optimizer in a compiled run whose rate changes."""
        _need_compiler(backend)
        run = Run(case.name, PLAIN, case, (3, 1, 4, 0, 5, 8, 2, 6), RATES, batch_size=2)
        self.trained(backend, run, "float64", compiled=True)

    def test_compiled_float32(self, backend: Backend) -> None:
        """A compiled run in float32."""
        _need_compiler(backend)
        for case in RUN_CASES:
            if case.name == "accumulated-masks":
                self.trained(backend, case, "float32", compiled=True)

    @over((PLAIN, THIN))
    def test_compiled_step(self, backend: Backend, case: Case) -> None:
        """Compiled steps are the eager ones up to rounding, also for a smaller last batch and another rate."""
        _need_compiler(backend)
        update = replace(RUN_CASES[0].update, name="sgd")
        self.require(backend, case.spec(optimizer=update.optimizer))
        pieces = [
            oracle.Piece(
                case.batch(examples=examples, variant=number), lr, case.masks(examples, variant=number) or None
            )
            for number, (lr, examples) in enumerate(zip(RATES, (4, 4, 4, 1), strict=True))
        ]
        found = []
        for compiled in (False, True):
            network = self.network(backend, case, copy=int(compiled))
            trainer = self.trainer(network, case, update, compiled=compiled)
            losses = [trainer.step(piece.batch, piece.lr, masks=piece.masks) for piece in pieces]
            found.append((np.array(losses), network.get_weights()))
        must = oracle.trained(case.graph(), case.weights(), case.objective, update.optimizer, update.clip, pieces)
        hint = "a rate, a mask or a batch size that was compiled in as a constant"
        assert_close("the losses of compiled steps", found[1][0], found[0][0], must.losses.bound, hint)
        for name, right in must.parameters.items():
            what = f"the weight {name!r} after compiled steps"
            assert_close(what, found[1][1][name], found[0][1][name], right.bound, hint)


def _need_compiler(backend: Backend) -> None:
    if not backend.capabilities.compiled:
        pytest.skip("not declared, so not checked: capabilities.compiled is False, so compiled and eager are the same")
