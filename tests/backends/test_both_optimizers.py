"""Both adapters by every optimizer: the same training in float64, and a state that moves over in its middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch_adapter = pytest.importorskip("dualml_torch")
tensorflow_adapter = pytest.importorskip("dualml_tensorflow")

from dualml.spec.activations import Tanh  # noqa: E402
from dualml.spec.layers import Dense  # noqa: E402
from dualml.testing.cases import OPTIMIZER_CASES, Case, Update  # noqa: E402

CASE = Case("both", (5,), [Dense(units=6, activation=Tanh()), Dense(units=4)], examples=8)
UPDATES = 30
CLOSE = 1e-11


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return {
        "torch": torch_adapter.backend.build(CASE.graph(), CASE.weights()),
        "tensorflow": tensorflow_adapter.backend.build(CASE.graph(), CASE.weights()),
    }


def train(trainer: Any, start: int, stop: int, lr: float) -> None:
    for number in range(start, stop):
        trainer.step(CASE.batch(variant=number), lr if number < 10 else 0.3 * lr)


def apart(left: dict[str, Any], right: dict[str, Any]) -> float:
    """Largest difference of any array relative to its largest number."""
    assert left.keys() == right.keys()
    gaps = [np.abs(array - right[name]).max() / max(np.abs(array).max(), 1e-300) for name, array in left.items()]
    return float(max(gaps, default=0.0))


@pytest.mark.parametrize("case", OPTIMIZER_CASES, ids=lambda case: case.name)
def test_trainings_agree_and_go_on_in_the_other_framework(case: Update, networks: dict[str, Any]) -> None:
    """30 updates with one change of the rate; after 15 of them each side's state also moves to the other."""
    lr = float(case.optimizer.lr)
    loss = CASE.loss

    def trainer(name: str) -> Any:
        return networks[name].trainer(loss, case.optimizer, batch_size=8, compiled=False)

    middle, ends = {}, []
    for name, network in networks.items():
        network.set_weights(CASE.weights())
        own = trainer(name)
        train(own, 0, UPDATES // 2, lr)
        middle[name] = network.get_weights(), own.get_state()
        train(own, UPDATES // 2, UPDATES, lr)
        ends.append((network.get_weights(), own.get_state()))
    for source, name in (("torch", "tensorflow"), ("tensorflow", "torch")):
        weights, state = middle[source]
        networks[name].set_weights(weights)
        moved = trainer(name)
        moved.set_state(state)
        train(moved, UPDATES // 2, UPDATES, lr)
        ends.append((networks[name].get_weights(), moved.get_state()))
    (weights, state), *others = ends
    assert apart(CASE.weights(), weights) > 1e-6, "nothing was trained"
    for other_weights, other_state in others:
        assert apart(weights, other_weights) <= CLOSE
        assert state.step == other_state.step == UPDATES
        assert state.slots.keys() == other_state.slots.keys()
        for slot, arrays in state.slots.items():
            assert apart(dict(arrays), dict(other_state.slots[slot])) <= CLOSE, slot
