"""``dualml.diff`` on losses and optimizers: found on their own rung, named, and silent where they must be."""

import diff_pairs as pairs
import keras
import numpy as np
import pytest
import torch
from torch import nn

import dualml


@pytest.fixture
def sides():
    left = pairs.torch_mlp()
    return left, pairs.ported(left, pairs.keras_mlp())


def test_the_place_of_adams_epsilon_is_a_difference(sides):
    left, right = sides
    report = dualml.diff(
        dualml.Trainable(left, nn.CrossEntropyLoss(), torch.optim.Adam(left.parameters(), lr=0.01, eps=1e-7)),
        pairs.keras_side(right, optimizer=keras.optimizers.Adam(0.01, epsilon=1e-7)),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert pairs.causes(report) == ["optimizer.epsilon_placement"]
    assert report.first_divergence["phase"] == "update"


def test_a_wrong_epsilon_of_one_optimizer_is_named(sides):
    left, _ = sides
    right = pairs.torch_mlp()
    made = [
        dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=0.01, eps=eps))
        for model, eps in ((left, 1e-8), (right, 1e-5))
    ]
    report = dualml.diff(*made, pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["optimizer.epsilon"]
    assert report.cause.confirmed
    assert (report.cause.left, report.cause.right) == (1e-8, 1e-5)


@pytest.mark.parametrize(("lr", "cause"), [(0.2, "optimizer.lr"), (0.1, None)])
def test_a_wrong_rate_is_named(sides, lr, cause):
    left, right = sides
    report = dualml.diff(
        pairs.torch_side(left),
        pairs.keras_side(right, optimizer=keras.optimizers.SGD(lr)),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert pairs.causes(report) == ([cause] if cause else [])


def test_a_rate_inside_the_momentum_is_silent_as_long_as_it_stays(sides):
    left, right = sides
    report = dualml.diff(
        pairs.torch_side(left, momentum=0.9),
        pairs.keras_side(right, optimizer=keras.optimizers.SGD(0.1, momentum=0.9)),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert report.verdict == "equal"
    assert any("optimizer.lr_inside_momentum" in note for note in report.coverage["notes"])


def test_the_sum_in_place_of_the_mean_is_named(sides):
    left, _ = sides
    report = dualml.diff(
        pairs.torch_side(left),
        pairs.torch_side(pairs.torch_mlp(), nn.CrossEntropyLoss(reduction="sum")),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert report.first_divergence["phase"] == "loss"
    assert pairs.causes(report) == ["loss.reduction"]


def test_a_softmax_inside_the_model_belongs_to_its_loss():
    left = pairs.torch_mlp()
    right = pairs.ported(left, pairs.keras_mlp())
    right = keras.Sequential([*right.layers, keras.layers.Softmax()])
    right.build((None, 6))
    report = dualml.diff(
        pairs.torch_side(left),
        pairs.keras_side(right, keras.losses.SparseCategoricalCrossentropy()),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert (report.verdict, pairs.causes(report)) == ("equal", [])


def test_a_frozen_layer_is_found():
    left, right = pairs.torch_mlp(), pairs.torch_mlp()
    right[0].requires_grad_(False)
    report = dualml.diff(pairs.torch_side(left), pairs.torch_side(right), pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["parameters.frozen"]
    assert report.first_divergence["node"] == "_0"


def test_targets_are_turned_into_the_form_each_loss_takes(sides):
    left, right = sides
    report = dualml.diff(
        pairs.torch_side(left),
        pairs.keras_side(right, keras.losses.CategoricalCrossentropy(from_logits=True)),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert report.verdict == "equal"
    hot = np.eye(3)[pairs.CLASSES]
    assert dualml.diff(pairs.torch_side(left), pairs.keras_side(right), pairs.BATCH, hot).verdict == "equal"
