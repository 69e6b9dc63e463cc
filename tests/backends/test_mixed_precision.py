"""``precision: mixed_bfloat16``: layers compute in bfloat16, alike in both frameworks; all that is kept is float32."""

from __future__ import annotations

from dataclasses import replace
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
from dualml import reference, registry  # noqa: E402
from dualml.errors import SpecError, UnsupportedError  # noqa: E402
from dualml.protocol import Batch, Gradients  # noqa: E402
from dualml.spec.mixed import MIXED, MIXED_ACTIVATIONS, MIXED_OPERATIONS, check_mixed  # noqa: E402
from dualml.testing.cases import NETWORK_CASES, Case  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402

BACKENDS = {"torch": dualml_torch.backend, "tensorflow": dualml_tensorflow.backend}
UNIT = reference.unit_roundoff("bfloat16")


def able(case: Case) -> bool:
    try:
        check_mixed(case.graph())
    except SpecError:
        return False
    return True


CASES = [case for case in NETWORK_CASES if able(case)]


def graph_of(case: Case) -> Any:
    return case.spec("float32").replace(precision=MIXED).graph


def rounded(array: Any) -> Any:
    """The nearest bfloat16 numbers, in float32."""
    return torch.tensor(np.asarray(array, dtype=np.float32)).bfloat16().float().numpy()


def observed(case: Case, backend: str) -> Gradients:
    """One pass with everything tapped."""
    graph = graph_of(case)
    network = BACKENDS[backend].build(graph, case.weights("float32"))
    batch = case.batch("float32")
    return network.gradients(batch, case.objective, masks=case.masks() or None, taps=graph.names)


def worst(recorded: Any, wanted: Any, bound: Any) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.abs(recorded - wanted) / bound
    return float(np.where(recorded == wanted, 0.0, rho).max())


def test_every_operation_and_activation_has_a_case() -> None:
    nodes = [node for case in CASES for node in case.graph().nodes]
    assert {node.operation for node in nodes} == MIXED_OPERATIONS
    functions = {node.settings.function.kind for node in nodes if node.operation == "activation"}
    assert functions == MIXED_ACTIVATIONS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layers_compute_in_bfloat16(case: Case, backend: str) -> None:
    """What a layer gives are bfloat16 numbers, within the bounds of the formula for that unit; so are gradients."""
    graph, found = graph_of(case), observed(case, backend)
    batch, weights, masks = case.batch("float32"), case.weights("float32"), case.masks() or {}
    for node in graph.nodes:
        value = found.values[node.name]
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, rounded(value), err_msg=node.name)
        # A model's inputs are rounded first; what comes from a layer already is.
        sources = [rounded(found.values[name]) for name in node.inputs]
        settings: Any = {"training": True, "mask": masks.get(node.name)}
        wanted = reference.node_forward(node, weights, sources, **settings)
        bound = reference.forward_bound(node, weights, sources, **settings, unit=UNIT)
        assert worst(value, wanted, 2 * bound) <= 1.0, node.name
    given = {name: rounded(item) if item.dtype.kind == "f" else item for name, item in inputs_of(graph, batch).items()}
    at = Batch(given if len(given) > 1 else next(iter(given.values())), batch.targets, batch.weights)
    local = reference.local_gradients(graph, weights, at, case.objective, found, masks=masks or None, unit=UNIT)
    for name, wanted in local.parameters.items():
        assert found.parameters[name].dtype == np.float32
        assert worst(found.parameters[name], wanted, 2 * local.parameter_bounds[name]) <= 1.0, name
    for name, wanted in local.values.items():
        assert worst(found.values_gradients[name], wanted, 2 * local.value_bounds[name]) <= 1.0, name
    for name, wanted in local.buffers.items():
        # Statistics are float32, of bfloat16 values.
        assert worst(found.buffers[name], wanted, 64 * local.buffer_bounds[name] * 2.0**-16 + 1e-6) <= 1.0, name


def inputs_of(graph: Any, batch: Batch) -> dict[str, Any]:
    return graph.named_inputs(batch.inputs)


SUMS = {
    "dense": (dualml.Dense(4), (64, 8)),
    "conv1d": (dualml.Conv1d(4, 3), (64, 8)),
    "conv2d": (dualml.Conv2d(4, 3), (16, 16, 8)),
    "conv2d-groups": (dualml.Conv2d(4, 3, groups=2, padding=2), (16, 16, 8)),
    "conv3d": (dualml.Conv3d(4, 2), (8, 8, 8, 4)),
    "depthwise_conv1d": (dualml.DepthwiseConv1d(3), (64, 8)),
    "depthwise_conv2d": (dualml.DepthwiseConv2d(3, padding=2), (16, 16, 8)),
    "conv_transpose1d": (dualml.ConvTranspose1d(4, 3), (64, 8)),
    "conv_transpose2d": (dualml.ConvTranspose2d(4, 3), (16, 16, 8)),
    "conv_transpose2d-general": (dualml.ConvTranspose2d(4, 3, groups=2, dilation=2), (16, 16, 8)),
    "batch_norm": (dualml.BatchNorm(), (16, 16, 8)),
    "multiply": (dualml.Multiply(inputs=["a", "b"]), {"a": (16, 16, 4), "b": (4,)}),
    "global_average_pool": (dualml.GlobalAveragePool(), (64, 64, 2)),
    "average_pool2d": (dualml.AveragePool2d(16), (32, 32, 4)),
}
"""Layers with long sums: over 16,384 values and more in the gradients."""


