"""The PyTorch adapter's native model: stock modules, named after the graph, that run without dualml."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualml_torch import backend  # noqa: E402
from torch import fx, nn  # noqa: E402
from torch_support import PRECISIONS, RESIDUAL, make_batch, make_network, make_spec  # noqa: E402

import dualml  # noqa: E402
from dualml.protocol import Backend, Batch, Network, Trainer  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402


def test_backend_and_its_objects_follow_the_protocol() -> None:
    network = make_network(make_spec())
    trainer = network.trainer(make_spec().loss, make_spec().optimizer, batch_size=4)
    assert isinstance(backend, Backend)
    for built, protocol in ((network, Network), (trainer, Trainer)):
        wanted = {name for name in vars(protocol) if not name.startswith("_")}
        assert wanted <= set(dir(built))


def test_chain_is_a_stock_sequential_named_after_its_nodes() -> None:
    spec = make_spec()
    native = make_network(spec).native
    assert type(native) is nn.Sequential
    assert [type(module) for module in native] == [nn.Linear, nn.ReLU, nn.Linear, nn.Tanh, nn.Linear]
    assert [name for name, _ in native.named_children()] == [node.name for node in spec.graph.nodes]
    expected = [f"dense_{number}.{role}" for number in (1, 2, 3) for role in ("weight", "bias")]
    assert list(native.state_dict()) == expected


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_are_transposed_linear_weights_of_the_precision(precision: str) -> None:
    network = make_network(make_spec(precision=precision))
    weights = network.get_weights()
    kernel = network.native.dense_1.weight
    assert kernel.dtype == getattr(torch, precision)
    assert kernel.shape == (9, 12)
    assert np.array_equal(weights["dense_1.kernel"], kernel.detach().numpy().T)
    assert weights["dense_1.kernel"].flags.c_contiguous
    assert torch.get_default_dtype() == torch.float32


def test_building_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    for native_randomness in (False, True):
        make_network(make_spec(RESIDUAL), native_randomness=native_randomness)
    assert torch.equal(before, torch.get_rng_state())


def test_state_dict_runs_without_dualml() -> None:
    spec = make_spec()
    network = make_network(spec)
    file = io.BytesIO()
    torch.save(network.native.state_dict(), file)
    file.seek(0)
    layers = [nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 5)]
    plain = nn.Sequential(*layers)
    loaded = torch.load(file, weights_only=True)
    plain.load_state_dict(dict(zip(plain.state_dict(), loaded.values(), strict=True)))
    batch = make_batch(spec, 3)
    output = network.forward(batch.inputs)["dense_3"]
    assert np.array_equal(plain(torch.tensor(batch.inputs)).detach().numpy(), output)
    assert np.array_equal(torch.softmax(torch.tensor(output), -1).numpy(), network.predict(batch.inputs))


def test_graph_is_an_fx_module_of_stock_modules() -> None:
    spec = make_spec(RESIDUAL, precision="float64")
    network = make_network(spec, native_randomness=True)
    native = network.native
    assert isinstance(native, fx.GraphModule)
    assert {type(module) for name, module in native.named_modules() if name} == {nn.Linear, nn.ReLU, nn.Dropout}
    assert [name for name in native.state_dict() if name.endswith("weight")] == [
        "stem.weight",
        "train_.weight",  # nn.Module.train and GraphModule.code are taken
        "code_.weight",
    ]
    assert "torch.cat" in native.code
    inputs = make_batch(spec, 3).inputs
    copied = pickle.loads(pickle.dumps(native)).eval()
    x = torch.tensor(inputs)
    stem = torch.relu(native.stem(x))
    joined = torch.cat((stem + native.train_(stem) + x, stem), 1)
    expected = native.code_(joined).detach().numpy()
    assert np.array_equal(copied(x).detach().numpy(), expected)
    assert np.array_equal(network.forward(inputs)["code"], expected)


def test_names_that_python_or_torch_need_get_an_underscore() -> None:
    layers = [
        {"dense": {"units": 4}, "name": name} for name in ("train", "train_", "type", "forward", "lambda", "append")
    ]
    for extra in ([], [{"add": {}, "name": "last", "inputs": ["append", "forward"]}]):
        spec = make_spec({"input": [4], "layers": layers + extra})
        network = make_network(spec)
        names = [name.partition(".")[0] for name in network.native.state_dict() if name.endswith("weight")]
        assert names == ["train__", "train_", "type_", "forward_", "lambda_", "append_"]
        inputs = make_batch(spec, 2).inputs
        values = network.forward(inputs, taps=[node.name for node in spec.graph.nodes])
        assert list(values) == [node.name for node in spec.graph.nodes]
        native = network.native(torch.tensor(inputs))
        assert np.array_equal(native.detach().numpy(), values[spec.graph.output])


def test_reshapes_are_stock_modules() -> None:
    layers = [
        {"reshape": [3, 4]},
        {"dense": {"units": 2}},
        {"reshape": [2, -1]},
        {"reshape": [-1]},
        {"flatten": {}},
    ]
    spec = make_spec({"input": [12], "layers": layers}, loss="mse", precision="float64")
    network = make_network(spec)
    inputs = make_batch(spec, 5).inputs
    weights = network.get_weights()
    expected = inputs.reshape(5, 3, 4) @ weights["dense_1.kernel"] + weights["dense_1.bias"]
    values = network.forward(inputs, taps=["dense_1", "reshape_2", "reshape_3"])
    np.testing.assert_allclose(values["dense_1"], expected, rtol=1e-14, atol=1e-15)
    assert np.array_equal(values["reshape_2"], values["dense_1"].reshape(5, 2, 3))
    assert np.array_equal(values["reshape_3"], values["dense_1"].reshape(5, 6))
    assert np.array_equal(network.predict(inputs), values["flatten_1"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threshold", ["none", 1e6])
def test_softplus_without_threshold_neither_switches_nor_overflows(threshold: Any, precision: str) -> None:
    function = {"softplus": {"beta": 2.0, "threshold": threshold}}
    model = {"input": [1], "layers": [{"activation": {"function": function}}]}
    spec = make_spec(model, loss="mse", precision=precision)
    inputs = np.linspace(-400, 400, 1601).reshape(-1, 1).astype(precision)
    found = make_network(spec).gradients(Batch(inputs, np.zeros_like(inputs)), spec.loss, taps=["input"])
    z = 2.0 * inputs.astype(np.float64)
    value = np.logaddexp(0.0, z) / 2.0
    with np.errstate(over="ignore"):  # to 0, as it should
        slope = 1.0 / (1.0 + np.exp(-z))
    tolerance = 4 * np.finfo(precision).eps
    tiny = np.finfo(precision).tiny
    output = make_network(spec).forward(inputs)["activation_1"]
    np.testing.assert_allclose(output, value, rtol=tolerance, atol=tiny)
    expected = 2.0 * output.astype(np.float64) * slope / len(inputs)
    np.testing.assert_allclose(found.values_gradients["input"], expected, rtol=tolerance, atol=tiny)


def test_import_brings_no_other_framework() -> None:
    code = "import sys, dualml_torch; print({'tensorflow', 'keras', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_cannot_be_built_is_refused() -> None:
    spec = make_spec()
    weights = initial_weights(spec.graph, 0)
    with pytest.raises(dualml.UnsupportedError, match="device 'tpu'"):
        backend.build(spec.graph, weights, device="tpu")
    with pytest.raises(dualml.WeightsError, match=r"missing: dense_1\.kernel"):
        backend.build(spec.graph, {name: weights[name] for name in list(weights)[1:]})
    if not torch.cuda.is_available():
        assert backend.capabilities.devices == {"cpu"}
        with pytest.raises(dualml.BackendUnavailableError, match="is_available"):
            backend.build(spec.graph, weights, device="gpu")
