"""The PyTorch adapter's trainers: runs, steps, accumulation and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from torch_support import PRECISIONS, RESIDUAL, assert_same, make_batch, make_masks, make_network, make_spec, rows

import dualml
from dualml.protocol import Batch, State

TRAINED = [
    {"adam": {"lr": 0.01}},
    {"adam": {"lr": 0.01, "epsilon_placement": "uncorrected"}},
    {"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": True}},
    {"sgd": {"lr": 0.05, "momentum": 0.9, "lr_in_momentum": True, "weight_decay": 0.01, "decay": "decoupled"}},
    {"sgd": {"lr": 0.05}},
]


def make_trainer(spec: dualml.Spec, network: Any, **sizes: Any) -> Any:
    sizes = sizes or {"batch_size": 8}
    return network.trainer(spec.loss, spec.optimizer, clip=spec.train.clip, **sizes)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", TRAINED, ids=str)
def test_run_is_steps_is_gradients_then_apply(optimizer: Any, precision: str) -> None:
    clip = {"clip": {"global_norm": 0.7}}
    spec = make_spec(RESIDUAL, optimizer=optimizer, precision=precision, train=clip)
    batch, masks = make_batch(spec, 30), make_masks(spec, 45)
    order = np.random.default_rng(4).integers(0, 30, 45)
    rates = np.linspace(0.05, 0.01, 6)

    run_network = make_network(spec)
    trainer = make_trainer(spec, run_network)
    run_losses = trainer.run(trainer.place(batch), order, rates, masks=masks)
    assert run_losses.dtype == np.float64

    step_network, parts_network = make_network(spec), make_network(spec)
    step_trainer, parts_trainer = make_trainer(spec, step_network), make_trainer(spec, parts_network)
    step_losses, parts_losses = [], []
    for update, lr in enumerate(rates.tolist()):
        piece = slice(8 * update, 8 * update + 8)
        some, given = rows(batch, order[piece]), {name: mask[piece] for name, mask in masks.items()}
        step_losses.append(step_trainer.step(some, lr, masks=given))
        found = parts_network.gradients(some, spec.loss, masks=given)
        parts_losses.append(found.loss)
        parts_trainer.apply(found.parameters, lr)
    assert run_losses.tolist() == step_losses == parts_losses
    for other, other_trainer in ((step_network, step_trainer), (parts_network, parts_trainer)):
        assert_same(run_network.get_weights(), other.get_weights())
        for slot, arrays in trainer.get_state().slots.items():
            assert_same(arrays, other_trainer.get_state().slots[slot])
        assert trainer.get_state().step == other_trainer.get_state().step == 6


def test_accumulated_run_is_steps_is_summed_gradients() -> None:
    spec = make_spec(RESIDUAL, optimizer={"sgd": {"lr": 0.05, "momentum": 0.5}})
    batch, masks = make_batch(spec, 30), make_masks(spec, 30)
    sizes = {"batch_size": 4, "update_size": 12}
    networks = [make_network(spec) for _ in range(3)]
    run, step, parts = (make_trainer(spec, network, **sizes) for network in networks)
    losses = run.run(run.place(batch), np.arange(30), np.full(3, 0.05), masks=masks)
    for update, first in enumerate((0, 12, 24)):
        last = min(first + 12, 30)
        given = {name: mask[first:last] for name, mask in masks.items()}
        assert step.step(rows(batch, slice(first, last)), 0.05, masks=given) == losses[update]
        summed: dict[str, Any] = {}
        for start in range(first, last, 4):
            piece = slice(start, min(start + 4, last))
            given = {name: mask[piece] for name, mask in masks.items()}
            found = networks[2].gradients(rows(batch, piece), spec.loss, masks=given, count=last - first)
            for name, array in found.parameters.items():
                summed[name] = summed[name] + array if name in summed else array
        parts.apply(summed, 0.05)
    assert_same(networks[0].get_weights(), networks[1].get_weights())
    assert_same(networks[0].get_weights(), networks[2].get_weights())


def test_accumulation_equals_the_large_batch_in_float64() -> None:
    spec = make_spec(optimizer={"adam": {"lr": 0.01}}, precision="float64", train={"clip": {"global_norm": 0.1}})
    batch = make_batch(spec, 30)
    found = []
    for batch_size in (12, 5):
        network = make_network(spec)
        trainer = make_trainer(spec, network, batch_size=batch_size, update_size=12)
        losses = trainer.run(trainer.place(batch), np.arange(30), np.full(3, 0.01))
        found.append({**network.get_weights(), "losses": losses})
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("optimizer", TRAINED, ids=str)
def test_state_goes_round_and_training_goes_on_bit_for_bit(optimizer: Any) -> None:
    spec = make_spec(optimizer=optimizer)
    batch = make_batch(spec, 24)
    network = make_network(spec)
    trainer = make_trainer(spec, network)
    fresh = trainer.get_state()
    assert fresh.step == 0
    assert set(fresh.slots) == set(spec.optimizer.slots)
    for arrays in fresh.slots.values():
        assert {name: array.shape for name, array in arrays.items()} == {
            item.name: item.shape for item in spec.graph.parameters
        }
        assert not any(array.any() for array in arrays.values())
    start = network.get_weights()
    placed = trainer.place(batch)
    trainer.run(placed, np.arange(24), np.full(3, 0.05))
    middle, state = network.get_weights(), trainer.get_state()
    losses = trainer.run(placed, np.arange(24), np.full(3, 0.02))
    end = network.get_weights()

    other = make_network(spec)
    resumed = make_trainer(spec, other)
    resumed.run(placed, np.arange(16), np.full(2, 0.3))  # some other past, to be replaced
    other.set_weights(middle)
    resumed.set_state(state)
    assert resumed.get_state().step == 3
    for slot, arrays in state.slots.items():
        assert_same(arrays, resumed.get_state().slots[slot])
    assert resumed.run(placed, np.arange(24), np.full(3, 0.02)).tolist() == losses.tolist()
    assert_same(end, other.get_weights())

    other.set_weights(start)
    resumed.set_state(fresh)
    resumed.run(placed, np.arange(24), np.full(3, 0.05))
    assert_same(middle, other.get_weights())


def test_wrong_state_is_refused_and_changes_nothing() -> None:
    spec = make_spec()
    network = make_network(spec)
    trainer = make_trainer(spec, network)
    trainer.step(make_batch(spec, 4), 0.1)
    state = trainer.get_state()
    with pytest.raises(dualml.WeightsError, match="first_moment, second_moment, got momentum"):
        trainer.set_state(State(1, {"momentum": state.slots["first_moment"]}))
    short = {name: array for name, array in state.slots["first_moment"].items() if name != "dense_1.bias"}
    with pytest.raises(dualml.WeightsError, match=r"missing: dense_1\.bias"):
        trainer.set_state(State(1, {**state.slots, "first_moment": short}))
    assert_same(state.slots["first_moment"], trainer.get_state().slots["first_moment"])
    with pytest.raises(dualml.WeightsError, match="gradients"):
        trainer.apply({}, 0.1)


def test_rates_must_match_the_updates() -> None:
    spec = make_spec()
    trainer = make_trainer(spec, make_network(spec))
    placed = trainer.place(make_batch(spec, 20))
    with pytest.raises(ValueError, match="are 3 updates"):
        trainer.run(placed, np.arange(20), np.full(2, 0.1))
    assert trainer.run(placed, np.arange(0), np.empty(0)).shape == (0,)
    with pytest.raises(ValueError, match="at least one example"):
        trainer.step(make_batch(spec, 0), 0.1)


def test_arguments_of_any_strides_are_taken() -> None:
    spec = make_spec()
    batch = make_batch(spec, 8)
    strange = Batch(np.asfortranarray(batch.inputs)[::-1], batch.targets[::-1].astype(np.int32))
    for array in (strange.inputs, strange.targets):
        array.flags.writeable = False
    networks = [make_network(spec) for _ in range(2)]
    losses = [
        make_trainer(spec, network).step(some, 0.1)
        for network, some in zip(networks, (rows(batch, slice(None, None, -1)), strange), strict=True)
    ]
    assert losses[0] == losses[1]
    assert_same(networks[0].get_weights(), networks[1].get_weights())
