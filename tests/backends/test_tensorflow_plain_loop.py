"""The TensorFlow adapter reproduces the numbers of a Keras loop written by hand bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

import dualml
from dualml.spec.optimizers import OPTIMIZERS, GlobalNorm, ParameterNorm, ValueLimit

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
    "clipped by norm": (
        {"adam": {"lr": 0.001}},
        lambda: keras.optimizers.Adam(0.001, clipnorm=0.03),
        ParameterNorm(max_norm=0.03, epsilon=0.0),
    ),
    "clipped by value": (
        {"adam": {"lr": 0.001}},
        lambda: keras.optimizers.Adam(0.001, clipvalue=0.001),
        ValueLimit(max_value=0.001),
    ),
    "amsgrad": ({"adam": {"amsgrad": True}}, lambda: keras.optimizers.Adam(amsgrad=True), None),
    "rmsprop centered": (
        {"rmsprop": {"centered": True, "momentum": 0.9, "weight_decay": 0.1, "epsilon": 1e-4}},
        lambda: keras.optimizers.RMSprop(centered=True, momentum=0.9, weight_decay=0.1, epsilon=1e-4),
        None,
    ),
    "adafactor decayed": (
        {"adafactor": {"weight_decay": 0.1, "epsilon2": 0.1}},
        lambda: keras.optimizers.Adafactor(weight_decay=0.1, epsilon_2=0.1),
        None,
    ),
    "averaged": (
        {"sgd": {"momentum": 0.9, "ema": {"decay": 0.9}}},
        lambda: keras.optimizers.SGD(momentum=0.9, use_ema=True, ema_momentum=0.9),
        None,
    ),
    "kernels decay": (
        {"adamw": {"weight_decay": 0.1, "decay_scope": "kernels"}},
        lambda: without_decay(keras.optimizers.AdamW(weight_decay=0.1), "bias"),
        None,
    ),
}


def without_decay(optimizer, name):
    optimizer.exclude_from_weight_decay(var_names=[name])
    return optimizer


DEFAULTS = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "Nadam",
    "adamax": "Adamax",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "lion": "Lion",
    "adafactor": "Adafactor",
    "muon": "Muon",
}
"""Each kind with the stock class whose defaults ``conventions: keras`` means."""


@pytest.mark.parametrize("kind", DEFAULTS)
def test_conventions_are_the_stock_defaults_bit_for_bit(kind):
    """The loop leaves every argument of the stock optimizer at its default."""
    check_loop(kind, getattr(keras.optimizers, DEFAULTS[kind]), None)


def test_every_optimizer_has_a_stock_loop():
    assert {kind.kind for kind in OPTIMIZERS} == set(DEFAULTS)


@pytest.mark.parametrize("name", LOOPS)
def test_loop_by_hand_is_reproduced_bit_for_bit(name):
    """Float32, Keras' own layers, loss, optimizer and tf.function; the last batch is smaller."""
    check_loop(*LOOPS[name])


def check_loop(settings, make_optimizer, clip):
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
    assert type(train.optimizer) is type(optimizer)
    np.testing.assert_array_equal(train.run(train.place(batch), np.arange(len(batch)), rates), losses)
    again = trainer(stepped, spec, batch_size=32, clip=clip)
    assert [again.step(piece, rates[0]) for piece in pieces] == losses
    for mine, stepwise, theirs in zip(
        net.get_weights().values(), stepped.get_weights().values(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(stepwise, theirs)
