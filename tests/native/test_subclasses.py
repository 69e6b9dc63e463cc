"""How a user's subclass of a stock layer is seen: as its base class where it computes that, looked into where not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from dualml_tensorflow.native.model import TensorflowModel  # noqa: E402
from dualml_torch.native.model import TorchNativeModel  # noqa: E402
from keras import layers, ops  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import dualml  # noqa: E402
from dualml.native import inherited  # noqa: E402

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(6, 8)).astype(np.float32)
IMAGES = GENERATOR.normal(size=(6, 4, 5, 5)).astype(np.float32)
SEQUENCES = GENERATOR.normal(size=(6, 7, 8)).astype(np.float32)


def kinds(model, inputs, precision="float64"):
    model.start(precision)
    return {call.name: call for call in model.trace({"": inputs}).calls}


# ------------------------------------------------------------------ PyTorch


class Reversed(nn.Linear):
    def forward(self, x):
        return functional.linear(x.flip(-1), self.weight.flip(-1), self.bias)


class Louder(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 1.001


class HalfTransparent(nn.ReLU):
    def forward(self, x):
        y = super().forward(x)
        return 0.5 * y + 0.5 * y.detach()


class OverChannels(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Biased(nn.BatchNorm2d):
    def forward(self, x):
        if not self.training:
            return super().forward(x)
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, eps=self.eps)


class Fixed(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)


class Unscaled(nn.Dropout):
    def forward(self, x):
        return super().forward(x) * (1 - self.p) if self.training else x


def test_torch_the_same_by_other_code_is_one_call():
    calls = kinds(TorchNativeModel(nn.Sequential(Reversed(8, 3))), ROWS)
    (call,) = calls.values()
    assert (call.name, call.kind, call.native) == ("0", "dense", "Reversed")
    assert call.settings == {"units": 3, "bias": True}
    assert call.code == "class Reversed(nn.Linear)"


def test_another_gradient_is_charged_to_the_layer():
    (call,) = kinds(TorchNativeModel(nn.Sequential(HalfTransparent())), ROWS).values()
    assert (call.kind, call.settings) == ("activation", {"function": {"relu": {}}})
    (call,) = keras_calls(KerasHalfTransparent(name="act")).values()
    assert (call.name, call.kind, call.settings) == ("act", "activation", {"function": {"relu": {}}})


def test_torch_weights_of_a_subclass_are_laid_out_as_its_base_has_them():
    model = TorchNativeModel(nn.Sequential(Reversed(8, 3)))
    (call,) = kinds(model, ROWS).values()
    kernel = call.weights["kernel"]
    assert model.get_weights()[kernel].shape == (8, 3)
    model.set_weights({kernel: np.ones((8, 3))})
    values = model.forward({"": ROWS}, training=False).values
    bias = model.get_weights()[call.weights["bias"]]
    assert np.allclose(values[call.outputs[0]], ROWS.sum(-1, keepdims=True) + bias)


def test_torch_another_computation_is_looked_into():
    calls = kinds(TorchNativeModel(nn.Sequential(Louder(8, 3))), ROWS)
    assert [(call.name, call.kind) for call in calls.values()] == [("0.linear", "dense"), ("0.mul", "opaque")]
    calls = kinds(TorchNativeModel(nn.Sequential(OverChannels(4))), IMAGES)
    assert [call.kind for call in calls.values()] == ["permute", "layer_norm", "permute"]


@pytest.mark.parametrize(("layer", "settings"), [(Biased, {"variance": "biased"}), (Fixed, {"frozen": True})])
def test_torch_running_statistics_are_read_from_what_is_done(layer, settings):
    (call,) = kinds(TorchNativeModel(nn.Sequential(layer(4))), IMAGES).values()
    stated = {"variance": "unbiased", "frozen": False} | settings
    assert {name: call.settings[name] for name in stated} == stated


def test_torch_the_user_s_model_is_left_alone():
    model = nn.Sequential(Biased(4))
    kinds(TorchNativeModel(model), IMAGES)
    assert model[0].running_mean.eq(0).all()
    assert model[0].running_var.eq(1).all()


def test_torch_a_subclass_drops_what_it_is_told_by_its_own_code():
    model = TorchNativeModel(nn.Sequential(Unscaled(0.5)))
    (call,) = kinds(model, ROWS).values()
    assert call.kind == "dropout"
    mask = GENERATOR.random(ROWS.shape) < 0.5
    values = model.forward({"": ROWS}, training=True, masks={call.name: mask}).values
    assert np.allclose(values[call.outputs[0]], ROWS * mask)


def test_torch_decisions_are_those_of_the_first_precision():
    model = TorchNativeModel(nn.Sequential(Reversed(8, 3), Louder(3, 3)))
    assert list(kinds(model, ROWS)) == list(kinds(model, ROWS, "float32"))


@pytest.mark.parametrize(("count", "expected"), [(7, ["average"]), (6, ["sum", "other"])])
def test_torch_a_sum_divided_by_its_length_is_a_mean(count, expected):
    class Mean(nn.Module):
        def forward(self, x):
            return x.sum(dim=1) / count

    calls = kinds(TorchNativeModel(Mean()), SEQUENCES)
    found = [call.kind for call in calls.values()]
    assert found == (["global_average_pool"] if expected == ["average"] else ["opaque", found[-1]])
    assert len(found) == len(expected)


# ------------------------------------------------------------------ Keras


class KerasReversed(layers.Dense):
    def call(self, inputs):
        return ops.matmul(ops.flip(inputs, -1), ops.flip(self.kernel, 0)) + self.bias


class KerasLouder(layers.Dense):
    def call(self, inputs):
        return super().call(inputs) * 1.001


class KerasUnbiased(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        before = ops.copy(self.moving_variance)
        outputs = super().call(inputs, training=training, mask=mask)
        if training:
            count = np.prod(inputs.shape[:-1])
            kept = self.momentum * before
            self.moving_variance.assign(kept + (self.moving_variance - kept) * (count / (count - 1)))
        return outputs


class KerasFrozen(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


class HiddenEpsilon(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        said, self.epsilon = self.epsilon, 0.1
        try:
            return super().call(inputs, training=training, mask=mask)
        finally:
            self.epsilon = said


class KerasUnscaled(layers.Dropout):
    def call(self, inputs, training=False):
        return super().call(inputs, training=training) * (1 - self.rate) if training else inputs


class KerasHalfTransparent(layers.ReLU):
    def call(self, inputs):
        outputs = super().call(inputs)
        return 0.5 * outputs + 0.5 * ops.stop_gradient(outputs)


class AlwaysTraining(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


class Hooked(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - ops.mean(kernel))


class Scaled(layers.Layer):
    def call(self, inputs):
        return ops.tanh(inputs) * 2.0


def keras_calls(*made, inputs=ROWS):
    return kinds(TensorflowModel(keras.Sequential([keras.Input(inputs.shape[1:]), *made])), inputs)


LAST = np.moveaxis(IMAGES, 1, -1)


def test_keras_the_same_by_other_code_is_one_call():
    (call,) = keras_calls(KerasReversed(3, name="fc")).values()
    assert (call.name, call.kind, call.native) == ("fc", "dense", "KerasReversed")
    assert call.settings == {"units": 3, "bias": True}
    assert call.code == "class KerasReversed(Dense)"
    assert dict(call.weights) == {"kernel": "fc.kernel", "bias": "fc.bias"}


def test_keras_another_computation_is_looked_into_and_its_base_s_call_is_a_layer():
    calls = keras_calls(KerasLouder(3, name="fc"))
    assert [(call.name, call.kind) for call in calls.values()] == [("fc", "dense"), ("fc.mul", "multiply")]
    (call,) = keras_calls(HiddenEpsilon(name="norm"), inputs=LAST).values()
    assert (call.kind, call.settings["epsilon"]) == ("batch_norm", 0.1)


def test_keras_a_fused_activation_of_a_base_s_call_is_a_call():
    calls = keras_calls(KerasLouder(3, activation="relu", name="fc"))
    assert [call.name for call in calls.values()] == ["fc", "fc.activation", "fc.mul"]


def test_keras_what_a_base_s_call_uses_may_not_be_replaced():
    calls = keras_calls(Hooked(3, 2, name="conv"), inputs=LAST)
    assert "conv" not in calls


@pytest.mark.parametrize(
    ("layer", "settings"), [(KerasUnbiased, {"variance": "unbiased"}), (KerasFrozen, {"frozen": True})]
)
def test_keras_running_statistics_are_read_from_what_is_done(layer, settings):
    (call,) = keras_calls(layer(name="norm"), inputs=LAST).values()
    stated = {"variance": "biased", "frozen": False} | settings
    assert {name: call.settings[name] for name in stated} == stated


def test_keras_a_subclass_drops_what_it_is_told_by_its_own_code():
    model = TensorflowModel(keras.Sequential([keras.Input((8,)), KerasUnscaled(0.5)]))
    (call,) = kinds(model, ROWS).values()
    mask = GENERATOR.random(ROWS.shape) < 0.5
    values = model.forward({"": ROWS}, training=True, masks={call.name: mask}).values
    assert np.allclose(values[call.outputs[0]], ROWS * mask)
    assert np.allclose(model.call(call.name, [ROWS.astype(float)], training=True, mask=mask)[0], ROWS * mask)


def test_keras_functions_are_named_by_the_layer_whose_code_calls_them():
    calls = keras_calls(Scaled(name="activation"), layers.Dense(2, name="head"), Scaled(name="last"))
    assert list(calls) == ["activation.tanh", "activation.mul", "head", "last.tanh", "last.mul"]


def test_keras_a_trace_changes_no_buffer():
    model = TensorflowModel(keras.Sequential([keras.Input(LAST.shape[1:]), AlwaysTraining(name="norm")]))
    (call,) = kinds(model, LAST).values()
    assert not model.get_weights()[call.weights["running_mean"]].any()


def test_keras_classes_are_what_they_were():
    before = layers.Dense.call, layers.Conv2D.call
    keras_calls(KerasLouder(3))
    assert (layers.Dense.call, layers.Conv2D.call) == before
    assert "call" not in vars(layers.Conv2D)


# ------------------------------------------------------------------ both


def test_running_statistics_agree_where_a_subclass_does_what_the_other_framework_does():
    torch_model = nn.Sequential(nn.BatchNorm2d(4))
    keras_model = keras.Sequential([keras.Input((5, 5, 4)), KerasUnbiased(epsilon=1e-5, momentum=0.9)])
    for left, right in ((torch_model, keras_model), (keras_model, torch_model)):
        inputs = IMAGES if left is torch_model else LAST
        other = LAST if left is torch_model else IMAGES
        report = dualml.diff(left, right, inputs, right_inputs=other, steps=1)
        assert report.verdict == "equal", report.reasons


def test_alike_is_up_to_rounding():
    one = GENERATOR.normal(size=(50,))
    assert inherited.alike([one], [one + 1e-15])
    assert not inherited.alike([one], [one * (1 + 1e-5)])
    assert not inherited.alike([one], [one[:-1]])
    assert not inherited.alike([one], [np.where(one > 2, np.nan, one)]) or not (one > 2).any()
