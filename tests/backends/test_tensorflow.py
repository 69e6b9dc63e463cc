"""The TensorFlow adapter: what is specific to Keras. Values are judged by NumPy formulas in float64."""

from __future__ import annotations

import itertools
import math
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import dualml
from dualml import randomness
from dualml.errors import BackendUnavailableError, UnsupportedError, WeightsError
from dualml.protocol import Backend, Batch, Network, State
from dualml.spec.optimizers import GlobalNorm
from dualml.weights import initial_weights

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow import backend  # noqa: E402 (needs the framework)
from dualml_tensorflow.activations import Gelu, LeakyRelu, Softplus  # noqa: E402
from dualml_tensorflow.formulas import FormulaAdam, FormulaSgd  # noqa: E402
from dualml_tensorflow.layers import MaskedDropout  # noqa: E402

CLASSES = 5
EXACT = {"rtol": 1e-13, "atol": 1e-14}


def mlp(*, precision="float64", conventions="keras", loss="cross_entropy", optimizer="sgd", layers=None, size=7):
    layers = layers or [dualml.Dense(6, activation="relu"), dualml.Dense(CLASSES)]
    model = dualml.Model(input=size, layers=layers)
    return dualml.Spec(conventions=conventions, precision=precision, model=model, loss=loss, optimizer=optimizer)


def build(spec, **options):
    return backend.build(spec.graph, initial_weights(spec.graph, 3), **options)


def data(spec, examples, seed=0):
    r = np.random.default_rng(seed)
    inputs = r.standard_normal((examples, *spec.graph.input_shape)).astype(spec.precision)
    shape = spec.graph.output_shape
    if spec.loss.target == "class":
        return Batch(inputs, r.integers(0, shape[-1], (examples, *shape[:-1])))
    return Batch(inputs, r.standard_normal((examples, *shape)).astype(spec.precision))


def trainer(net, spec, **options):
    return net.trainer(spec.resolved.loss, spec.resolved.optimizer, **{"batch_size": 8, **options})


def part(batch, start, stop):
    return Batch(batch.inputs[start:stop], batch.targets[start:stop])


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


# The native model


def test_protocol():
    spec = mlp()
    assert isinstance(backend, Backend)
    net = build(spec)
    members = {name for name in dir(Network) if not name.startswith("_")}
    assert members <= set(dir(net))
    assert backend.versions() == {"tensorflow": tf.__version__, "keras": keras.__version__}


EVERY_STOCK = ["relu", "tanh", "sigmoid", "gelu", {"leaky_relu": 0.1}, {"elu": 0.3}, "silu", "softplus", "softmax"]


def test_float32_model_is_stock_and_named_like_the_graph():
    layers = [dualml.Dense(6, activation=function) for function in EVERY_STOCK]
    layers += [
        dualml.Reshape((2, 3), name="grid"),
        dualml.Flatten(name="flat"),
        dualml.Dropout(0.5),
        dualml.Add(inputs=["flat", "dropout_1"], name="sum"),
        dualml.Concat(inputs=["sum", "flat"]),
    ]
    spec = mlp(precision="float32", layers=layers)
    net = build(spec, native_randomness=True)
    native = net.native.layers[1:]
    assert all(type(layer).__module__.startswith("keras.") for layer in native)
    assert {layer.name for layer in native} == set(spec.graph.by_name)
    assert {layer.dtype for layer in native} == {"float32"}
    assert build(spec).native.get_layer("dropout_1").__class__ is MaskedDropout


def test_custom_layers_only_where_stock_cannot_express_the_spec():
    functions = [*EVERY_STOCK, {"gelu": "tanh"}, {"softplus": {"threshold": 20.0}}]
    spec = mlp(layers=[dualml.Dense(3, activation=function) for function in functions])
    custom = [layer for layer in build(spec).native.layers if not type(layer).__module__.startswith("keras.")]
    assert [type(layer) for layer in custom] == [Gelu, LeakyRelu, Gelu, Softplus]


