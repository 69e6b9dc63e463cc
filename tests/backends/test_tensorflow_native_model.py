"""The TensorFlow adapter's native model: stock Keras layers, named after the graph, and what cannot be built."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

import dualml
from dualml.errors import BackendUnavailableError, UnsupportedError
from dualml.protocol import Backend, Network

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow import backend  # noqa: E402
from dualml_tensorflow.activations import Gelu, LeakyRelu, Softplus  # noqa: E402
from dualml_tensorflow.layers import MaskedDropout  # noqa: E402
from tensorflow_support import CLASSES, build, data, mlp, trainer  # noqa: E402


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
