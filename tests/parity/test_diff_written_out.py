"""One layer on one side, and on the other the operations that somebody wrote out for it."""

import keras
import numpy as np
import pytest
import torch
from diff_pairs import BATCH, IMAGES, causes, keras_mlp, ported, torch_conv, torch_mlp
from keras import layers, ops
from torch import nn
from torch.nn import functional

import dualml

SEQUENCES = np.random.default_rng(3).normal(size=(5, 4, 4))


class OldHardSigmoid(nn.Module):
    def forward(self, x):
        return (0.2 * x + 0.5).clamp(0, 1)


class KerasHardSigmoid(layers.Layer):
    def call(self, x):
        return ops.clip(x + 3.0, 0.0, 6.0) / 6.0


class KerasOldHardSigmoid(layers.Layer):
    def call(self, x):
        return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


class Reflecting(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, self.bias)


class AcrossRows(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class AcrossPositions(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class LosesLast(nn.Conv2d):
    def forward(self, x):
        return super().forward(torch.cat([x[:, :-1], torch.zeros_like(x[:, -1:])], dim=1))


class HalfTransparent(nn.ReLU):
    def forward(self, x):
        y = super().forward(x)
        return 0.5 * y + 0.5 * y.detach()


class HiddenEpsilon(nn.BatchNorm2d):
    def forward(self, x):
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, 1e-3
        )


class Attention(nn.Module):
    """Self-attention of two heads, written out."""

    def __init__(self, scale=None):
        super().__init__()
        self.scale = scale
        self.query, self.key, self.value, self.out = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        def heads(y):
            return y.view(*y.shape[:2], 2, 2).transpose(1, 2)

        parts = (heads(item(x)) for item in (self.query, self.key, self.value))
        y = functional.scaled_dot_product_attention(*parts, scale=self.scale)
        return self.out(y.transpose(1, 2).reshape(x.shape))


def with_weights(model, like):
    model.load_state_dict(like.state_dict())
    return model


def mlp(activation):
    return with_weights(nn.Sequential(nn.Linear(6, 5), activation, nn.Linear(5, 3)), torch_mlp())


def only(report, cause):
    """The one finding of a report, if it is the cause; ``None`` is for a report without findings."""
    assert causes(report) == [cause], [finding.cause.evidence for finding in report.native.findings]
    finding = report.native.findings[0]
    assert finding.cause.confirmed
    return finding


@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_of_another_formula_is_named_where_it_is(turned):
    sides = mlp(nn.Hardsigmoid()), mlp(OldHardSigmoid())
    finding = only(dualml.diff(*sides[:: -1 if turned else 1], BATCH), "activation.hard_sigmoid")
    assert finding.phase == "forward"
    old = finding.cause.left if turned else finding.cause.right
    assert old == "clip(0.2 x + 0.5, 0, 1)"
    assert any(name.startswith("1.mul") for name in finding.names)


@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_written_out_in_the_other_framework(turned):
    left = mlp(nn.Hardsigmoid())
    dense = keras_mlp()
    right = keras.Sequential([keras.Input((6,)), layers.Dense(5), KerasOldHardSigmoid(), layers.Dense(3)])
    ported(left, dense)
    right.set_weights(dense.get_weights())
    sides = (left, right)[:: -1 if turned else 1]
    only(dualml.diff(*sides, BATCH), "activation.hard_sigmoid")


@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_written_out_by_the_same_formula_is_no_fault(turned):
    left = keras.Sequential([keras.Input((6,)), layers.Dense(5), layers.Activation("hard_sigmoid"), layers.Dense(3)])
    right = keras.Sequential([keras.Input((6,)), layers.Dense(5), KerasHardSigmoid(), layers.Dense(3)])
    right.set_weights(left.get_weights())
    report = dualml.diff(*(left, right)[:: -1 if turned else 1], BATCH)
    assert causes(report) == []


@pytest.mark.parametrize("turned", [False, True])
def test_padding_written_before_a_convolution(turned):
    left = torch_conv()
    right = torch_conv()
    right[0] = with_weights(Reflecting(2, 4, 3), left[0])
    with_weights(right, left)
    finding = only(dualml.diff(*(left, right)[:: -1 if turned else 1], IMAGES), "padding.mode")
    assert finding.node.startswith("_0")


@pytest.mark.parametrize("turned", [False, True])
def test_a_norm_between_two_transpositions(turned):
    def model(norm):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 4), norm(4), nn.ReLU(), nn.Linear(4, 4))

    sides = model(nn.LayerNorm), model(AcrossPositions)
    only(dualml.diff(*sides[:: -1 if turned else 1], SEQUENCES), "norm.axis")


