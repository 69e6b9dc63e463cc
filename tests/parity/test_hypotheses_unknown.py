"""Faults that no cause stands for stay ``unknown``, and correct sides give nothing to explain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis_support import (
    UNIT,
    buffers_of,
    changed,
    loss_case,
    node,
    numbers,
    passed,
    ran,
    read_loss,
    read_optimizer,
    ulp,
    updates,
    use_of,
    weights_of,
)

from dualml.parity.hypotheses import (
    MEANINGS,
    Penalised,
    Tried,
    conclude,
    conclusions,
    explain_backward,
    explain_buffers,
    explain_forward,
    explain_inputs,
    explain_loss,
    explain_update,
    explain_weights,
)
from dualml.parity.hypotheses.claims import BY_KIND, BY_SETTING
from dualml.parity.hypotheses.loss_forms import LossForm
from dualml.spec import activations as functions
from dualml.spec.layers import (
    Activation,
    Attention,
    AveragePool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Embedding,
    GroupNorm,
    Gru,
    LayerNorm,
    Lstm,
    MaxPool2d,
)
from dualml.spec.losses import CrossEntropy, MeanSquaredError
from dualml.spec.optimizers import Adagrad, Adam, AdamW, GlobalNorm, RMSprop, Sgd
from dualml.spec.regularizers import L2

IMAGE = (6, 7, 3)
LAYERS = {
    "dense": (Dense(8), (8,)),
    "conv2d": (Conv2d(4, 3, padding=1), IMAGE),
    "max_pool2d": (MaxPool2d(3, stride=2, padding=1), IMAGE),
    "average_pool2d": (AveragePool2d(3, stride=2, padding=1), IMAGE),
    "batch_norm": (BatchNorm(), IMAGE),
    "batch_norm of one channel": (BatchNorm(), (5, 1)),
    "layer_norm": (LayerNorm(), (8,)),
    "group_norm": (GroupNorm(2), (5, 4)),
    "relu": (Activation(functions.Relu()), (8,)),
    "gelu": (Activation(functions.Gelu()), (8,)),
    "leaky_relu": (Activation(functions.LeakyRelu()), (8,)),
    "elu": (Activation(functions.Elu()), (8,)),
    "softmax": (Activation(functions.Softmax()), (8,)),
    "linear": (Activation(functions.Linear()), (8,)),
    "lstm": (Lstm(4), (6, 5)),
    "gru": (Gru(4), (6, 5)),
    "attention": (Attention(2), (6, 8)),
}

WRONG = {
    "1 % too large": lambda y: 1.01 * y,
    "a little less": lambda y: 0.9999 * y,
    "with waves on it": lambda y: y + 1e-3 * np.sin(np.arange(y.size)).reshape(y.shape),
    "moved by a constant": lambda y: y + 0.01,
    "of the other sign": lambda y: -y,
    "one number off": lambda y: np.where(np.arange(y.size).reshape(y.shape) == 3, y + 1e-6, y),
    "not a number": lambda y: np.where(np.arange(y.size).reshape(y.shape) == 3, np.nan, y),
}


def layer(name):
    item, shape = LAYERS[name]
    return node(item, shape), numbers(4, *shape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", LAYERS)
def test_an_output_that_no_convention_gives_is_unknown(name, wrong, training):
    meant, x = layer(name)
    weights = weights_of(meant)
    recorded = WRONG[wrong](ran(meant, weights, x, training=training))
    tried = explain_forward(meant, meant, weights, [x], recorded, training=training, unit=UNIT)
    cause, alternatives = conclude(tried)
    assert (cause.id, cause.confirmed, alternatives) == ("unknown", False, ()), cause.evidence


@pytest.mark.parametrize("name", LAYERS)
def test_a_correct_layer_leaves_nothing_to_explain(name):
    meant, x = layer(name)
    weights = weights_of(meant)
    for training in (False, True):
        recorded = ran(meant, weights, x, training=training)
        assert explain_forward(meant, meant, weights, [x], recorded, training=training, unit=UNIT) == ()


def test_a_dropped_pattern_that_no_rate_gives_is_unknown():
    meant, x = node(Dropout(0.3), (8,)), numbers(4, 8)
    mask = np.random.default_rng(0).random((4, 8)) < 0.7
    recorded = np.where(mask, x / 0.7, 0.01)
    tried = explain_forward(meant, meant, {}, [x], recorded, training=True, mask=mask, unit=UNIT)
    assert conclude(tried)[0].id == "unknown"


def test_settings_without_a_name_are_told_but_stay_unknown():
    meant = node(Conv2d(4, 3, padding=2, dilation=2), IMAGE)
    said = node(Conv2d(4, 3, padding=1, dilation=1), IMAGE)
    weights, x = weights_of(said), numbers(4, *IMAGE)
    tried = explain_forward(meant, said, weights, [x], ran(said, weights, x), training=False, unit=UNIT)
    cause, _ = conclude(tried)
    assert cause.id in ("unknown", "padding.same_stride")
    stride = node(Conv2d(4, 3, padding=1, stride=2), (5, 5, 3))
    same_shape = node(Conv2d(4, 3, padding=0), (5, 5, 3))
    weights, x = weights_of(stride), numbers(4, 5, 5, 3)
    tried = explain_forward(same_shape, stride, weights, [x], ran(stride, weights, x), training=False, unit=UNIT)
    assert conclude(tried)[0].id in ("unknown", "padding.same_stride")


def test_two_faults_of_one_layer_are_both_named():
    meant = node(AveragePool2d(3, stride=2, padding=1, count_padding=True, ceil_mode=False), IMAGE)
    said = node(AveragePool2d(3, stride=2, padding=1, count_padding=False, ceil_mode=True), IMAGE)
    x = numbers(4, *IMAGE)
    tried = explain_forward(meant, said, {}, [x], ran(said, {}, x), training=False, unit=UNIT)
    assert all(alternatives == () for _, alternatives in conclusions(tried))
    assert {cause.id for cause, _ in conclusions(tried)} == {"pool.count_padding", "pool.ceil_mode"}


def test_two_faults_of_running_statistics_are_both_named():
    meant, said = (node(BatchNorm(), IMAGE, conventions=name) for name in ("torch", "keras"))
    weights, x = weights_of(meant), numbers(4, *IMAGE)
    after = buffers_of(said, weights, x)
    for own in (said, None):
        tried = explain_buffers(meant, own, weights, [x], after, unit=UNIT)
        found = {cause.id for cause, _ in conclusions(tried)}
        assert found == {"norm.momentum", "norm.unbiased_variance"}


def test_running_statistics_that_nothing_explains_are_unknown():
    meant, x = node(BatchNorm(), IMAGE), numbers(4, *IMAGE)
    weights = weights_of(meant)
    for factor in (1.01, 0.5):
        after = {name: factor * array for name, array in buffers_of(meant, weights, x).items()}
        assert conclude(explain_buffers(meant, meant, weights, [x], after, unit=UNIT))[0].id == "unknown"
    assert explain_buffers(meant, meant, weights, [x], buffers_of(meant, weights, x), unit=UNIT) == ()


LOSS = CrossEntropy(normalization="weights", weighted_smoothing="per_class")
LOGITS, CLASSES = 3.0 * numbers(6, 5), np.array([0, 1, 2, 3, 4, 1])


@pytest.mark.parametrize("wrong", [1.01, 0.7, 3.3, -1.0])
def test_a_loss_that_no_convention_gives_is_unknown(wrong):
    for loss, targets in ((LOSS, CLASSES), (MeanSquaredError(), numbers(6, 5, seed=3))):
        case = loss_case(LossForm(loss, factor=wrong), LOGITS, targets)
        assert conclude(explain_loss(read_loss(loss), read_loss(loss), case, unit=UNIT))[0].id == "unknown"


def test_a_loss_with_noise_is_unknown_and_a_correct_one_silent():
    case = loss_case(LossForm(LOSS), LOGITS, CLASSES)
    assert explain_loss(read_loss(LOSS), None, case, unit=UNIT) == ()
    noisy = dataclasses.replace(case, gradient=case.gradient + 1e-6 * numbers(6, 5))
    assert conclude(explain_loss(read_loss(LOSS), None, noisy, unit=UNIT))[0].id == "unknown"


def test_a_gradient_that_no_convention_gives_is_unknown():
    meant, x, slope = node(Dense(5), (8,)), numbers(5, 8), numbers(5, 5)
    weights = weights_of(meant)
    right = passed(meant, weights, x, slope, "kernel")
    use = use_of(meant, meant, weights, x, slope, "kernel")
    held = Penalised("dense.kernel", weights["layer.kernel"], [L2(0.01)], [L2(0.01)])
    assert explain_backward(right, [use], unit=UNIT) == ()
    for wrong in (1.01 * right, right + 1e-6 * numbers(8, 5, seed=6), right.copy()):
        if np.array_equal(wrong, right):
            wrong[0, 0] += 1e-9
        assert conclude(explain_backward(wrong, [use], unit=UNIT))[0].id == "unknown"
        assert conclude(explain_backward(wrong, [use], unit=UNIT, penalised=held))[0].id == "unknown"


OPTIMIZERS = {
    "sgd": read_optimizer(Sgd(momentum=0.9)),
    "plain sgd": read_optimizer(Sgd()),
    "adam": read_optimizer(Adam()),
    "adamw": read_optimizer(AdamW()),
    "rmsprop": read_optimizer(RMSprop()),
    "adagrad": read_optimizer(Adagrad()),
    "clipped": dataclasses.replace(read_optimizer(Sgd()), clip=GlobalNorm(1.0, epsilon=1e-6)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_that_no_convention_gives_are_unknown(name):
    read = OPTIMIZERS[name]
    steps = updates(read)
    assert explain_update(read, read, steps, unit=UNIT) == ()
    noise = {name: 1e-6 * numbers(*array.shape, seed=8) for name, array in steps[0].after.items()}
    noisy = [
        dataclasses.replace(step, after={name: array + noise[name] for name, array in step.after.items()})
        for step in steps
    ]
    assert conclude(explain_update(read, read, noisy, unit=UNIT))[0].id == "unknown"
    single = [
        dataclasses.replace(
            step, after={**step.after, "dense.bias": step.after["dense.bias"] + np.array([0, 1e-9, 0, 0, 0])}
        )
        for step in steps
    ]
    assert conclude(explain_update(read, None, single, unit=UNIT))[0].id == "unknown"


def test_two_differences_of_optimizers_are_both_named():
    meant = OPTIMIZERS["adam"]
    did = changed(meant, epsilon=1e-4, epsilon_placement="uncorrected")
    tried = explain_update(meant, did, updates(did), unit=UNIT)
    found = {cause.id for cause, _ in conclusions(tried)}
    assert found == {"optimizer.epsilon", "optimizer.epsilon_placement"}


def test_large_parameters_are_tested_in_full():
    from dualml.parity.hypotheses.update_trials import UpdateStep

    parameters, gradients = {"w": numbers(90, 90)}, {"w": numbers(90, 90, seed=2)}
    after = {"w": ulp(parameters["w"] - 0.02 * gradients["w"])}
    step = UpdateStep(1, parameters, gradients, after, 0.01)
    read = read_optimizer(Sgd(), parameters=("w",))
    assert conclude(explain_update(read, None, [step], unit=UNIT))[0].id == "optimizer.lr"
    after["w"][1, 1] += 1e-9
    assert conclude(explain_update(read, None, [step], unit=UNIT))[0].id == "unknown"


def test_weights_that_nothing_explains_are_unknown():
    one = numbers(8, 6)
    shuffled = np.random.default_rng(0).permutation(one.ravel()).reshape(one.shape)
    noisy = one + 1e-3 * numbers(8, 6, seed=4)
    for other in (1.01 * one, -one, shuffled, noisy, one[::-1], np.where(one > 1, 0.0, one)):
        cause, _ = conclude(explain_weights(one, other, "kernel", "dense", unit=UNIT))
        assert cause.id == "unknown", cause.evidence
    assert explain_weights(one, one.copy(), "kernel", "dense", unit=UNIT) == ()


def test_inputs_that_nothing_explains_are_unknown():
    one = numbers(6, 4, 5, 3)
    for other in (np.sin(one), one + 1e-6 * numbers(6, 4, 5, 3, seed=3), np.abs(one)):
        assert conclude(explain_inputs(one, other, unit=UNIT))[0].id == "unknown"
    assert explain_inputs(one, one.copy(), unit=UNIT) == ()


def test_a_difference_that_both_sides_state_comes_first():
    stated = Tried("norm.epsilon", "stated", 1, 2, 9.0, 0.5, claimed=True)
    found = Tried("norm.axis", "found", 1, 2, 9.0, 0.1)
    cause, alternatives = conclude([found, stated])
    assert (cause.id, cause.confirmed, alternatives) == ("norm.epsilon", True, ())


def test_what_the_data_cannot_tell_apart_is_listed():
    one, two = Tried("norm.axis", "one", 1, 2, 9.0, 0.5), Tried("norm.epsilon", "two", 1, 2, 9.0, 0.1)
    three = Tried("norm.momentum", "three", 1, 2, 9.0, 8.0)
    cause, alternatives = conclude([three, one, two])
    assert (cause.id, alternatives) == ("norm.axis", ("norm.epsilon",))
    assert "1 other hypothesis" in cause.evidence
    assert "cannot tell" in cause.evidence


def test_what_fails_by_a_hair_is_unknown():
    cause, _ = conclude([Tried("norm.axis", "nearly", 1, 2, 9.0, 1.0001)])
    assert (cause.id, cause.confirmed) == ("unknown", False)
    assert "nearly" in cause.evidence


def test_every_cause_in_the_tables_is_known():
    assert {*BY_SETTING.values(), *BY_KIND.values()} <= set(MEANINGS)


def test_a_fix_is_given_for_both_frameworks():
    meant, said = node(BatchNorm(), IMAGE), node(BatchNorm(epsilon=1e-3), IMAGE)
    weights, x = weights_of(said), numbers(4, *IMAGE)
    recorded = ran(said, weights, x, training=True)
    tried = explain_forward(meant, said, weights, [x], recorded, training=True, unit=UNIT)
    assert conclude(tried)[0].fix == {
        "torch": "nn.BatchNorm2d(3, eps=0.001)",
        "tensorflow": "keras.layers.BatchNormalization(epsilon=1e-05)",
    }


def test_an_embedding_reads_its_rows():
    meant = node(Embedding(9, 4), (6,), integer=True)
    ids = np.arange(18).reshape(3, 6) % 9
    weights = weights_of(meant)
    wrong = ran(meant, weights, ids) * 2.0
    assert conclude(explain_forward(meant, meant, weights, [ids], wrong, training=False, unit=UNIT))[0].id == "unknown"


def test_a_difference_beside_float32_constants_is_still_found():
    from dualml.parity.hypotheses.update_trials import Rule, weights_after

    meant = OPTIMIZERS["adam"]
    did = changed(meant, epsilon=1e-4, epsilon_placement="uncorrected")
    steps = updates(did)
    rule = Rule(did.optimizer, single=frozenset({"rate", "corrections"}))
    for place in range(len(steps)):  # each step from the weights that the one before left
        after = weights_after(rule, steps[: place + 1])[place]
        steps[place] = dataclasses.replace(steps[place], after={name: ulp(array) for name, array in after.items()})
        if place + 1 < len(steps):
            steps[place + 1] = dataclasses.replace(steps[place + 1], parameters=steps[place].after)
    found = conclusions(explain_update(meant, did, steps, unit=UNIT))
    assert {cause.id for cause, _ in found} == {
        "optimizer.epsilon",
        "optimizer.epsilon_placement",
        "optimizer.hyperparameter_precision",
    }
    assert found[0][0].id != "optimizer.hyperparameter_precision"
