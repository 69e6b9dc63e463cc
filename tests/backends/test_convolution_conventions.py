"""Convolutions against the stock layers of both frameworks, and each trap where the two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import dualml_tensorflow  # noqa: E402
import dualml_torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import dualml  # noqa: E402
from dualml import (  # noqa: E402  # noqa: E402
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dense,
    DepthwiseConv1d,
    DepthwiseConv2d,
    Flatten,
    SeparableConv1d,
    SeparableConv2d,
)
from dualml.protocol import Batch  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402

BACKENDS = {"torch": dualml_torch.backend, "tensorflow": dualml_tensorflow.backend}


def make_spec(layers: Any, shape: tuple[int, ...], conventions: str = "torch", **settings: Any) -> dualml.Spec:
    layers = layers if isinstance(layers, list) else [layers]
    model = dualml.Model(input=shape, layers=layers)
    settings = {"loss": "mse", "optimizer": "sgd", "precision": "float64", **settings}
    return dualml.Spec(model=model, conventions=conventions, **settings)


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def network(spec: dualml.Spec, backend: str) -> Any:
    """The network with every weight drawn anew: biases are 0 under Keras' defaults and would hide."""
    weights = {item.name: draw(item.shape, place) for place, item in enumerate(spec.graph.parameters)}
    return BACKENDS[backend].build(spec.graph, weights)


def outputs(layer: Any, inputs: np.ndarray, conventions: str = "torch") -> dict[str, np.ndarray]:
    spec = make_spec(layer, inputs.shape[1:], conventions)
    return {name: network(spec, name).forward(inputs)[spec.graph.output] for name in BACKENDS}


# ---------------------------------------------------------------- equal to the stock layers with their defaults


L = keras.layers


