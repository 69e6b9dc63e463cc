"""The TensorFlow adapter's dropout: with given masks, and with Keras' own randomness."""

from __future__ import annotations

import numpy as np
import pytest

import dualml
from dualml import randomness
from dualml.protocol import Batch

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from tensorflow_support import DROPOUT, EXACT, assert_same, build, data, masks_for, mlp, trainer


def test_dropout_with_given_masks():
    spec = mlp(layers=DROPOUT)
    net = build(spec)
    batch = data(spec, 9)
    masks = masks_for(spec, 9)
    want = batch.inputs * masks["drop"] / (1 - 0.3)
    traced = net.forward(batch.inputs, training=True, taps=["drop"], masks=masks)["drop"]
    np.testing.assert_allclose(traced, want, rtol=4e-16, atol=0)  # the graph multiplies by the reciprocal
    np.testing.assert_array_equal(net.forward(batch.inputs, taps=["drop"])["drop"], batch.inputs)
    found = net.gradients(batch, spec.resolved.loss, masks=masks, taps=["input", "drop"])
    np.testing.assert_array_equal(found.values["drop"], want)
    slope = found.values_gradients["drop"] * masks["drop"] / (1 - 0.3)
    assert slope.any()
    np.testing.assert_allclose(found.values_gradients["input"], slope, **EXACT)
    alone = net.gradients(batch, spec.resolved.loss, masks=masks, taps=["drop"])
    assert_same(alone.values_gradients, {"drop": found.values_gradients["drop"]})
    assert net.native.get_layer("drop").mask is None


def test_masks_are_asked_for():
    spec = mlp(layers=DROPOUT)
    batch = data(spec, 4)
    with pytest.raises(ValueError, match=r"exactly the nodes that draw, \['drop', 'dropout_1'\]"):
        build(spec).forward(batch.inputs, training=True)
    with pytest.raises(ValueError, match=r"got \['drop'\]"):
        trainer(build(spec), spec).step(batch, 0.1, masks={"drop": np.ones((4, 7), bool)})
    with pytest.raises(ValueError, match="randomness is native"):
        build(spec, native_randomness=True).gradients(batch, spec.resolved.loss, masks=masks_for(spec, 4))


@pytest.mark.parametrize("compiled", [True, False])
def test_run_slices_masks_as_step_does(compiled):
    spec = mlp(layers=DROPOUT, optimizer="adam", conventions="torch")
    batch, masks = data(spec, 20), masks_for(spec, 20)
    order = randomness.permutation(0, "order", 20)
    many, single = build(spec), build(spec)
    run = trainer(many, spec, compiled=compiled)
    losses = run.run(run.place(batch), order, np.full(3, 0.01), masks=masks)
    stepper = trainer(single, spec, compiled=compiled)
    for update in range(3):
        rows = slice(update * 8, (update + 1) * 8)
        picked = Batch(batch.inputs[order[rows]], batch.targets[order[rows]])
        loss = stepper.step(picked, 0.01, masks={name: mask[rows] for name, mask in masks.items()})
        np.testing.assert_allclose(losses[update], loss, **EXACT)
    for name, value in single.get_weights().items():
        np.testing.assert_allclose(many.get_weights()[name], value, err_msg=name, **EXACT)


def test_native_randomness_is_seeded_and_differs_between_layers():
    layers = [
        dualml.Dropout(0.5, name="a"),
        dualml.Dropout(0.5, name="b", inputs="input"),
        dualml.Add(inputs=["a", "b"]),
    ]
    spec = mlp(layers=layers, size=64, loss="mse")
    ones = np.ones((4, 64))

    def draw(net, seed):
        net.seed(seed)
        first = net.forward(ones, training=True, taps=["a", "b"])
        return first, net.forward(ones, training=True, taps=["a", "b"])

    net = build(spec, native_randomness=True)
    first, second = draw(net, 5)
    assert_same(draw(build(spec, native_randomness=True), 5)[0], first)
    assert_same(draw(net, 5)[1], second)
    assert (first["a"] != second["a"]).any()
    assert (first["a"] != first["b"]).any()
    assert (draw(net, 6)[0]["a"] != first["a"]).any()