def test_negative_slope_in_float32():
    """``keras.layers.LeakyReLU`` refuses it."""
    spec = mlp(precision="float32", layers=[dualml.Activation({"leaky_relu": -0.25}, name="f")], size=3, loss="mse")
    x = np.array([[-2.0, 0.0, 3.0]], np.float32)
    np.testing.assert_array_equal(build(spec).forward(x)["f"], np.array([[0.5, 0.0, 3.0]], np.float32))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_dtypes_are_explicit_and_global_state_stays(precision):
    before = keras.config.floatx(), keras.config.image_data_format()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    try:
        random.seed(1)
        spec = mlp(precision=precision, layers=[dualml.Flatten(), dualml.Dropout(0.5), dualml.Dense(4)], size=(2, 3))
        net = build(spec)
        train = trainer(net, spec)
        batch = data(spec, 8)
        masks = {"dropout_1": np.ones((8, 6), bool)}
        train.step(batch, 0.1, masks=masks)
        values = net.forward(batch.inputs)
        assert keras.config.floatx() == "float16"
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_image_data_format(before[1])
    state = random.random()
    random.seed(1)
    assert state == random.random()
    assert values["dense_1"].dtype == precision
    assert {str(variable.dtype) for variable in net.native.variables if "seed" not in variable.path} == {precision}
    assert train.optimizer.learning_rate.dtype == precision


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_saves_reloads_and_summarises(tmp_path, precision):
    layers = [
        dualml.Dense(6, activation={"gelu": "tanh"}, name="a"),
        dualml.Dense(6, activation={"softplus": {"beta": 2.0, "threshold": 1.0}}, name="b", inputs="input"),
        dualml.Dense(6, activation={"leaky_relu": 0.1}, name="c", inputs="a"),
        dualml.Add(inputs=["b", "c"], name="sum"),
        dualml.Dropout(0.25, name="drop"),
        dualml.Dense(CLASSES, activation="gelu", name="head"),
    ]
    spec = mlp(precision=precision, layers=layers)
    net = build(spec)
    inputs = data(spec, 9).inputs
    path = tmp_path / "model.keras"
    net.native.save(path)
    loaded = keras.models.load_model(path)
    want = net.forward(inputs)["head_gelu"]
    np.testing.assert_array_equal(loaded(inputs), net.native(inputs))
    # Eager against traced: in float32 the graph fuses a product with what follows it.
    np.testing.assert_allclose(loaded(inputs), want, atol=1e-6 if precision == "float32" else 1e-14)
    lines: list[str] = []
    net.native.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert all(name in text for name in ("input", "a_gelu", "drop", "head"))
    assert str(sum(weight.size for weight in net.get_weights().values())) in text


