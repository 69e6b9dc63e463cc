"""The TensorFlow adapter's values and gradients, judged by NumPy formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import dualml
from dualml.protocol import Batch

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from tensorflow_support import CLASSES, EXACT, build, data, mlp


def softplus_with(beta, threshold):
    def function(x):
        return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)

    def slope(x):
        return np.where(beta * x > threshold, 1.0, 1 / (1 + np.exp(-beta * x)))

    return function, slope


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


_erf = np.vectorize(math.erf)
_C = math.sqrt(2 / math.pi)


def _tanh_gelu_slope(x):
    t = np.tanh(_C * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * _C * (1 + 3 * 0.044715 * x**2)


FUNCTIONS = {
    "relu": ("relu", lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "tanh": ("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": ("sigmoid", _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "silu": ("silu", lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x))),
    "gelu": (
        "gelu",
        lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
        lambda x: (1 + _erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": ({"gelu": "tanh"}, lambda x: x * (1 + np.tanh(_C * (x + 0.044715 * x**3))) / 2, _tanh_gelu_slope),
    "leaky_relu": ({"leaky_relu": 0.01}, lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
    "elu": (
        {"elu": 0.3},
        lambda x: np.where(x > 0, x, 0.3 * np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1, 0.3 * np.exp(np.minimum(x, 0))),
    ),
    "softplus": ("softplus", *softplus_with(1.0, np.inf)),
    "softplus_beta": ({"softplus": {"beta": 0.7}}, *softplus_with(0.7, np.inf)),
    "softplus_threshold": ({"softplus": {"threshold": 2.0}}, *softplus_with(1.0, 2.0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_in_float64(name):
    settings, function, slope = FUNCTIONS[name]
    x = np.linspace(-9.0, 9.0, 401)[None]  # holds 0
    spec = mlp(layers=[dualml.Activation(settings, name="f")], size=x.size, loss="mse")
    net = build(spec)
    np.testing.assert_allclose(net.forward(x)["f"], function(x), rtol=1e-14, atol=4e-15)
    targets = function(x) - x.size / 2  # makes the loss's slope for each output exactly 1, up to rounding
    found = net.gradients(Batch(x, targets), spec.resolved.loss, taps=["input", "f"])
    at_kink = np.isclose(x, 0) if name in {"leaky_relu", "elu"} else np.zeros_like(x, bool)
    weight = found.values_gradients["f"]
    np.testing.assert_allclose(weight, np.ones_like(x), rtol=1e-13)
    want = np.where(at_kink, found.values_gradients["input"], slope(x) * weight)
    np.testing.assert_allclose(found.values_gradients["input"], want, rtol=1e-13, atol=4e-14)  # 1 - tanh^2 cancels


def test_softmax_activation_and_predictions():
    spec = mlp()
    net = build(spec)
    batch = data(spec, 6)
    logits = net.forward(batch.inputs)["dense_2"]
    want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(net.predict(batch.inputs), want, **EXACT)
    spec = mlp(loss="mse")
    net = build(spec)
    np.testing.assert_array_equal(net.predict(batch.inputs), net.forward(batch.inputs)["dense_2"])
    spec = mlp(layers=[dualml.Activation("softmax", name="p")], size=CLASSES, loss="mse")
    np.testing.assert_allclose(build(spec).forward(logits)["p"], want, **EXACT)


def numpy_cross_entropy(z, y, smoothing):
    """Mean over the inner positions, then the mean over examples; and its gradient."""
    shifted = z - z.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    q = (1 - smoothing) * np.eye(z.shape[-1])[y] + smoothing / z.shape[-1]
    positions = -(q * log_p).sum(-1)
    inner = math.prod(positions.shape[1:])
    losses = positions.reshape(len(z), -1).mean(1)
    return losses, (np.exp(log_p) - q) / (inner * len(z))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=str)
def test_cross_entropy(shape, smoothing):
    loss = dualml.CrossEntropy(label_smoothing=smoothing)
    spec = mlp(layers=[dualml.Activation({"leaky_relu": 1.0}, name="same")], size=shape, loss=loss)
    batch = data(spec, 6)
    found = build(spec).gradients(batch, loss, taps=["same"])
    losses, slope = numpy_cross_entropy(batch.inputs, batch.targets, smoothing)
    np.testing.assert_allclose(found.example_losses, losses, **EXACT)
    np.testing.assert_allclose(found.loss, losses.mean(), **EXACT)
    np.testing.assert_allclose(found.values_gradients["same"], slope, **EXACT)


def test_gradients_taps_and_count():
    spec = mlp(loss="mse")
    net = build(spec)
    batch = data(spec, 6)
    w = net.get_weights()
    taps = ["input", "dense_1", "dense_1_relu", "dense_2"]
    found = net.gradients(batch, spec.resolved.loss, taps=taps, count=24)
    a = batch.inputs @ w["dense_1.kernel"] + w["dense_1.bias"]
    h = np.maximum(a, 0)
    y = h @ w["dense_2.kernel"] + w["dense_2.bias"]
    dy = 2 * (y - batch.targets) / CLASSES / 24
    dh = dy @ w["dense_2.kernel"].T
    da = dh * (a > 0)
    want = {"dense_1.kernel": batch.inputs.T @ da, "dense_1.bias": da.sum(0)}
    want |= {"dense_2.kernel": h.T @ dy, "dense_2.bias": dy.sum(0)}
    assert list(found.parameters) == list(want)
    for name in want:
        np.testing.assert_allclose(found.parameters[name], want[name], err_msg=name, **EXACT)
    for name, value, slope in zip(taps, (batch.inputs, a, h, y), (da @ w["dense_1.kernel"].T, da, dh, dy), strict=True):
        np.testing.assert_allclose(found.values[name], value, err_msg=name, **EXACT)
        np.testing.assert_allclose(found.values_gradients[name], slope, err_msg=name, **EXACT)
    np.testing.assert_allclose(found.example_losses, ((y - batch.targets) ** 2).mean(1), **EXACT)
    np.testing.assert_allclose(found.loss, found.example_losses.sum() / 24, **EXACT)
    for name, value in net.forward(batch.inputs, taps=taps).items():
        np.testing.assert_allclose(value, found.values[name], err_msg=name, **EXACT)


def test_graph_of_branches():
    layers = [
        dualml.Dense(6, name="a"),
        dualml.Dense(6, name="b", inputs="input"),
        dualml.Add(inputs=["a", "b", "a"], name="sum"),
        dualml.Reshape((3, -1), name="grid"),
        dualml.Concat(0, inputs=["grid", "grid"], name="rows"),
        dualml.Concat(-1, inputs=["rows", "rows"], name="columns"),
        dualml.Flatten(name="flat"),
    ]
    spec = mlp(layers=layers, loss="mse")
    net = build(spec)
    x = data(spec, 4).inputs
    w = net.get_weights()
    a, b = (x @ w[f"{name}.kernel"] + w[f"{name}.bias"] for name in "ab")
    grid = (a + b + a).reshape(4, 3, 2)
    rows = np.concatenate([grid, grid], 1)
    want = np.concatenate([rows, rows], 2).reshape(4, -1)
    np.testing.assert_allclose(net.forward(x)["flat"], want, **EXACT)