def of_sums(name: str, network: Any, precision: str) -> Gradients:
    """One pass over 256 examples, of values that are bfloat16 numbers and have a mean."""
    layer, shape = SUMS[name]
    case = Case(name, shape, [layer], dualml.MeanSquaredError(), examples=256)
    batch = case.batch("float32")
    given = {key: rounded(item + 0.5) for key, item in case.graph().named_inputs(batch.inputs).items()}
    weights = {key: rounded(item) if "running" not in key else item for key, item in case.weights("float32").items()}
    graph = case.spec("float32").replace(precision=precision).graph
    batch = Batch(given if len(given) > 1 else next(iter(given.values())), batch.targets)
    return network.build(graph, weights).gradients(batch, case.objective, taps=graph.names)  # type: ignore[no-any-return]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SUMS)
def test_sums_are_in_float32(name: str, backend: str) -> None:
    """Summed in bfloat16 they would stop growing where a term is 1/256 of them."""
    mixed = of_sums(name, BACKENDS[backend], MIXED)
    wanted = of_sums(name, BACKENDS["torch"], "float32")
    for kind in ("parameters", "values", "values_gradients"):
        for key, array in getattr(wanted, kind).items():
            off = np.linalg.norm(getattr(mixed, kind)[key] - array) / np.linalg.norm(array)
            assert off <= (2.5 if name == "batch_norm" else 1.0) * UNIT, (kind, key, off / UNIT)


@pytest.mark.parametrize("stock", [keras.layers.Dense(4, dtype=MIXED), keras.layers.Conv1D(4, 1, dtype=MIXED)])
def test_stock_keras_sums_the_gradient_of_a_bias_in_bfloat16(stock: Any) -> None:
    """On a CPU; once this fails, the layers of ``dualml_tensorflow.layers.mixed`` can go."""
    inputs = tf.ones((256, 64, 8))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(stock(inputs), tf.float32))
    slope = tape.gradient(total, stock.bias.value).numpy()
    assert (slope < 0.1 * 256 * 64).all()