def test_native_works_by_itself_as_stock_dropout():
    spec = mlp(layers=[dualml.Dropout(0.5)], size=1000, loss="mse")
    native = build(spec).native
    ones = np.ones((3, 1000))
    np.testing.assert_array_equal(native(ones), ones)
    dropped = native(ones, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert 0.4 < (dropped == 0).mean() < 0.6


# Values, against NumPy


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


# Dropout

DROPOUT = [dualml.Dropout(0.3, name="drop"), dualml.Dense(6, activation="relu"), dualml.Dropout(0.5), dualml.Dense(5)]


def masks_for(spec, examples, step=0):
    return {
        node.name: randomness.keep_mask(0, node.name, (examples, *node.shape), node.settings.rate, step=step)
        for node in spec.graph.dropouts
    }


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
    with pytest.raises(ValueError, match=r"exactly the dropout nodes \['drop', 'dropout_1'\]"):
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


# Optimizers


def numpy_update(kind, s, p, g, slots, lr, t):
    """One update by the formulas of ``dualml.spec.optimizers``, in float64."""
    if s.weight_decay:
        if s.decay == "decoupled":
            p = p - lr * s.weight_decay * p
        else:
            g = g + s.weight_decay * p
    if kind == "sgd":
        if not s.momentum:
            return p - lr * g, {}
        if s.lr_in_momentum:
            v = s.momentum * slots["momentum"] - lr * g
            return (p + s.momentum * v - lr * g if s.nesterov else p + v), {"momentum": v}
        b = s.momentum * slots["momentum"] + g
        return p - lr * (g + s.momentum * b if s.nesterov else b), {"momentum": b}
    m = s.beta1 * slots["first_moment"] + (1 - s.beta1) * g
    v = s.beta2 * slots["second_moment"] + (1 - s.beta2) * g**2
    c1, c2 = 1 - s.beta1**t, 1 - s.beta2**t
    if s.epsilon_placement == "corrected":
        p = p - lr * (m / c1) / (np.sqrt(v / c2) + s.epsilon)
    else:
        p = p - lr * (math.sqrt(c2) / c1) * m / (np.sqrt(v) + s.epsilon)
    return p, {"first_moment": m, "second_moment": v}


SGDS = [
    {"sgd": {"momentum": momentum, "nesterov": nesterov, "weight_decay": w, "decay": decay, "lr_in_momentum": inside}}
    for (momentum, nesterov), (w, decay), inside in itertools.product(
        [(0.0, False), (0.9, False), (0.9, True)],
        [(0.0, "coupled"), (0.1, "coupled"), (0.1, "decoupled")],
        [False, True],
    )
]
ADAMS = [
    {kind: {"epsilon": 1e-4, "epsilon_placement": placement, "weight_decay": w, "decay": decay}}
    for kind, placement, (w, decay) in itertools.product(
        ["adam", "adamw"], ["corrected", "uncorrected"], [(0.0, "coupled"), (0.1, "coupled"), (0.1, "decoupled")]
    )
    if kind == "adam" or decay == "decoupled"
]
ADAMS += [
    {"adam": {"epsilon": 1e-3, "epsilon_placement": "corrected", "beta1": beta1, "beta2": beta2}}
    for beta1, beta2 in [(0.0, 0.0), (0.3, 0.4), (0.5, 0.999)]
]
RATES = [0.01, 0.01, 0.1, 0.003]  # momentum with the rate inside differs only after a change


def gradients_for(spec, updates, seed=0):
    """Gradients over six orders of magnitude, so that epsilon matters for some values and not for others."""
    r = np.random.default_rng(seed)
    shapes = {item.name: item.shape for item in spec.graph.parameters}
    return [
        {
            name: (r.standard_normal(shape) * 10.0 ** r.uniform(-6, 0, shape)).astype(spec.precision)
            for name, shape in shapes.items()
        }
        for _ in range(updates)
    ]


def numpy_trajectory(spec, weights, gradients, rates):
    settings = spec.resolved.optimizer
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    slots = {name: {slot: np.zeros_like(value) for slot in settings.slots} for name, value in weights.items()}
    kind = "sgd" if settings.kind == "sgd" else "adam"
    for t, (step, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        for name in weights:
            weights[name], slots[name] = numpy_update(kind, settings, weights[name], step[name], slots[name], lr, t)
    return weights, {slot: {name: slots[name][slot] for name in weights} for slot in settings.slots}


def settings_id(optimizer):
    return "-".join([next(iter(optimizer)), *map(str, next(iter(optimizer.values())).values())])


def check_formula(optimizer, *, compiled):
    spec = mlp(optimizer=optimizer)
    net = build(spec)
    train = trainer(net, spec, compiled=compiled)
    gradients = gradients_for(spec, len(RATES))
    want, slots = numpy_trajectory(spec, net.get_weights(), gradients, RATES)
    for step, lr in zip(gradients, RATES, strict=True):
        train.apply(step, lr)
    for name, value in net.get_weights().items():
        np.testing.assert_allclose(value, want[name], rtol=1e-14, atol=1e-15, err_msg=name)
    state = train.get_state()
    assert state.step == len(RATES)
    assert set(state.slots) == set(slots)
    for slot, name in itertools.product(slots, want):
        np.testing.assert_allclose(state.slots[slot][name], slots[slot][name], rtol=1e-13, atol=1e-18, err_msg=slot)
    return train


@pytest.mark.parametrize("optimizer", SGDS + ADAMS, ids=settings_id)
def test_every_update_formula_in_float64(optimizer):
    check_formula(optimizer, compiled=False)


COMPILED = [
    {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "decay": "decoupled", "lr_in_momentum": True}},
    {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "decay": "coupled", "lr_in_momentum": False}},
    {"adam": {"epsilon": 1e-4, "epsilon_placement": "corrected", "weight_decay": 0.1, "decay": "coupled"}},
    {"adam": {"epsilon": 1e-4, "epsilon_placement": "uncorrected", "weight_decay": 0.1, "decay": "coupled"}},
    {"adamw": {"epsilon": 1e-4, "epsilon_placement": "uncorrected", "weight_decay": 0.1}},
]


@pytest.mark.parametrize("optimizer", COMPILED, ids=settings_id)
def test_compiled_update_formula_in_float64(optimizer):
    check_formula(optimizer, compiled=True)


