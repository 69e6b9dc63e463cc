"""Layers that normalise against the stock layers of both frameworks, and each trap where the two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import dualml_tensorflow  # noqa: E402
import dualml_torch  # noqa: E402
import tensorflow as tf  # noqa: E402
from torch import nn  # noqa: E402

import dualml  # noqa: E402
from dualml import (  # noqa: E402
    BatchNorm,
    Dense,
    Embedding,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RmsNorm,
    UnitNorm,
    reference,
)
from dualml.errors import SpecError  # noqa: E402
from dualml.protocol import Batch  # noqa: E402
from dualml.spec.layers import Shared  # noqa: E402
from dualml.spec.model import Input  # noqa: E402

BACKENDS = {"torch": dualml_torch.backend, "tensorflow": dualml_tensorflow.backend}


def make_spec(layers: Any, shape: Any, conventions: str = "torch", precision: str = "float64") -> dualml.Spec:
    layers = layers if isinstance(layers, list) else [layers]
    model = dualml.Model(input=shape, layers=layers)
    return dualml.Spec(model=model, conventions=conventions, precision=precision, loss="mse", optimizer="sgd")


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def weights_of(spec: dualml.Spec) -> dict[str, np.ndarray]:
    """Every weight drawn: scales of 1 and offsets of 0 would hide. Variances are positive."""
    found = {item.name: 1.0 + 0.3 * draw(item.shape, place) for place, item in enumerate(spec.graph.weights)}
    return {
        name: (np.abs(array) if name.endswith("variance") else array).astype(spec.precision)
        for name, array in found.items()
    }


def build(spec: dualml.Spec, backend: str) -> Any:
    return BACKENDS[backend].build(spec.graph, weights_of(spec))


def make_batch(spec: dualml.Spec, inputs: np.ndarray) -> Batch:
    return Batch(inputs.astype(spec.precision), draw((len(inputs), *spec.graph.output_shape), 7).astype(spec.precision))


def gap(one: Any, two: Any) -> float:
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


# ---------------------------------------------------------------- equal to the stock layers with their defaults


class TorchNormalize(nn.Module):
    """There is no stock module, but a stock function."""

    def forward(self, values):
        return nn.functional.normalize(values, dim=-1)


TORCH_STOCK = {
    "batch-1d": (BatchNorm(), (5,), lambda: nn.BatchNorm1d(5)),
    "batch-1d-positions": (BatchNorm(), (4, 5), lambda: nn.BatchNorm1d(5)),
    "batch-2d": (BatchNorm(), (4, 3, 5), lambda: nn.BatchNorm2d(5)),
    "batch-3d": (BatchNorm(), (2, 3, 2, 5), lambda: nn.BatchNorm3d(5)),
    "layer": (LayerNorm(), (4, 5), lambda: nn.LayerNorm(5)),
    "layer-two-axes": (LayerNorm(axes=2), (4, 5), lambda: nn.LayerNorm((4, 5))),
    "rms": (RmsNorm(), (4, 5), lambda: nn.RMSNorm(5)),
    "unit": (UnitNorm(), (4, 5), lambda: TorchNormalize()),
    "group": (GroupNorm(2), (3, 4, 6), lambda: nn.GroupNorm(2, 6)),
    "instance-1d": (InstanceNorm(), (4, 5), lambda: nn.InstanceNorm1d(5)),
    "instance-2d": (InstanceNorm(), (3, 4, 5), lambda: nn.InstanceNorm2d(5)),
    "instance-3d": (InstanceNorm(), (2, 3, 2, 5), lambda: nn.InstanceNorm3d(5)),
}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("case", TORCH_STOCK)
def test_torch_equals_its_stock_layer(case: str, precision: str) -> None:
    """Bit for bit in both modes, but for the running values: torch's 0.1 is 1 - 0.9 here, one rounding away."""
    layer, shape, make = TORCH_STOCK[case]
    stock = make().to(getattr(torch, precision))
    with torch.no_grad():
        for place, item in enumerate(stock.parameters()):
            item.copy_(torch.tensor(1.0 + 0.3 * draw(tuple(item.shape), place)))
    native = build(make_spec(layer, shape, precision=precision), "torch").native
    native = native.get_submodule(layer.kind + "_1")
    assert list(native.state_dict()) == list(stock.state_dict())
    native.load_state_dict(stock.state_dict())
    inputs = (3.0 * draw((4, *shape)) + 1.0).astype(precision)
    last = isinstance(stock, nn.LayerNorm | nn.RMSNorm | TorchNormalize)
    found = []
    for module in (native, stock):
        x = torch.tensor(inputs if last else np.moveaxis(inputs, -1, 1).copy(), requires_grad=True)
        y = module.train()(x)
        y.pow(3).sum().backward()
        found.append([y.detach(), x.grad, *(item.grad for item in module.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    limit = 1e-15 if precision == "float64" else 3e-7
    for name, array in stock.state_dict().items():
        torch.testing.assert_close(native.state_dict()[name], array, rtol=limit, atol=limit)
    with torch.no_grad():
        native.load_state_dict(stock.state_dict())
        assert torch.equal(native.eval()(x), stock.eval()(x))


L = keras.layers
KERAS_STOCK = {
    "batch": (BatchNorm(), (5,), lambda dtype: L.BatchNormalization(dtype=dtype)),
    "batch-positions": (BatchNorm(), (4, 3, 5), lambda dtype: L.BatchNormalization(dtype=dtype)),
    "layer": (LayerNorm(), (4, 5), lambda dtype: L.LayerNormalization(dtype=dtype)),
    "layer-two-axes": (LayerNorm(axes=2), (4, 5), lambda dtype: L.LayerNormalization(axis=[1, 2], dtype=dtype)),
    "rms": (RmsNorm(), (4, 5), lambda dtype: L.RMSNormalization(dtype=dtype)),
    "unit": (UnitNorm(), (4, 5), lambda dtype: L.UnitNormalization(dtype=dtype)),
    "group": (GroupNorm(2), (3, 4, 6), lambda dtype: L.GroupNormalization(groups=2, dtype=dtype)),
    "instance": (InstanceNorm(), (3, 4, 5), lambda dtype: L.GroupNormalization(groups=-1, dtype=dtype)),
}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("case", KERAS_STOCK)
def test_keras_equals_its_stock_layer(case: str, precision: str) -> None:
    """Bit for bit, running values included."""
    layer, shape, make = KERAS_STOCK[case]
    stock = make(precision)
    stock.build((None, *shape))
    stock.set_weights([1.0 + 0.3 * np.abs(draw(tuple(item.shape), 9)) for item in stock.weights])
    native = build(make_spec(layer, shape, "keras", precision), "tensorflow").native.layers[-1]
    assert type(native) is type(stock)
    native.set_weights(stock.get_weights())
    found = []
    for item in (native, stock):
        x = tf.Variable((3.0 * draw((4, *shape)) + 1.0).astype(precision))
        with tf.GradientTape() as tape:
            y = item(x, training=True)
            total = tf.reduce_sum(y**3)
        slopes = tape.gradient(total, [x, *(variable.value for variable in item.trainable_variables)])
        found.append([y, *slopes, *item.get_weights(), item(x, training=False)])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(two))


def test_every_layer_is_compared_with_stock() -> None:
    kinds = {BatchNorm, LayerNorm, RmsNorm, UnitNorm, GroupNorm, InstanceNorm}
    assert {type(row[0]) for row in TORCH_STOCK.values()} == kinds
    assert {type(row[0]) for row in KERAS_STOCK.values()} == kinds


# ---------------------------------------------------------------- training in step

TRAINED = {
    "batch": [Dense(6, activation="tanh"), BatchNorm(), Dense(4, activation="tanh"), BatchNorm(scale=False), Dense(2)],
    "batch-frozen": [Dense(6), BatchNorm(frozen=True), Dense(2)],
    "layer": [Dense(6, activation="tanh"), LayerNorm(), Dense(2)],
    "rms": [Dense(6, activation="tanh"), RmsNorm(), Dense(2)],
    "unit": [Dense(6, activation="tanh"), UnitNorm(), Dense(2)],
    "group": [Dense(6, activation="tanh"), GroupNorm(2), Dense(2)],
    "instance": [Dense(6, activation="tanh"), InstanceNorm(), Dense(2)],
}


@pytest.mark.parametrize("conventions", ["torch", "keras"])
@pytest.mark.parametrize("case", TRAINED)
def test_thirty_steps_in_step(case: str, conventions: str) -> None:
    spec = make_spec(TRAINED[case], (4, 3), conventions)
    data, order = make_batch(spec, draw((40, 4, 3), 1)), np.random.default_rng(2).integers(0, 40, 30 * 8)
    adam = spec.replace(optimizer=dualml.Adam(lr=0.01)).resolved.optimizer
    found = {}
    for name in BACKENDS:
        network = build(spec, name)
        trainer = network.trainer(spec.objective, adam, batch_size=8)
        trainer.run(trainer.place(data), order, np.full(30, 0.01))
        found[name] = network.get_weights()
    size = max(float(np.abs(array).max()) for array in found["torch"].values())
    assert gap(found["torch"], found["tensorflow"]) <= 1e-11 * size
    assert gap(found["torch"], weights_of(spec)) > 0.01


# ---------------------------------------------------------------- traps


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("conventions", "old", "less"), [("torch", 0.9, 1), ("keras", 0.99, 0)])
def test_momentum_and_running_variance_are_the_conventions(
    backend: str, conventions: str, old: float, less: int
) -> None:
    """Each backend follows the spec, also where that is the other framework's way."""
    spec = make_spec(BatchNorm(), (3, 2), conventions)
    inputs = 2.0 * draw((4, 3, 2), 3) + 1.0
    network, before = build(spec, backend), weights_of(spec)
    trainer = network.trainer(spec.objective, spec.resolved.optimizer, batch_size=4)
    trainer.step(make_batch(spec, inputs), 0.0)
    after = network.get_weights()
    rows = inputs.reshape(-1, 2)
    for role, new in (("running_mean", rows.mean(0)), ("running_variance", rows.var(0, ddof=less))):
        name = f"batch_norm_1.{role}"
        np.testing.assert_allclose(after[name], old * before[name] + (1 - old) * new, rtol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_part_is_missing_or_fixed(backend: str) -> None:
    """Scale and offset apart from each other, which torch's modules cannot say."""
    for kind in (BatchNorm, LayerNorm, lambda **parts: GroupNorm(2, **parts), InstanceNorm):
        for scale in (True, False):
            for offset in (True, False):
                spec = make_spec(kind(scale=scale, offset=offset), (3, 4))
                roles = {item.role for item in spec.graph.parameters}
                assert roles == {role for role, there in (("scale", scale), ("offset", offset)) if there}
                network, inputs = build(spec, backend), draw((3, 3, 4))
                wanted = reference.forward(spec.graph, weights_of(spec), inputs)[spec.graph.output]
                np.testing.assert_allclose(network.forward(inputs)[spec.graph.output], wanted, rtol=1e-13, atol=1e-14)
                found = network.gradients(make_batch(spec, inputs), spec.objective)
                assert found.parameters.keys() == {item.name for item in spec.graph.parameters}


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_value_for_each_channel(backend: str) -> None:
    """With the unbiased variance refused; with the biased one the offset alone, and the running variance sinks."""
    one = draw((1, 3))
    refused = make_spec(BatchNorm(variance="unbiased"), (3,))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"[Mm]ore than 1 value|at least 2 values"):
        build(refused, backend).gradients(make_batch(refused, one), refused.objective)
    spec = make_spec(BatchNorm(variance="biased", momentum=0.75), (3,))
    found = build(spec, backend).gradients(make_batch(spec, one), spec.objective, taps=["batch_norm_1"])
    weights = weights_of(spec)
    np.testing.assert_allclose(found.values["batch_norm_1"][0], weights["batch_norm_1.offset"], rtol=1e-9)
    variance = found.buffers["batch_norm_1.running_variance"]
    np.testing.assert_allclose(variance, 0.75 * weights["batch_norm_1.running_variance"], rtol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_small_epsilon_is_kept_in_float32(backend: str) -> None:
    """Fused kernels raise it to 1.001e-5, and variances below that show it."""
    spec = make_spec(BatchNorm(epsilon=1e-9), (3,), precision="float32")
    inputs = (1e-4 * draw((6, 3))).astype(np.float32)
    got = build(spec, backend).forward(inputs, training=True)["batch_norm_1"]
    weights = weights_of(spec)
    x = inputs.astype(np.float64)
    wanted = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-9)
    np.testing.assert_allclose(
        got, wanted * weights["batch_norm_1.scale"] + weights["batch_norm_1.offset"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_rms_norm_takes_no_mean_off(backend: str) -> None:
    """``keras.layers.LayerNormalization(rms_scaling=True)`` divides by the standard deviation instead."""
    spec = make_spec(RmsNorm(scale=False, epsilon=1e-6), (5,))
    inputs = draw((4, 5)) + 3.0
    wanted = inputs / np.sqrt((inputs**2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(build(spec, backend).forward(inputs)["rms_norm_1"], wanted, rtol=1e-14)


def test_torchs_rms_epsilon_is_that_of_the_precision() -> None:
    for precision in ("float32", "float64"):
        spec = make_spec([RmsNorm(), Dense(2)], (3,), precision=precision).resolved
        assert spec.model.layers[0].epsilon == torch.finfo(getattr(torch, precision)).eps
        assert spec.replace(precision="float32").resolved.model.layers[0].epsilon == spec.model.layers[0].epsilon


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_mask_arrives_by_itself(backend: str) -> None:
    """Keras hands an embedding's mask on to batch norm, whose statistics then leave out padding."""
    spec = make_spec([Embedding(5, 3), BatchNorm()], Input(shape=(4,), dtype="integer"))
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [4, 4, 1, 0]])
    wanted = reference.forward(spec.graph, weights_of(spec), ids, training=True)["batch_norm_1"]
    got = build(spec, backend).forward(ids, training=True)["batch_norm_1"]
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


def test_native_torch_stays_frozen_and_keeps_its_counter() -> None:
    spec = make_spec([BatchNorm(frozen=True), BatchNorm()], (3,))
    network, x = build(spec, "torch"), torch.tensor(draw((5, 3)))
    before = network.get_weights()
    network.forward(x.numpy(), training=True)
    assert network.native.get_submodule("batch_norm_2").num_batches_tracked == 0
    network.native.train()(x)
    after = network.get_weights()
    moved = {name for name in after if not np.array_equal(after[name], before[name])}
    assert moved == {"batch_norm_2.running_mean", "batch_norm_2.running_variance"}


def test_native_keras_stays_frozen_and_can_be_saved(tmp_path: Any) -> None:
    spec = make_spec([BatchNorm(frozen=True), BatchNorm(), RmsNorm(scale=False)], (3,))
    network, x = build(spec, "tensorflow"), draw((5, 3))
    before = network.get_weights()
    network.native(x, training=True)
    after = network.get_weights()
    moved = {name for name in after if not np.array_equal(after[name], before[name])}
    assert moved == {"batch_norm_2.running_mean", "batch_norm_2.running_variance"}
    assert len(network.native.trainable_variables) == 4  # scale and offset of the frozen one, too
    network.native.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), network.native(x))


# ---------------------------------------------------------------- what cannot work


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (lambda: GroupNorm(3), (2, 4), r"groups must divide the 4 channels .* got 3"),
        (lambda: GroupNorm(4), (4,), r"each of its 4 groups holds one value"),
        (lambda: InstanceNorm(), (4,), r"a channel of an input of shape \[4\] has one value"),
        (lambda: InstanceNorm(), (1, 1, 4), r"has one value"),
        (lambda: LayerNorm(axes=3), (2, 4), r"axes must be at most 2"),
        (lambda: RmsNorm(axes=2), (4,), r"axes must be at most 1"),
        (lambda: BatchNorm(momentum=0.1), (4,), r"momentum must be at least 0.5.*PyTorch.* 0.1 is 0.9 here"),
        (lambda: BatchNorm(momentum=1.0), (4,), r"less than 1"),
        (lambda: BatchNorm(epsilon=0.0), (4,), r"greater than 0"),
        (lambda: BatchNorm(variance="population"), (4,), r"'biased' or 'unbiased'"),
        (lambda: [BatchNorm(name="one"), Shared("one")], (4,), r"running statistics, which two inputs"),
    ],
)
def test_what_cannot_work_is_refused(layer: Any, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises((SpecError, ValueError), match=says):
        make_spec(layer(), shape).graph  # noqa: B018 (a property that checks)


# ---------------------------------------------------------------- unit norm


def test_keras_ops_normalize_has_another_epsilon():
    """``keras.ops.normalize`` scales nothing shorter than 1e-7 to length 1, the layer nothing shorter than 1e-12."""
    spec, short = make_spec(UnitNorm(), (3,), "keras"), np.full((1, 3), 1e-9)
    layer = build(spec, "tensorflow").forward(short)[spec.graph.output]
    np.testing.assert_allclose(np.linalg.norm(layer), 1.0, rtol=1e-12)
    assert np.linalg.norm(np.asarray(keras.ops.normalize(short))) < 0.1


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("epsilon", [None, 0.25])
def test_zeros_stay_zeros_and_have_a_gradient(backend, epsilon):
    """A vector of zeros has no direction: value 0, derivative ``1 / epsilon``, never NaN."""
    spec = make_spec([Dense(3), UnitNorm(epsilon=epsilon)], (2,))
    network = BACKENDS[backend].build(spec.graph, {name: 0.0 * a for name, a in weights_of(spec).items()})
    name = spec.graph.nodes[0].name
    got = network.gradients(make_batch(spec, draw((2, 2))), spec.objective, taps=[name, spec.graph.output])
    assert not got.values[spec.graph.output].any()
    used = spec.graph.nodes[-1].settings.epsilon
    upstream = got.values_gradients[spec.graph.output]
    np.testing.assert_allclose(got.values_gradients[name], upstream / used, rtol=1e-12)
