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
    assert report.cause.fix == {"torch": "torch.optim.Adam(..., eps=1e-08)"}


def test_a_difference_below_float32_is_no_doubt_where_both_sides_do_what_they_say():
    models = [pairs.torch_mlp() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    made = [
        dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), betas=(0.9, beta2)))
        for model, beta2 in zip(models, (0.999, 0.99900001), strict=True)
    ]
    report = dualml.diff(*made, pairs.BATCH, pairs.CLASSES)
    assert (report.verdict, pairs.causes(report)) == ("different", ["optimizer.betas"])


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


class NeverZeroed(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            total = self.state[parameter].setdefault("total", torch.zeros_like(parameter))
            parameter.grad.copy_(total.add_(parameter.grad))
        super().step(closure)


class HalfOfTheFirst(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return 0.5 * y + 0.5 * y.detach()


def test_gradients_that_are_never_zeroed_are_named(sides):
    right = pairs.torch_mlp()
    wrong = dualml.Trainable(right, nn.CrossEntropyLoss(), NeverZeroed(right.parameters(), lr=0.1))
    report = dualml.diff(pairs.torch_side(sides[0]), wrong, pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["gradients.accumulated"]
    assert (report.first_divergence["step"], report.first_divergence["phase"]) == (2, "update")


@pytest.mark.parametrize("left_first", [True, False])
def test_an_update_for_every_other_gradient_is_not_a_frozen_model(sides, left_first):
    right = pairs.keras_side(sides[1], optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    both = [pairs.torch_side(sides[0]), right]
    report = dualml.diff(*(both if left_first else both[::-1]), pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert pairs.causes(report) == ["gradients.accumulated"]


def test_gathering_gradients_on_both_sides_is_no_difference():
    both = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2)
        both.append(pairs.keras_side(pairs.keras_mlp(), optimizer=optimizer))
    report = dualml.diff(*both, pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert (report.verdict, pairs.causes(report)) == ("equal", [])


def test_half_the_gradient_of_one_layer_is_no_mean_over_pieces(sides):
    right = pairs.torch_mlp()
    halved = HalfOfTheFirst(6, 5)
    halved.load_state_dict(right[0].state_dict())
    right[0] = halved
    report = dualml.diff(pairs.torch_side(sides[0]), pairs.torch_side(right), pairs.BATCH, pairs.CLASSES)
    assert set(pairs.causes(report)) == {"unknown"}


def test_another_optimizer_with_a_rate_of_its_own_is_one_difference(sides):
    right = pairs.keras_side(sides[1], optimizer=keras.optimizers.Adam(0.01))
    report = dualml.diff(pairs.torch_side(sides[0]), right, pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert pairs.causes(report) == ["optimizer.kind"]


def test_nadam_for_adam_is_named_in_keras():
    both = []
    for kind in (keras.optimizers.Adam, keras.optimizers.Nadam):
        keras.utils.set_random_seed(0)
        both.append(pairs.keras_side(pairs.keras_mlp(), optimizer=kind(0.01)))
    report = dualml.diff(*both, pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert pairs.causes(report) == ["optimizer.kind"]


def test_memory_before_the_first_update_is_compared(sides):
    models = sides[0], pairs.torch_mlp()
    both = [
        dualml.Trainable(
            model, nn.CrossEntropyLoss(), torch.optim.Adagrad(model.parameters(), 0.1, initial_accumulator_value=start)
        )
        for model, start in zip(models, (0.0, 0.1), strict=True)
    ]
    report = dualml.diff(*both, pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["optimizer.initial_accumulator"]
    assert (report.first_divergence["step"], report.first_divergence["phase"]) == (0, "state")
    assert (report.cause.left, report.cause.right) == (0.0, 0.1)


def test_ids_of_another_vocabulary_are_an_input_of_their_own():
    ids = np.random.default_rng(0).integers(0, 9, (8, 5))
    both = []
    for _ in range(2):
        torch.manual_seed(0)
        both.append(nn.Sequential(nn.Embedding(12, 4), nn.Flatten(), nn.Linear(20, 3)))
    report = dualml.diff(*both, left_inputs=ids, right_inputs=(ids + 1) % 12)
    assert pairs.causes(report)[0] == "input.preprocessing"


def test_settings_left_to_defaults_are_said(sides):
    report = dualml.diff(pairs.torch_side(sides[0], lr=0.1), pairs.keras_side(sides[1]), pairs.BATCH, pairs.CLASSES)
    unsaid = {name: told for name, _, _, told in report.native.configurations}
    assert unsaid["optimizer.momentum"] == "left and right"
    assert unsaid["loss.label_smoothing"] == "left"
    assert unsaid["optimizer.lr"] == ""


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


def over_a_full_batch(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="sum") / 32


def weighted(y_true, y_pred):
    weights = keras.ops.take(keras.ops.cast([1.0, 2.0, 0.5], y_pred.dtype), y_true)
    each = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
    return keras.ops.mean(weights * each)


def likelihood(outputs, targets):
    return -outputs.gather(1, targets[:, None]).log().mean()


def clipped_likelihood(outputs, targets):
    return -outputs.gather(1, targets[:, None]).clamp(1e-7, 1 - 1e-7).log().mean()


def squared(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none").square().mean()


OWN_LOSSES = {
    "divided_by_a_constant": (over_a_full_batch, None, "loss.reduction"),
    "sum_in_keras": (None, keras.losses.SparseCategoricalCrossentropy(True, reduction="sum"), "loss.reduction"),
    "weighed": (None, weighted, "loss.class_weights"),
    "no_formula_at_all": (squared, None, "unknown"),
    "never_normalised": (nn.NLLLoss(), None, "loss.from_logits"),
}


@pytest.mark.parametrize("left_first", [True, False])
@pytest.mark.parametrize("name", OWN_LOSSES)
def test_a_loss_of_the_users_own_is_explained_on_either_side(sides, name, left_first):
    torch_loss, keras_loss, cause = OWN_LOSSES[name]
    both = [pairs.torch_side(sides[0], torch_loss), pairs.keras_side(sides[1], keras_loss)]
    report = dualml.diff(*(both if left_first else both[::-1]), pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert (pairs.causes(report), report.first_divergence["phase"]) == ([cause], "loss")


@pytest.mark.parametrize("losses", [(likelihood, clipped_likelihood), (clipped_likelihood, likelihood)])
def test_two_losses_of_the_users_own_are_told_apart_by_what_they_give(losses):
    made = []
    for loss in losses:  # so sure of themselves that float32 has no logarithm of what is left: NaN in the gradients
        model = nn.Sequential(*pairs.torch_mlp(), nn.Softmax(-1))
        model[2].weight.data *= 400
        made.append(pairs.torch_side(model, loss))
    report = dualml.diff(*made, pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["loss.clipping"]
    assert report.cause.confirmed


def regularized(factor, *, bias=None):
    keras.utils.set_random_seed(0)
    kernel, bias = keras.regularizers.L2(factor), bias and keras.regularizers.L2(bias)
    hidden = keras.layers.Dense(5, "relu", name="hidden", kernel_regularizer=kernel, bias_regularizer=bias)
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3)])
    hidden.bias.assign(np.linspace(-1, 1, 5))
    return pairs.keras_side(model)


@pytest.mark.parametrize(
    ("right", "cause"),
    [
        ({"factor": 0.02}, None),
        ({"factor": 0.01}, "regulariser.factor"),
        ({"factor": 0.020001}, "regulariser.factor"),
        ({"factor": 0.02, "bias": 0.02}, "regulariser.scope"),
    ],
)
def test_a_regularizer_is_a_penalty_of_what_is_minimised(right, cause):
    report = dualml.diff(regularized(0.02), regularized(**right), pairs.BATCH.astype("float32"), pairs.CLASSES)
    assert pairs.causes(report) == ([cause] if cause else [])
    if cause:
        first = report.native.findings[0]
        assert (first.node, first.phase, first.cause.confirmed) == ("hidden", "loss", True)


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


def test_a_softmax_before_a_loss_of_logits_is_one_too_many():
    right = nn.Sequential(*pairs.torch_mlp(), nn.Softmax(-1))
    report = dualml.diff(pairs.torch_side(pairs.torch_mlp()), pairs.torch_side(right), pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report)[0] == "softmax.double"


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
