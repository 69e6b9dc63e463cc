"""The TensorFlow adapter reproduces the numbers of a Keras loop written by hand bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

import dualml
from dualml.spec.optimizers import GlobalNorm

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tensorflow_support import CLASSES, build, data, mlp, part, trainer  # noqa: E402

LOOPS = {
    "sgd": ({"sgd": {"lr": 0.1}}, lambda: keras.optimizers.SGD(0.1), None),
    "momentum": ({"sgd": {"lr": 0.1, "momentum": 0.9}}, lambda: keras.optimizers.SGD(0.1, momentum=0.9), None),
    "nesterov": (
        {"sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        None,
    ),
    "adam": ({"adam": {"lr": 0.001}}, lambda: keras.optimizers.Adam(0.001), None),
    "adamw": ({"adamw": {"lr": 0.001}}, lambda: keras.optimizers.AdamW(0.001), None),
    "clipped": (
        {"adam": {"lr": 0.001}},
        lambda: keras.optimizers.Adam(0.001, global_clipnorm=0.3),
        GlobalNorm(max_norm=0.3, epsilon=0.0),
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loop_by_hand_is_reproduced_bit_for_bit(name):
    """Float32, Keras' own layers, loss, optimizer and tf.function; the last batch is smaller."""
    settings, make_optimizer, clip = LOOPS[name]
    layers = [dualml.Dense(64, activation="relu"), dualml.Dense(32, activation="relu"), dualml.Dense(CLASSES)]
    spec = mlp(precision="float32", layers=layers, optimizer=settings, size=50)
    batch = data(spec, 32 * 9 + 7)
    starts = range(0, len(batch), 32)
    rates = np.full(len(starts), spec.resolved.optimizer.lr)
    net, stepped = build(spec), build(spec)

    model = keras.Sequential(
        [
            keras.Input((50,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(CLASSES),
        ]
    )
    model.set_weights(list(net.get_weights().values()))
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = make_optimizer()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    pieces = [part(batch, start, start + 32) for start in starts]
    losses = [float(step(tf.constant(piece.inputs), tf.constant(piece.targets))) for piece in pieces]

    train = trainer(net, spec, batch_size=32, clip=clip)
    np.testing.assert_array_equal(train.run(train.place(batch), np.arange(len(batch)), rates), losses)
    again = trainer(stepped, spec, batch_size=32, clip=clip)
    assert [again.step(piece, rates[0]) for piece in pieces] == losses
    for mine, stepwise, theirs in zip(
        net.get_weights().values(), stepped.get_weights().values(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(stepwise, theirs)