@pytest.mark.parametrize("turned", [False, True])
def test_the_channels_of_a_batch_norm_taken_from_the_rows(turned):
    def model(norm):
        torch.manual_seed(0)
        found = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), norm(6), nn.ReLU(), nn.Conv2d(6, 2, 1))
        nn.init.uniform_(found[1].weight, 0.5, 1.5)
        return found

    sides = model(nn.BatchNorm2d), model(AcrossRows)
    only(dualml.diff(*sides[:: -1 if turned else 1], IMAGES), "norm.axis")


@pytest.mark.parametrize("turned", [False, True])
def test_a_keras_norm_along_another_axis(turned):
    def model(axis):
        return keras.Sequential(
            [keras.Input((6, 6, 2)), layers.Conv2D(6, 1), layers.BatchNormalization(axis=axis), layers.ReLU()]
        )

    left, right = model(-1), model(1)
    right.set_weights(left.get_weights())
    only(dualml.diff(*(left, right)[:: -1 if turned else 1], IMAGES.transpose(0, 2, 3, 1)), "norm.axis")


@pytest.mark.parametrize(("scale", "said"), [(1.0, "1"), (0.7005, "0.7005")])
@pytest.mark.parametrize("turned", [False, True])
def test_the_scale_of_attention_written_out(turned, scale, said):
    torch.manual_seed(0)
    wrong = Attention(scale)
    stock = nn.MultiheadAttention(4, 2, batch_first=True)
    parts = [wrong.query, wrong.key, wrong.value]
    with torch.no_grad():
        stock.in_proj_weight.copy_(torch.cat([item.weight for item in parts]))
        stock.in_proj_bias.copy_(torch.cat([item.bias for item in parts]))
        stock.out_proj.weight.copy_(wrong.out.weight)
        stock.out_proj.bias.copy_(wrong.out.bias)

    class Stock(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = stock

        def forward(self, x):
            return self.inner(x, x, x, need_weights=False)[0]

    finding = only(dualml.diff(*(Stock(), wrong)[:: -1 if turned else 1], SEQUENCES), "attention.scale")
    assert (finding.cause.left if turned else finding.cause.right) == said


@pytest.mark.parametrize("turned", [False, True])
def test_a_momentum_whose_meaning_was_mistaken_is_read_on_either_side(turned):
    left, right = torch_conv(momentum=0.9), torch_conv(momentum=0.1)
    report = dualml.diff(*(left, right)[:: -1 if turned else 1], IMAGES)
    only(report, "norm.momentum")
    cause = report.native.findings[0].cause
    assert sorted([cause.left, cause.right]) == pytest.approx([0.1, 0.9])


def test_a_value_that_no_other_layer_makes_is_no_other_order():
    left, right = torch_conv(), torch_conv()
    right[0] = LosesLast(2, 4, 3, padding=1)
    report = dualml.diff(left, with_weights(right, left), IMAGES)
    assert set(causes(report)) == {"unknown"}


def test_half_of_a_gradient_on_its_way_through_a_layer_is_no_accumulation():
    report = dualml.diff(mlp(nn.ReLU()), mlp(HalfTransparent()), BATCH)
    finding = report.native.findings[0]
    assert (finding.phase, finding.node) == ("backward", "_1")
    assert causes(report) == ["unknown"]


@pytest.mark.parametrize("kind", [HiddenEpsilon, AcrossRows])
def test_the_same_subclass_on_both_sides_is_no_fault(kind):
    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), kind(6), nn.ReLU(), nn.Conv2d(6, 2, 1))

    assert dualml.diff(model(), model(), IMAGES).verdict == "equal"


def test_the_same_gradient_of_its_own_on_both_sides_is_no_fault():
    assert dualml.diff(mlp(HalfTransparent()), mlp(HalfTransparent()), BATCH).verdict == "equal"


def test_settings_of_which_one_has_no_name_are_unknown_together():
    left, right = torch_conv(), torch_conv()
    right[0] = nn.Conv2d(2, 4, 3, padding=2, dilation=2)
    report = dualml.diff(left, with_weights(right, left), IMAGES)
    assert causes(report) == ["unknown"]
    evidence = report.native.findings[0].cause.evidence
    assert "dilation" in evidence
    assert "padding" in evidence
