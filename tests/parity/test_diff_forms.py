"""Weights that two models hold in other forms: compared as what they mean, and trained alike or not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from torch import nn  # noqa: E402

import dualml  # noqa: E402

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = getattr(nn, kind)(3, 6, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0][:, -1]


def in_torch(kind, frozen=()):
    model = Recurrent(kind)
    for name in frozen:
        getattr(model.rnn, name).requires_grad_(False)
    return model


def in_keras(kind):
    return keras.Sequential([keras.Input((5, 3)), getattr(keras.layers, kind)(6, name="rnn")])


GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}  # PyTorch's GRU has r, z, n, Keras' z, r, n


def neutral(kind, seed=2):
    """Kernels and two biases, gates in Keras' order."""
    columns = 6 * len(GATES[kind])
    random = np.random.default_rng(seed)
    shapes = {"kernel": (3, columns), "recurrent": (6, columns), "b": (columns,), "c": (columns,)}
    return {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def give_torch(model, kind, kernel, recurrent, b, c):
    def ordered(array):
        parts = np.split(array, len(GATES[kind]), axis=-1)
        return torch.tensor(np.concatenate([parts[place] for place in GATES[kind]], axis=-1).T.copy())

    with torch.no_grad():
        arrays = {"weight_ih": kernel, "weight_hh": recurrent, "bias_ih": b, "bias_hh": c}
        for name, array in arrays.items():
            getattr(model.rnn, f"{name}_l0").copy_(ordered(array))
    return model


def diff(left, right, **more):
    def whole(model):
        if isinstance(model, nn.Module):
            own = [item for item in model.parameters() if item.requires_grad]
            return dualml.Trainable(model, nn.MSELoss(), torch.optim.SGD(own, lr=0.1))
        return dualml.Trainable(model, keras.losses.MeanSquaredError(), keras.optimizers.SGD(0.1))

    return dualml.diff(whole(left), whole(right), X, Y, weights="compare", steps=1, **more)


def causes(report):
    return [(item.cause.id, item.phase) for item in report.native.findings]


def gru(b, c, stacked):
    """A torch and a Keras model: biases ``b`` and ``c`` there, ``stacked`` here."""
    own = neutral("GRU")
    left = give_torch(in_torch("GRU"), "GRU", own["kernel"], own["recurrent"], b(own), c(own))
    right = in_keras("GRU")
    right.layers[0].set_weights([own["kernel"], own["recurrent"], np.stack(stacked(own))])
    return left, right


def test_the_biases_of_a_gru_are_the_rows_of_keras_one():
    report = diff(*gru(lambda w: w["b"], lambda w: w["c"], lambda w: (w["b"], w["c"])))
    assert report.verdict == "equal", report.reasons
    told = {(left, right): how for left, right, how in report.native.matched}
    assert told["rnn.bias", "rnn.bias"] == "row 0 of the stacked biases"
    assert told["rnn.recurrent_bias", "rnn.bias"] == "row 1 of the stacked biases"
    assert report.native.unmatched == ()


@pytest.mark.parametrize("turned", [False, True])
def test_a_recurrent_bias_that_was_left_out_is_found(turned):
    pair = gru(lambda w: w["b"], lambda w: w["c"], lambda w: (w["b"], 0 * w["c"]))
    report = diff(*pair[::-1] if turned else pair)
    assert causes(report) == [("layout.rnn_bias", "init")]


def test_both_biases_summed_into_the_first_are_found():
    report = diff(*gru(lambda w: w["b"], lambda w: w["c"], lambda w: (w["b"] + w["c"], 0 * w["c"])))
    assert causes(report) == [("layout.rnn_bias", "init")]


def lstm(b, c, single, frozen):
    own = neutral("LSTM")
    left = give_torch(in_torch("LSTM", frozen), "LSTM", own["kernel"], own["recurrent"], b(own), c(own))
    right = in_keras("LSTM")
    right.layers[0].set_weights([own["kernel"], own["recurrent"], single(own)])
    return left, right


@pytest.mark.parametrize("turned", [False, True])
def test_a_sum_may_be_shared_out_in_any_way(turned):
    pair = lstm(lambda w: w["b"] / 2, lambda w: w["b"] / 2, lambda w: w["b"], ["bias_hh_l0"])
    report = diff(*pair[::-1] if turned else pair)
    assert report.verdict == "equal", (causes(report), report.reasons)


@pytest.mark.parametrize("turned", [False, True])
def test_two_trained_biases_learn_twice_as_fast(turned):
    pair = lstm(lambda w: w["b"], lambda w: 0 * w["b"], lambda w: w["b"], [])
    report = diff(*pair[::-1] if turned else pair)
    assert causes(report) == [("layout.rnn_bias", "backward")]
    assert report.native.findings[0].cause.confirmed
    assert "2:1" in report.native.findings[0].cause.evidence or "1:2" in report.native.findings[0].cause.evidence


def test_another_sum_is_found():
    report = diff(*lstm(lambda w: w["b"], lambda w: w["c"], lambda w: w["b"], ["bias_hh_l0"]))
    assert [phase for _, phase in causes(report)] == ["init"]


def dense(bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 6, bias=bias))
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(-1, 1, 90).reshape(6, 15))
        if bias:
            model[1].bias.zero_()
    return model


@pytest.mark.parametrize("biases", [(True, False), (False, True)])
def test_a_bias_of_zero_that_only_one_side_trains_is_found(biases):
    report = diff(*map(dense, biases))
    assert [item.phase for item in report.native.findings] == ["backward"]
    side = ("left", "right")[biases.index(True)]
    assert any(sentence.startswith(f"the {side} weight") for sentence in report.native.unmatched)


def test_a_bias_that_only_one_side_has_and_that_is_not_zero_is_found():
    left, right = dense(False), dense(True)
    with torch.no_grad():
        right[1].bias.fill_(0.5)
    assert causes(diff(left, right))[0][1] == "init"


def test_examples_may_be_along_the_second_axis():
    def model():
        torch.manual_seed(0)
        return MeanOverTime()

    report = dualml.diff(model(), model(), X.transpose(1, 0, 2))
    assert report.verdict == "equal", report.reasons


class MeanOverTime(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 6)

    def forward(self, x):
        return self.rnn(x)[0].mean(0)