@pytest.mark.parametrize("rank", [1, 2])
def test_separable_equals_keras(rank: int) -> None:
    """One bias, after the pointwise step, and nothing between the two."""
    shape = (*(8, 7)[:rank], 4)
    kind = (SeparableConv1d, SeparableConv2d)[rank - 1]
    stock = (L.SeparableConv1D, L.SeparableConv2D)[rank - 1](6, 3, depth_multiplier=2, strides=2, dtype="float64")
    stock.build((None, *shape))
    spec = make_spec(kind(6, 3, multiplier=2, stride=2, name="sep"), shape, "keras")
    values = [draw(item.shape, place) for place, item in enumerate(stock.weights)]
    stock.set_weights(values)
    names = ["sep_depthwise.kernel", "sep_pointwise.kernel", "sep_pointwise.bias"]
    assert [item.name for item in spec.graph.parameters] == names
    x = draw((3, *shape))
    right = stock(x).numpy()
    for backend in BACKENDS.values():
        net = backend.build(spec.graph, dict(zip(names, values, strict=True)))
        np.testing.assert_allclose(net.forward(x)[spec.graph.output], right, rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------- traps


def test_same_and_symmetric_are_shifted_at_stride_2() -> None:
    """For an even size they pad (0, 1) and (1, 1): equal shapes, other values. An odd size hides it."""
    x = draw((2, 8, 8, 3))
    same, symmetric = (outputs(Conv2d(4, 3, stride=2, padding=padding), x) for padding in ("same", "symmetric"))
    for found in (same, symmetric):
        np.testing.assert_allclose(found["torch"], found["tensorflow"], rtol=1e-13, atol=1e-13)
    assert same["torch"].shape == symmetric["torch"].shape
    assert np.abs(same["torch"] - symmetric["torch"]).max() > 1
    kernel, bias = draw((3, 3, 3, 4), 0), draw((4,), 1)
    native = L.Conv2D(4, 3, strides=2, padding="same", dtype="float64")
    native.build((None, 8, 8, 3))
    native.set_weights([kernel, bias])
    np.testing.assert_allclose(same["torch"], native(x).numpy(), rtol=1e-13, atol=1e-13)
    weight = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    y = functional.conv2d(torch.tensor(x).permute(0, 3, 1, 2), weight, torch.tensor(bias), stride=2, padding=1)
    np.testing.assert_allclose(symmetric["tensorflow"], y.permute(0, 2, 3, 1).numpy(), rtol=1e-13, atol=1e-13)


def test_square_kernels_are_not_copied_untransposed() -> None:
    """A 3x3 kernel from 3 to 3 channels fits either way round; so does a transposed one."""
    x = draw((2, 5, 5, 3))
    for layer in (Conv2d(3, 3), ConvTranspose2d(3, 3)):
        found = outputs(layer, x)
        np.testing.assert_allclose(found["torch"], found["tensorflow"], rtol=1e-13, atol=1e-13)


def test_the_kernel_is_not_flipped() -> None:
    x = np.arange(5.0).reshape(1, 5, 1)
    spec = make_spec(Conv1d(1, 2, bias=False), (5, 1))
    for backend in BACKENDS.values():
        net = backend.build(spec.graph, {"conv1d_1.kernel": np.array([1.0, 10.0]).reshape(2, 1, 1)})
        np.testing.assert_array_equal(net.forward(x)["conv1d_1"].ravel(), [10.0, 21.0, 32.0, 43.0])


def test_a_depthwise_multiplier_counts_fastest() -> None:
    """Output ``c m + j`` is from channel ``c``: every other order has the same shape."""
    x = np.ones((1, 1, 1, 2)) * [1.0, 100.0]
    spec = make_spec(DepthwiseConv2d(1, multiplier=3, bias=False), (1, 1, 2))
    kernel = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reshape(1, 1, 2, 3)
    for backend in BACKENDS.values():
        net = backend.build(spec.graph, {"depthwise_conv2d_1.kernel": kernel})
        found = net.forward(x)["depthwise_conv2d_1"].ravel()
        np.testing.assert_array_equal(found, [1.0, 2.0, 3.0, 400.0, 500.0, 600.0])
        np.testing.assert_array_equal(net.get_weights()["depthwise_conv2d_1.kernel"], kernel)


def test_a_transposed_same_and_the_usual_recipe_are_shifted() -> None:
    """``same`` crops (0, 1) of a window of 3 with stride 2, ``padding=1, output_padding=1`` crops (1, 0)."""
    x = draw((2, 4, 4, 3))
    same = outputs(ConvTranspose2d(5, 3, stride=2, padding="same"), x)
    recipe = outputs(ConvTranspose2d(5, 3, stride=2, padding=1, output_padding=1), x)
    for found in (same, recipe):
        np.testing.assert_allclose(found["torch"], found["tensorflow"], rtol=1e-13, atol=1e-13)
    assert same["torch"].shape == recipe["torch"].shape == (2, 8, 8, 5)
    assert np.abs(same["torch"] - recipe["torch"]).max() > 1
    np.testing.assert_allclose(same["torch"][:, 1:, 1:], recipe["torch"][:, :-1, :-1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("conventions", "size"), [("torch", 8), ("keras", 9)])
def test_a_window_shorter_than_the_stride(conventions: str, size: int) -> None:
    """PyTorch: ``(n - 1) s + k``. Keras: ``n s``. The setting that says so is filled by the conventions."""
    spec = make_spec(ConvTranspose1d(2, 2, stride=3), (3, 2), conventions)
    assert spec.graph.output_shape == (size, 2)
    for found in outputs(ConvTranspose1d(2, 2, stride=3), draw((2, 3, 2)), conventions).values():
        assert found.shape == (2, size, 2)


FANS = {
    "conv2d": (Conv2d(32, 3), "torch", 16, (144, 288), (3, 3, 16, 32)),
    "conv2d-groups": (Conv2d(32, 3, groups=4), "torch", 16, (36, 288), (3, 3, 4, 32)),
    "transpose2d": (ConvTranspose2d(32, 3), "torch", 16, (288, 144), (3, 3, 32, 16)),
    "depthwise-torch": (DepthwiseConv2d(3, multiplier=2), "torch", 16, (9, 288), (3, 3, 16, 2)),
    "depthwise-keras": (DepthwiseConv2d(3, multiplier=2), "keras", 16, (144, 18), (3, 3, 16, 2)),
}


@pytest.mark.parametrize("case", FANS)
def test_fans_are_the_frameworks_own(case: str) -> None:
    from keras.src.initializers.random_initializers import compute_fans

    layer, conventions, channels, fans, shape = FANS[case]
    kernel = make_spec(layer, (7, 7, channels), conventions).graph.parameters[0]
    assert (kernel.fan_in, kernel.fan_out) == fans
    assert kernel.shape == shape
    if conventions == "keras" or "depthwise" not in case:
        assert tuple(map(int, compute_fans(shape))) == fans
    if conventions == "torch":
        native = network(make_spec(layer, (7, 7, channels)), "torch").native[0].weight
        assert nn.init._calculate_fan_in_and_fan_out(native) == fans


def test_the_native_torch_model_takes_images_as_torch_users_have_them() -> None:
    """``(examples, channels, height, width)``; a flatten counts channels fastest, as the spec says."""
    layers = [Conv2d(4, 3, activation="relu"), Flatten(), Dense(2)]
    spec = make_spec(layers, (5, 6, 3))
    nets = {name: network(spec, name) for name in BACKENDS}
    x = draw((2, 5, 6, 3))
    right = nets["tensorflow"].native(x).numpy()
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    assert isinstance(nets["torch"].native, nn.Sequential)
    np.testing.assert_allclose(nets["torch"].native(images).detach().numpy(), right, rtol=1e-13, atol=1e-13)
    assert set(nets["torch"].native.state_dict()) == {
        f"{n}_1.{p}" for n in ("conv2d", "dense") for p in ("weight", "bias")
    }


# ---------------------------------------------------------------- training, saving

TRAINED = {
    "conv1d": ([Conv1d(4, 3, stride=2, dilation=2, padding="same", activation="tanh")], (10, 3)),
    "conv2d": ([Conv2d(4, 3, stride=2, padding="same", activation="tanh"), Conv2d(3, 2, groups=1)], (8, 8, 2)),
    "conv2d-groups": ([Conv2d(4, 3, groups=2, padding="symmetric", activation="tanh")], (5, 6, 2)),
    "conv3d": ([Conv3d(3, 2, padding="same", activation="tanh")], (3, 4, 3, 2)),
    "depthwise1d": ([DepthwiseConv1d(3, multiplier=2, padding="causal", activation="tanh")], (7, 2)),
    "depthwise2d": ([DepthwiseConv2d(3, multiplier=2, stride=(1, 2), activation="tanh")], (6, 7, 2)),
    "separable1d": ([SeparableConv1d(4, 3, activation="tanh")], (7, 2)),
    "separable2d": ([SeparableConv2d(4, 3, stride=2, padding="same", activation="tanh")], (6, 6, 2)),
    "transpose1d": ([ConvTranspose1d(3, 3, stride=2, dilation=2, activation="tanh")], (4, 2)),
    "transpose2d": ([ConvTranspose2d(4, 3, stride=2, padding="same", groups=2, activation="tanh")], (3, 3, 2)),
}


@pytest.mark.parametrize("case", TRAINED)
def test_thirty_steps_agree(case: str) -> None:
    layers, shape = TRAINED[case]
    spec = make_spec([*layers, Flatten(), Dense(3)], shape, loss="cross_entropy", optimizer={"adam": {"lr": 0.01}})
    batch = Batch(draw((12, *shape)), np.arange(12) % 3)
    start = initial_weights(spec.graph, 0)
    ended = {}
    for name, backend in BACKENDS.items():
        net = backend.build(spec.graph, start)
        trainer = net.trainer(spec.resolved.objective, spec.resolved.optimizer, batch_size=12)
        for _ in range(30):
            trainer.step(batch, 0.01)
        ended[name] = net.get_weights()
    for name, value in ended["torch"].items():
        assert np.abs(value - start[name]).max() > 1e-3
        gap = np.abs(value - ended["tensorflow"][name]).max() / np.abs(value).max()
        assert gap < 1e-11, name


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 2, stride=2, dilation=2, padding=((1, 0), 2)), (5, 6, 2)),
        (Conv1d(3, 3, padding=2, padding_mode="reflect"), (5, 2)),
        (DepthwiseConv2d(2, stride=(1, 2)), (5, 6, 2)),
        (ConvTranspose2d(4, 3, stride=2, dilation=2, groups=2, padding=((1, 0), 2), output_padding=1), (3, 4, 2)),
        (ConvTranspose1d(4, 1, stride=1, dilation=2, output_padding=1), (3, 2)),
    ],
)
def test_layers_of_its_own_are_saved_with_a_keras_model(layer: Any, shape: tuple[int, ...], tmp_path: Any) -> None:
    net = network(make_spec(layer, shape), "tensorflow")
    assert type(net.native.layers[-1]).__module__.startswith("dualml_tensorflow")
    net.native.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = draw((2, *shape))
    np.testing.assert_array_equal(loaded(x).numpy(), net.native(x).numpy())
    assert loaded.output_shape == net.native.output_shape == (None, *net.graph.output_shape)