def test_a_saved_keras_model_computes_the_same(tmp_path: Any) -> None:
    network = dualml_tensorflow.backend.build(graph_of(CONVOLUTIONAL), CONVOLUTIONAL.weights("float32"))
    network.native.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = CONVOLUTIONAL.inputs("float32")
    np.testing.assert_array_equal(again(inputs).numpy(), network.native(inputs).numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer", [dualml.GlobalAveragePool(), dualml.AveragePool2d(64)])
def test_means_are_summed_in_float32(layer: Any, backend: str) -> None:
    case = Case("wide", (64, 64, 2), [layer], dualml.MeanSquaredError())
    network = BACKENDS[backend].build(graph_of(case), {})
    inputs = np.ones((2, 64, 64, 2), np.float32)
    inputs[:, ::2] = 1.5
    np.testing.assert_array_equal(network.forward(inputs)[case.graph().output].ravel(), np.full(4, 1.25))


CONVOLUTIONAL = Case(
    "convolutional",
    (8, 8, 3),
    [
        dualml.Conv2d(16, 3, padding=1, activation="relu"),
        dualml.BatchNorm(),
        dualml.MaxPool2d(2),
        dualml.Flatten(),
        dualml.Dropout(0.25),
        dualml.Dense(32, activation="gelu"),
        dualml.Dense(10),
    ],
    examples=64,
)


def test_both_frameworks_agree_to_bfloat16() -> None:
    one, two = (observed(CONVOLUTIONAL, backend) for backend in BACKENDS)
    assert one.loss == pytest.approx(two.loss, rel=4 * UNIT)
    for name, array in one.values.items():
        assert np.abs(array - two.values[name]).max() <= 8 * UNIT * np.abs(array).max(), name
    for name, array in one.parameters.items():
        assert np.linalg.norm(array - two.parameters[name]) <= 24 * UNIT * np.linalg.norm(array) + 1e-6, name


def test_torch_is_autocast_and_keras_the_policy() -> None:
    """The native models in a user's own hands: same numbers as the adapters', by each framework's own means."""
    graph = graph_of(CONVOLUTIONAL)
    weights, inputs = CONVOLUTIONAL.weights("float32"), CONVOLUTIONAL.inputs("float32")
    modules = dualml_torch.backend.build(graph, weights)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = modules.native.eval()(torch.tensor(inputs).movedim(-1, 1).bfloat16())
    assert output.dtype == torch.bfloat16
    np.testing.assert_array_equal(modules.forward(inputs)[graph.output], output.float().numpy())
    assert {item.dtype for item in modules.native.parameters()} == {torch.float32}
    assert isinstance(modules.native[0], nn.Conv2d)
    model = dualml_tensorflow.backend.build(graph, weights)
    found = model.native(inputs, training=False)
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(model.forward(inputs)[graph.output], tf.cast(found, tf.float32).numpy(), rtol=2 * UNIT)
    assert {layer.dtype_policy.name for layer in model.native.layers[1:]} == {MIXED}
    assert {variable.dtype for variable in model.native.weights if "seed" not in variable.path} == {"float32"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_kept_is_float32(backend: str) -> None:
    spec = CONVOLUTIONAL.spec("float32", dualml.Adam(lr=0.01)).replace(precision=MIXED).resolved
    network = BACKENDS[backend].build(spec.graph, initial_weights(spec.graph, 0))
    trainer = network.trainer(spec.objective, spec.optimizer, batch_size=16)
    batch, masks = CONVOLUTIONAL.batch("float32"), CONVOLUTIONAL.masks()
    losses = [trainer.step(batch, 0.01, masks=masks) for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert {array.dtype for array in network.get_weights().values()} == {np.dtype("float32")}
    slots = trainer.get_state().slots
    assert {array.dtype for arrays in slots.values() for array in arrays.values()} == {np.dtype("float32")}
    # A rate whose steps bfloat16 weights would not feel moves them.
    before = network.get_weights()["dense_1.kernel"]
    trainer.step(batch, 1e-5, masks=masks)
    moved = network.get_weights()["dense_1.kernel"] - before
    assert 0 < np.abs(moved).max() < 1e-4
    assert network.predict(batch.inputs).dtype == np.float32
    np.testing.assert_allclose(network.predict(batch.inputs).sum(-1), 1.0, rtol=1e-6)  # a softmax in float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_step_is_gradients_and_apply(backend: str) -> None:
    spec = CONVOLUTIONAL.spec("float32", dualml.Sgd()).replace(precision=MIXED).resolved
    batch, masks = CONVOLUTIONAL.batch("float32"), CONVOLUTIONAL.masks()
    found = []
    for whole in (True, False):
        network = BACKENDS[backend].build(spec.graph, CONVOLUTIONAL.weights("float32"))
        trainer = network.trainer(spec.objective, spec.optimizer, batch_size=64, compiled=False)
        if whole:
            trainer.step(batch, 0.1, masks=masks)
        else:
            got = network.gradients(batch, spec.objective, masks=masks)
            trainer.apply(got.parameters, 0.1)
            network.set_weights({**network.get_weights(), **got.buffers})
        found.append(network.get_weights())
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name], err_msg=name)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (dualml.Lstm(3), "the layer 'lstm'"),
        (dualml.LayerNorm(), "the layer 'layer_norm'"),
        (dualml.Dense(3, activation="softplus"), "the activation 'softplus'"),
        (dualml.Conv1d(2, 3, padding=1, padding_mode="reflect"), "padding_mode 'reflect'"),
    ],
)
def test_layers_that_differ_are_refused(layer: Any, said: str) -> None:
    case = Case("refused", (4, 5), [layer], dualml.MeanSquaredError())
    with pytest.raises(SpecError, match=rf"mixed_bfloat16 needs layers .*{said} .*use precision: float32"):
        graph_of(case)


def test_stock_layers_differ_where_they_are_refused() -> None:
    """Once this fails an embedding or a softplus can be let in."""
    ids = np.array([[1, 2]])
    with torch.autocast("cpu", torch.bfloat16):
        assert nn.Embedding(4, 3)(torch.tensor(ids)).dtype == torch.float32
        assert nn.ReflectionPad1d(1)(torch.zeros(1, 2, 4).bfloat16()).dtype == torch.float32
    assert keras.layers.Embedding(4, 3, dtype=MIXED)(ids).dtype == "bfloat16"


def test_a_backend_that_cannot_says_so() -> None:
    spec = CONVOLUTIONAL.spec("float32").replace(precision=MIXED)
    torch_backend = registry.load("torch")

    class Without:
        name = "without"
        capabilities = replace(torch_backend.capabilities, precisions=frozenset({"float32", "float64"}))

    with pytest.raises(UnsupportedError, match="'without' does not support precision mixed_bfloat16"):
        registry.check(Without(), spec)