def test_stock_optimizers_where_the_formula_is_keras():
    def native(optimizer, conventions):
        spec = mlp(optimizer=optimizer, conventions=conventions)
        return type(trainer(build(spec), spec).optimizer)

    assert native({"sgd": {"momentum": 0.9, "weight_decay": 0.1}}, "keras") is keras.optimizers.SGD
    assert native({"adam": {"weight_decay": 0.1}}, "keras") is keras.optimizers.Adam
    assert native("adamw", "keras") is keras.optimizers.AdamW
    assert native("sgd", "torch") is keras.optimizers.SGD
    assert native({"sgd": {"momentum": 0.9}}, "torch") is FormulaSgd
    assert native("adam", "torch") is FormulaAdam
    assert native("adamw", "torch") is FormulaAdam


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_float32_update_is_the_formula_but_for_rounding(optimizer):
    """The first Adam update shows scalars in float32: ``1 - 0.999`` alone would be off by 1e-5."""
    settings = {"sgd": {"momentum": 0.9}, "adam": {"epsilon": 1e-12}}[optimizer]
    spec = mlp(precision="float32", optimizer={optimizer: settings}, conventions="torch")
    net = build(spec)
    net.set_weights({name: np.zeros_like(value) for name, value in net.get_weights().items()})
    gradients = gradients_for(spec, 3)
    for compiled in (False, True):
        train = trainer(net, spec, compiled=compiled)
        net.set_weights({name: np.zeros_like(value) for name, value in net.get_weights().items()})
        want, _ = numpy_trajectory(spec, net.get_weights(), gradients[:1], [0.1])
        train.apply(gradients[0], 0.1)
        for name, value in net.get_weights().items():
            np.testing.assert_allclose(value, want[name], rtol=5e-7, err_msg=name)


