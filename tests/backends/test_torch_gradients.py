"""The PyTorch adapter's gradients, by central differences, and what a call leaves behind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_support import MLP, RESIDUAL, assert_same, make_batch, make_masks, make_network, make_spec  # noqa: E402

from dualml.protocol import Batch  # noqa: E402


@pytest.mark.parametrize("model", [MLP, RESIDUAL], ids=["chain", "graph"])
@pytest.mark.parametrize("loss", ["cross_entropy", {"cross_entropy": {"label_smoothing": 0.2}}, "mse"], ids=str)
def test_gradients_are_central_differences(model: Any, loss: Any) -> None:
    spec = make_spec(model, loss=loss, precision="float64")
    network = make_network(spec)
    batch, masks = make_batch(spec, 5), make_masks(spec, 5)
    taps = ["input", *(node.name for node in spec.graph.nodes)]
    found = network.gradients(batch, spec.loss, masks=masks, taps=taps, count=8)
    assert found.loss == pytest.approx(found.example_losses.sum() / 8, rel=1e-14)
    assert set(found.values) == set(found.values_gradients) == set(taps)
    values = network.forward(batch.inputs, training=True, masks=masks, taps=taps)
    assert_same(values, found.values)
    untapped = network.gradients(batch, spec.loss, masks=masks, count=8)
    assert_same(found.parameters, untapped.parameters)
    assert found.loss == untapped.loss
    weights = network.get_weights()

    def loss_with(name: str, index: tuple[int, ...], change: float) -> float:
        moved = {key: value.copy() for key, value in weights.items()}
        moved[name][index] += change
        network.set_weights(moved)
        return network.gradients(batch, spec.loss, masks=masks, count=8).loss

    for name, gradient in found.parameters.items():
        for index in ((0,) * gradient.ndim, tuple(size - 1 for size in gradient.shape)):
            slope = (loss_with(name, index, 1e-6) - loss_with(name, index, -1e-6)) / 2e-6
            assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-9), name
    network.set_weights(weights)
    moved = batch.inputs.copy()
    moved[1, 2] += 1e-6
    rise = network.gradients(Batch(moved, batch.targets), spec.loss, masks=masks, count=8).loss - found.loss
    assert found.values_gradients["input"][1, 2] == pytest.approx(rise / 1e-6, rel=1e-3, abs=1e-6)


def test_gradient_of_a_node_that_changes_nothing_is_its_own() -> None:
    layers = [
        {"flatten": {}, "name": "same"},  # returns its input itself
        {"add": {}, "name": "twice", "inputs": ["same", "input"]},
        {"add": {}, "name": "thrice", "inputs": ["twice", "input"]},
    ]
    spec = make_spec({"input": [3], "layers": layers}, loss="mse", precision="float64")
    batch = make_batch(spec, 2)
    taps = ["input", "same", "twice", "thrice"]
    found = make_network(spec).gradients(batch, spec.loss, taps=taps).values_gradients
    top = 2 * (3 * batch.inputs - batch.targets) / 6
    for name, factor in {"input": 3, "same": 1, "twice": 1, "thrice": 1}.items():
        np.testing.assert_allclose(found[name], factor * top, rtol=1e-14, err_msg=name)


def test_nothing_is_left_behind_or_shared() -> None:
    spec = make_spec(RESIDUAL)
    network = make_network(spec)
    batch, masks = make_batch(spec, 4), make_masks(spec, 4)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    network.native.train()
    network.native.drop.eval()
    marks = [torch.full_like(parameter, 3.0) for parameter in network.native.parameters()]
    for parameter, mark in zip(network.native.parameters(), marks, strict=True):
        parameter.grad = mark
    kept = copy.deepcopy((batch, masks))
    with torch.no_grad():  # the caller's mode makes no difference
        found = network.gradients(batch, spec.loss, masks=masks, taps=["stem", "sum", "input"])
        values = network.forward(batch.inputs, training=True, masks=masks, taps=["stem"])
        weights = network.get_weights()
        held = copy.deepcopy((found, values, weights))
        placed = trainer.place(batch)
        trainer.step(batch, 0.1, masks=masks)
        trainer.apply(found.parameters, 0.1)
        state = trainer.get_state()
        held_state = copy.deepcopy(state)
        trainer.run(placed, np.arange(4), np.array([0.1]), masks=masks)
    assert network.native.stem.training
    assert not network.native.drop.training
    for parameter, mark in zip(network.native.parameters(), marks, strict=True):
        assert parameter.grad is mark
        assert bool((mark == 3.0).all())
    assert not any(module._forward_hooks for module in network.native.modules())
    assert np.array_equal(kept[0].inputs, batch.inputs)
    assert_same(kept[1], masks)
    assert_same(held[0].parameters, found.parameters)
    assert_same(held[0].values, found.values)
    assert_same(held[1], values)
    assert_same(held[2], weights)
    for slot, arrays in held_state.slots.items():
        assert_same(arrays, state.slots[slot])
    assert not np.array_equal(network.get_weights()["stem.kernel"], weights["stem.kernel"])
    found.values["stem"][:] = weights["stem.kernel"][:] = 9.0
    assert not (network.get_weights()["stem.kernel"] == 9.0).any()


def test_unknown_taps_are_refused() -> None:
    spec = make_spec()
    with pytest.raises(ValueError, match=r"taps must be among input, dense_1.*got nowhere"):
        make_network(spec).gradients(make_batch(spec, 2), spec.loss, taps=["nowhere"])
