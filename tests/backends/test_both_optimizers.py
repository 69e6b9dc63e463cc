"""Both adapters by every optimizer: the same training in float64, and a state that moves over in its middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch_adapter = pytest.importorskip("dualml_torch")
tensorflow_adapter = pytest.importorskip("dualml_tensorflow")

from dualml.spec.activations import Tanh  # noqa: E402
from dualml.spec.layers import Dense  # noqa: E402
from dualml.spec.optimizers import OPTIMIZERS, Adafactor, Muon, NAdam, Optimizer  # noqa: E402
from dualml.testing import oracle  # noqa: E402
from dualml.testing.cases import NETWORK_CASES, OPTIMIZER_CASES, Case, Update  # noqa: E402
from dualml.testing.cases.base import update  # noqa: E402

CASE = Case("both", (5,), [Dense(units=6, activation=Tanh()), Dense(units=4)], examples=8)
UPDATES = 30
CLOSE = 1e-11


def _shown(name: str) -> bool:
    """Rows that differ in more than decay; the conformance checks judge all of them, update by update."""
    if "-scope-" in name or name.endswith(("-coupled", "-decoupled")):
        return False
    return name.endswith(("-torch", "-keras", "-every")) or "centered-momentum" in name or "nesterov" in name


ROWS = [row for row in OPTIMIZER_CASES if _shown(row.name)]


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


def test_every_optimizer_is_tried() -> None:
    assert {row.optimizer.kind for row in ROWS} == {kind.kind for kind in OPTIMIZERS}


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
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


def _kinds_of_parameters() -> list[Case]:
    """A case for each layer and each set of axes that its parameters have."""
    found: dict[frozenset[tuple[str, int]], Case] = {}
    for case in NETWORK_CASES:
        nodes = case.graph().nodes
        kinds = frozenset((node.operation, len(item.shape)) for node in nodes for item in node.parameters)
        if kinds:
            found.setdefault(kinds, case)
    return list(found.values())


ON_AXES = [
    update("adafactor-torch", Adafactor(weight_decay=0.1), "torch").optimizer,
    update("adafactor-keras", Adafactor(), "keras").optimizer,
    update("muon-torch", Muon(), "torch").optimizer,
    update("nadam-keras", NAdam(), "keras").optimizer,
]


@pytest.mark.parametrize("case", _kinds_of_parameters(), ids=lambda case: case.name)
@pytest.mark.parametrize("adapter", [torch_adapter, tensorflow_adapter], ids=["torch", "tensorflow"])
def test_optimizers_that_look_at_axes_see_the_neutral_ones(adapter: Any, case: Case) -> None:
    """Every layer's parameters, wherever their axes are kept; the state goes out and in before each update."""
    network = adapter.backend.build(case.graph(), case.weights())
    names = {item.name for item in case.graph().parameters}
    for optimizer in ON_AXES:
        _check_updates(network, case, optimizer, names)


def _check_updates(network: Any, case: Case, optimizer: Optimizer, names: set[str]) -> None:
    network.set_weights(case.weights())
    trainer = network.trainer(case.spec().objective, optimizer, batch_size=4, compiled=False)
    generator = np.random.default_rng(0)
    for lr in (0.1, 0.037, 0.037):
        weights = {name: array for name, array in network.get_weights().items() if name in names}
        gradients = {name: generator.standard_normal(array.shape) for name, array in weights.items()}
        state = trainer.get_state()
        trainer.set_state(state)
        must = oracle.updated(optimizer, None, weights, gradients, state, lr, precision="float64")
        trainer.apply(gradients, lr)
        found, after = network.get_weights(), trainer.get_state()
        for name, right in must.parameters.items():
            assert np.all(np.abs(found[name] - right.value) <= right.bound), (optimizer.kind, name)
        for slot, arrays in must.slots.items():
            assert arrays.keys() == after.slots[slot].keys()
            for name, right in arrays.items():
                assert after.slots[slot][name].shape == right.value.shape, (optimizer.kind, slot, name)
                assert np.all(np.abs(after.slots[slot][name] - right.value) <= right.bound), (
                    optimizer.kind,
                    slot,
                    name,
                )