def test_lr_is_a_double():
    """0.1 in float32 is 1.5e-9 off, far above the rounding of a float64 product."""
    for conventions in ("keras", "torch"):
        spec = mlp(optimizer={"sgd": {"momentum": 0.9}}, conventions=conventions)
        net = build(spec)
        before = net.get_weights()
        ones = {name: np.ones_like(value) for name, value in before.items()}
        trainer(net, spec).apply(ones, 0.1)
        for name, value in net.get_weights().items():
            np.testing.assert_allclose(value, before[name] - 0.1, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize(
    "optimizer",
    [FormulaSgd(0.01, momentum=0.9, nesterov=True, weight_decay=0.1), FormulaAdam(0.01, weight_decay=0.1)],
    ids=["sgd", "adam"],
)
def test_formula_optimizer_in_compile_and_fit(optimizer, tmp_path):
    settings = {"momentum": 0.9, "nesterov": True} if isinstance(optimizer, FormulaSgd) else {}
    name = "sgd" if isinstance(optimizer, FormulaSgd) else "adam"
    spec = mlp(precision="float32", conventions="torch", optimizer={name: {"weight_decay": 0.1, **settings}})
    net, other = build(spec), build(spec)
    batch = data(spec, 24)
    net.native.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.native.fit(batch.inputs, batch.targets, batch_size=8, epochs=2, shuffle=False, verbose=0)
    train = trainer(other, spec)
    for _ in range(2):
        train.run(train.place(batch), np.arange(24), np.full(3, 0.01))
    for key, value in net.get_weights().items():
        np.testing.assert_allclose(value, other.get_weights()[key], atol=2e-6, err_msg=key)
    net.native.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(optimizer)
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert optimizer.get_config()["weight_decay"] == 0.1
    for left, right in zip(loaded.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


# A loop written by hand


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


# The trainer


@pytest.mark.parametrize("conventions", ["keras", "torch"])
def test_eager_step_is_gradients_then_apply(conventions):
    spec = mlp(optimizer="adam", conventions=conventions, precision="float32")
    whole, parts = build(spec), build(spec)
    one, two = (
        trainer(net, spec, compiled=False, clip=GlobalNorm(max_norm=0.1, epsilon=1e-6)) for net in (whole, parts)
    )
    for seed in range(3):
        batch = data(spec, 8, seed)
        found = parts.gradients(batch, spec.resolved.loss)
        assert one.step(batch, 0.01) == found.loss
        two.apply(found.parameters, 0.01)
        assert_same(whole.get_weights(), parts.get_weights())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("conventions", ["keras", "torch"])
def test_run_is_step_for_each_update(conventions, compiled):
    spec = mlp(optimizer={"sgd": {"momentum": 0.9}}, conventions=conventions, precision="float32")
    batch = data(spec, 30)
    order = randomness.permutation(1, "order", 30)
    rates = np.array([0.1, 0.1, 0.01, 0.2])
    many, single = build(spec), build(spec)
    run, stepper = trainer(many, spec, compiled=compiled), trainer(single, spec, compiled=compiled)
    losses = run.run(run.place(batch), order, rates)
    assert losses.dtype == np.float64
    for update, lr in enumerate(rates):
        rows = order[update * 8 : (update + 1) * 8]
        loss = stepper.step(Batch(batch.inputs[rows], batch.targets[rows]), lr)
        np.testing.assert_allclose(losses[update], loss, rtol=0 if not compiled else 1e-6)
    for name, value in single.get_weights().items():
        np.testing.assert_allclose(many.get_weights()[name], value, rtol=0, atol=1e-6 if compiled else 0)
    assert run.get_state().step == 4


@pytest.mark.parametrize("compiled", [True, False])
def test_accumulation_clipping_and_a_smaller_last_update(compiled):
    """Updates of 20 in pieces of 8: the gradient of all 20 over 20, clipped once, against NumPy's SGD."""
    spec = mlp(optimizer={"sgd": {"lr": 0.5}}, conventions="torch")
    batch = data(spec, 33)
    order = randomness.permutation(2, "order", 33)
    clip = GlobalNorm(max_norm=0.05, epsilon=1e-6)
    net, judge, stepped = build(spec), build(spec), build(spec)
    options = {"batch_size": 8, "update_size": 20, "clip": clip, "compiled": compiled}
    train, stepper = trainer(net, spec, **options), trainer(stepped, spec, **options)
    losses = train.run(train.place(batch), order, np.array([0.5, 0.25]))
    for update, (start, lr) in enumerate(((0, 0.5), (20, 0.25))):
        rows = order[start : start + 20]
        picked = Batch(batch.inputs[rows], batch.targets[rows])
        found = judge.gradients(picked, spec.resolved.loss)
        norm = math.sqrt(sum((gradient**2).sum() for gradient in found.parameters.values()))
        assert norm > clip.max_norm
        scale = clip.max_norm / (norm + 1e-6)
        judge.set_weights(
            {name: value - lr * scale * found.parameters[name] for name, value in judge.get_weights().items()}
        )
        np.testing.assert_allclose(losses[update], found.loss, **EXACT)
        np.testing.assert_allclose(stepper.step(picked, lr), found.loss, **EXACT)
    for name, value in judge.get_weights().items():
        np.testing.assert_allclose(net.get_weights()[name], value, err_msg=name, **EXACT)
        np.testing.assert_allclose(stepped.get_weights()[name], value, err_msg=name, **EXACT)


def test_update_is_made_in_pieces_of_batch_size(monkeypatch):
    spec = mlp()
    net = build(spec)
    sizes = []
    differentiate = net.differentiate

    def record(inputs, *rest):
        sizes.append(len(inputs))
        return differentiate(inputs, *rest)

    monkeypatch.setattr(net, "differentiate", record)
    train = trainer(net, spec, batch_size=8, update_size=20, compiled=False)
    train.run(train.place(data(spec, 33)), np.arange(33), np.full(2, 0.1))
    train.step(data(spec, 18), 0.1)
    assert sizes == [8, 8, 4, 8, 5, 8, 8, 2]
    assert train.get_state().step == 3


@pytest.mark.parametrize("epsilon", [0.0, 1e-2])
@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_clipping(epsilon, max_norm):
    spec = mlp(optimizer={"sgd": {"lr": 1.0}})
    net = build(spec)
    before = net.get_weights()
    gradients = gradients_for(spec, 1)[0]
    trainer(net, spec, clip=GlobalNorm(max_norm=max_norm, epsilon=epsilon)).apply(gradients, 1.0)
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    scale = min(1.0, max_norm / (norm + epsilon))
    for name, value in net.get_weights().items():
        np.testing.assert_allclose(value, before[name] - scale * gradients[name], err_msg=name, **EXACT)


def test_nothing_is_traced_twice():
    spec = mlp(optimizer="adam", conventions="torch")
    net = build(spec)
    train = trainer(net, spec)
    for examples in (8, 3, 8, 5):
        batch = data(spec, examples)
        train.step(batch, 0.1 / examples)
        train.run(train.place(data(spec, 4 * examples)), np.arange(4 * examples), np.full(-(-4 * examples // 8), 0.1))
        train.apply(net.gradients(batch, spec.resolved.loss).parameters, 0.1)
        net.forward(batch.inputs)
        net.predict(batch.inputs)
    functions = [train._step_function, train._run_function, train._apply_function, *net._functions.values()]
    assert [function.experimental_get_tracing_count() for function in functions] == [1] * 5


def test_run_counts_learning_rates():
    spec = mlp()
    train = trainer(build(spec), spec)
    placed = train.place(data(spec, 20))
    with pytest.raises(ValueError, match="20 examples in updates of 8 need 3 learning rates, got 2"):
        train.run(placed, np.arange(20), np.full(2, 0.1))
    assert train.run(placed, np.arange(0), np.zeros(0)).shape == (0,)
    assert train.get_state().step == 0


# State, weights, ownership

MOMENTUM = {"sgd": {"momentum": 0.9}}


@pytest.mark.parametrize(
    ("optimizer", "conventions"),
    [("sgd", "torch"), ("adam", "torch"), ("adamw", "keras"), *((MOMENTUM, name) for name in ("torch", "keras"))],
    ids=str,
)
def test_state_continues_bit_for_bit(optimizer, conventions):
    spec = mlp(optimizer=optimizer, conventions=conventions, precision="float32")
    settings = spec.resolved.optimizer
    net, other = build(spec), build(spec)
    train = trainer(net, spec)
    state = train.get_state()
    assert state.step == 0
    assert set(state.slots) == set(settings.slots)
    assert all((array == 0).all() for arrays in state.slots.values() for array in arrays.values())
    train.step(data(spec, 8), 0.1)
    kept, weights = train.get_state(), net.get_weights()
    train.step(data(spec, 8, 1), 0.01)
    resumed = trainer(other, spec)
    other.set_weights(weights)
    resumed.set_state(kept)
    resumed.step(data(spec, 8, 1), 0.01)
    assert_same(net.get_weights(), other.get_weights())
    assert resumed.get_state().step == 2
    for slot in settings.slots:
        assert_same(train.get_state().slots[slot], resumed.get_state().slots[slot])
        assert {array.dtype for array in kept.slots[slot].values()} == {np.dtype("float32")}


def test_wrong_weights_and_state_change_nothing():
    spec = mlp(optimizer="adam")
    net = build(spec)
    train = trainer(net, spec)
    weights = net.get_weights()
    wrong = {("other" if name == "dense_1.bias" else name): value + 1 for name, value in weights.items()}
    with pytest.raises(WeightsError, match=r"missing: dense_1\.bias; unknown: other"):
        net.set_weights(wrong)
    with pytest.raises(WeightsError, match="shape"):
        net.set_weights({name: np.zeros((2, 2)) for name in weights})
    with pytest.raises(WeightsError, match=r"gradients.*missing"):
        train.apply({}, 0.1)
    with pytest.raises(WeightsError, match=r"exactly the slots \['first_moment', 'second_moment'\]"):
        train.set_state(State(3, {"first_moment": weights}))
    with pytest.raises(WeightsError, match=r"second_moment.*unknown: other"):
        train.set_state(State(3, {"first_moment": weights, "second_moment": wrong}))
    with pytest.raises(WeightsError, match="missing"):
        backend.build(spec.graph, {})
    assert_same(net.get_weights(), weights)
    state = train.get_state()
    assert state.step == 0
    assert not state.slots["first_moment"]["dense_1.bias"].any()


def test_arrays_are_owned():
    spec = mlp(optimizer="adam", layers=DROPOUT)
    net = build(spec)
    train = trainer(net, spec)
    batch, masks = data(spec, 8), masks_for(spec, 8)
    copies = [array.copy() for array in (batch.inputs, batch.targets, *masks.values())]
    placed = train.place(batch)
    weights = net.get_weights()
    given = {name: value.copy() for name, value in weights.items()}
    net.set_weights(given)
    values = net.forward(batch.inputs, taps=["input"])
    found = net.gradients(batch, spec.resolved.loss, masks=masks, taps=["input"])
    state = train.get_state()
    kept = [array.copy() for array in (*weights.values(), *values.values(), *found.parameters.values())]
    losses = train.run(placed, np.arange(8), np.full(1, 0.1), masks=masks)
    train.step(batch, 0.1, masks=masks)
    for array, copy in zip((*weights.values(), *values.values(), *found.parameters.values()), kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    for array, copy in zip((batch.inputs, batch.targets, *masks.values()), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert_same(given, weights)
    assert not any(array.any() for arrays in state.slots.values() for array in arrays.values())
    now = net.get_weights()
    returned = [*now.values(), *train.get_state().slots["first_moment"].values(), *values.values(), losses]
    for array in returned:
        array[...] = 7.0  # writable, and nobody else's
    batch.inputs[...] = 9.0
    assert not any((value == 7.0).all() for value in net.get_weights().values())
    assert not (placed.inputs.numpy() == 9.0).any()


def test_forward_survives_keras_reset_and_sees_new_weights():
    spec = mlp()
    net = build(spec)
    inputs = data(spec, 4).inputs
    first = net.forward(inputs)["dense_2"]
    keras.utils.clear_session()
    np.testing.assert_array_equal(net.forward(inputs)["dense_2"], first)
    net.set_weights({name: 2 * value for name, value in net.get_weights().items()})
    assert (net.forward(inputs, taps=["dense_1"])["dense_2"] != first).all()
    large = np.zeros((20_000, 7))
    assert net.forward(large)["dense_2"].shape == (20_000, CLASSES)


def test_unknown_tap():
    spec = mlp()
    with pytest.raises(ValueError, match=r"taps must be nodes \(input, dense_1, dense_1_relu, dense_2\), got \['x'\]"):
        build(spec).forward(data(spec, 2).inputs, taps=["x"])


# What it cannot do


def test_unsupported_layer():
    spec = mlp()
    nodes = (SimpleNamespace(operation="hologram", path="model.layers[0]"), *spec.graph.nodes)
    with pytest.raises(UnsupportedError, match=r"the layer 'hologram' \(model\.layers\[0\]\)"):
        backend.build(SimpleNamespace(nodes=nodes), {})


def test_devices():
    gpus = tf.config.list_physical_devices("GPU")
    assert ("gpu" in backend.capabilities.devices) == bool(gpus)
    spec = mlp()
    for device in {"gpu", "tpu"} - backend.capabilities.devices:
        with pytest.raises(BackendUnavailableError, match=f"got '{device}'"):
            build(spec, device=device)


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("other", ["torch", "jax"])
def test_refuses_another_keras_backend(other):
    """Whether the other framework is installed or not."""
    code = "import dualml.registry as r\ntry: r.load('tensorflow')\nexcept Exception as e: print(type(e).__name__, e)"
    found = run_python(code, KERAS_BACKEND=other)
    assert found.stdout.startswith("BackendUnavailableError"), found.stdout + found.stderr[-500:]
    assert other in found.stdout
    assert "KERAS_BACKEND=tensorflow" in found.stdout


def test_lives_with_torch_in_one_process():
    """Loaded after TensorFlow, the order that older versions aborted in."""
    pytest.importorskip("torch")
    code = """
import dualml_tensorflow, torch
import numpy as np, dualml
from dualml.weights import initial_weights
spec = dualml.Spec(model=dualml.Model(input=300, layers=[dualml.Dense(200)]), loss="mse", optimizer="adam")
weights = initial_weights(spec.graph, 0)
net = dualml_tensorflow.backend.build(spec.graph, weights)
x = np.ones((64, 300), "float32")
theirs = torch.from_numpy(x) @ torch.from_numpy(weights["dense_1.kernel"]) + torch.from_numpy(weights["dense_1.bias"])
print(np.abs(net.predict(x) - theirs.numpy()).max() < 1e-4)
"""
    found = run_python(code)
    assert found.stdout.strip() == "True", found.stderr[-2000:]


def test_importing_the_backend_says_nothing_and_leaves_stderr_alone():
    code = "import os, dualml_tensorflow, tensorflow as tf\ntf.constant(1.0)\nos.write(2, b'mine')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "mine"


def test_what_is_not_a_known_note_passes():
    code = (
        "import os\nfrom dualml_tensorflow.startup import without_notes\n"
        "with without_notes():\n    os.write(2, b'one\\nI0000 oneDNN custom operations are on. You may\\ntwo')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "one\ntwo"
