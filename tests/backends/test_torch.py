"""What only the PyTorch adapter promises: stock modules and optimizers, and the plain loop's numbers bit for bit."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualml_torch import backend  # noqa: E402
from dualml_torch.formulas import EpsilonHatAdam, GeneralSGD  # noqa: E402
from dualml_torch.layers import MaskedDropout  # noqa: E402
from torch import fx, nn  # noqa: E402 (after the skip)
from torch.nn import functional  # noqa: E402

import dualml  # noqa: E402
from dualml import randomness  # noqa: E402
from dualml.protocol import Backend, Batch, Network, State, Trainer  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402

PRECISIONS = ["float32", "float64"]

MLP = {
    "input": [12],
    "layers": [
        {"dense": {"units": 9, "activation": "relu"}},
        {"dense": {"units": 7, "activation": "tanh"}},
        {"dense": {"units": 5}},
    ],
}
RESIDUAL = {
    "input": [6],
    "layers": [
        {"dense": {"units": 6, "activation": "relu"}, "name": "stem"},
        {"dropout": {"rate": 0.25}, "name": "drop"},
        {"dense": {"units": 6}, "name": "train"},
        {"add": {}, "name": "sum", "inputs": ["stem", "train", "input"]},
        {"concat": {"axis": 0}, "name": "class", "inputs": ["sum", "stem"]},
        {"dense": {"units": 3}, "name": "code"},
    ],
}


def make_spec(model: Any = MLP, loss: Any = "cross_entropy", optimizer: Any = "adam", **settings: Any) -> dualml.Spec:
    return dualml.Spec(model=model, loss=loss, optimizer=optimizer, **settings).resolved


def make_network(spec: dualml.Spec, **settings: Any) -> Any:
    return backend.build(spec.graph, initial_weights(spec.graph, spec.seed), **settings)


def make_batch(spec: dualml.Spec, examples: int, seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((examples, *spec.graph.input_shape)).astype(spec.precision)
    shape = spec.graph.output_shape
    if spec.loss.target == "class":
        return Batch(inputs, generator.integers(0, shape[-1], (examples, *shape[:-1])))
    return Batch(inputs, generator.standard_normal((examples, *shape)).astype(spec.precision))


def make_masks(spec: dualml.Spec, examples: int) -> dict[str, Any]:
    return {
        node.name: randomness.keep_mask(0, node.name, (examples, *node.shape), node.settings.rate)
        for node in spec.graph.dropouts
    }


def rows(batch: Batch, order: Any) -> Batch:
    return Batch(batch.inputs[order], batch.targets[order])


def assert_same(left: Any, right: Any) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert np.array_equal(array, right[name]), name


# The native model


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


# Dropout


@pytest.mark.parametrize("native_randomness", [False, True])
def test_dropout_is_stock_or_takes_its_mask(native_randomness: bool) -> None:
    spec = make_spec({"input": [50], "layers": [{"dropout": {"rate": 0.3}}]}, loss="mse")
    network = make_network(spec, native_randomness=native_randomness)
    module = network.native.dropout_1
    assert type(module) is (nn.Dropout if native_randomness else MaskedDropout)
    x = torch.randn(4, 50)
    plain = nn.Dropout(0.3)
    torch.manual_seed(7)
    expected = plain(x)
    torch.manual_seed(7)
    assert torch.equal(network.native.train()(x), expected)  # in a user's own loop either is the stock module
    assert torch.equal(network.native.eval()(x), x)
    if native_randomness:
        network.seed(7)
        drawn = network.forward(x.numpy(), training=True)
        assert np.array_equal(drawn["dropout_1"], expected.numpy())
    else:
        masks = {"dropout_1": expected.numpy() != 0}  # the stock module's own mask gives its values bit for bit
        given = network.forward(x.numpy(), training=True, masks=masks)
        assert np.array_equal(given["dropout_1"], expected.numpy())
        assert module.mask is None
        before = torch.get_rng_state()
        network.seed(7)
        assert torch.equal(before, torch.get_rng_state())
        with pytest.raises(ValueError, match="needs a mask"):
            network.forward(x.numpy(), training=True)
        with pytest.raises(ValueError, match="shape"):
            network.forward(x.numpy(), training=True, masks={"dropout_1": masks["dropout_1"][:1]})


# Gradients


@pytest.mark.parametrize("model", [MLP, RESIDUAL], ids=["chain", "graph"])
@pytest.mark.parametrize("loss", ["cross_entropy", {"cross_entropy": {"label_smoothing": 0.2}}, "mse"], ids=str)
def test_gradients_are_central_differences(model: Any, loss: Any) -> None:
    spec = make_spec(model, loss=loss, precision="float64")
    network = make_network(spec)
    batch, masks = make_batch(spec, 5), make_masks(spec, 5)
    taps = ["input", *(node.name for node in spec.graph.nodes)]
    found = network.gradients(batch, spec.loss, masks=masks, taps=taps, count=8)
    assert found.loss == pytest.approx(found.example_losses.sum() / 8, rel=1e-14)
    assert set(found.values) == set(found.values_gradients) == set(taps)
    values = network.forward(batch.inputs, training=True, masks=masks, taps=taps)
    assert_same(values, found.values)
    untapped = network.gradients(batch, spec.loss, masks=masks, count=8)
    assert_same(found.parameters, untapped.parameters)
    assert found.loss == untapped.loss
    weights = network.get_weights()

    def loss_with(name: str, index: tuple[int, ...], change: float) -> float:
        moved = {key: value.copy() for key, value in weights.items()}
        moved[name][index] += change
        network.set_weights(moved)
        return network.gradients(batch, spec.loss, masks=masks, count=8).loss

    for name, gradient in found.parameters.items():
        for index in ((0,) * gradient.ndim, tuple(size - 1 for size in gradient.shape)):
            slope = (loss_with(name, index, 1e-6) - loss_with(name, index, -1e-6)) / 2e-6
            assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-9), name
    network.set_weights(weights)
    moved = batch.inputs.copy()
    moved[1, 2] += 1e-6
    rise = network.gradients(Batch(moved, batch.targets), spec.loss, masks=masks, count=8).loss - found.loss
    assert found.values_gradients["input"][1, 2] == pytest.approx(rise / 1e-6, rel=1e-3, abs=1e-6)


def test_gradient_of_a_node_that_changes_nothing_is_its_own() -> None:
    layers = [
        {"flatten": {}, "name": "same"},  # returns its input itself
        {"add": {}, "name": "twice", "inputs": ["same", "input"]},
        {"add": {}, "name": "thrice", "inputs": ["twice", "input"]},
    ]
    spec = make_spec({"input": [3], "layers": layers}, loss="mse", precision="float64")
    batch = make_batch(spec, 2)
    taps = ["input", "same", "twice", "thrice"]
    found = make_network(spec).gradients(batch, spec.loss, taps=taps).values_gradients
    top = 2 * (3 * batch.inputs - batch.targets) / 6
    for name, factor in {"input": 3, "same": 1, "twice": 1, "thrice": 1}.items():
        np.testing.assert_allclose(found[name], factor * top, rtol=1e-14, err_msg=name)


def test_nothing_is_left_behind_or_shared() -> None:
    spec = make_spec(RESIDUAL)
    network = make_network(spec)
    batch, masks = make_batch(spec, 4), make_masks(spec, 4)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    network.native.train()
    network.native.drop.eval()
    marks = [torch.full_like(parameter, 3.0) for parameter in network.native.parameters()]
    for parameter, mark in zip(network.native.parameters(), marks, strict=True):
        parameter.grad = mark
    kept = copy.deepcopy((batch, masks))
    with torch.no_grad():  # the caller's mode makes no difference
        found = network.gradients(batch, spec.loss, masks=masks, taps=["stem", "sum", "input"])
        values = network.forward(batch.inputs, training=True, masks=masks, taps=["stem"])
        weights = network.get_weights()
        held = copy.deepcopy((found, values, weights))
        placed = trainer.place(batch)
        trainer.step(batch, 0.1, masks=masks)
        trainer.apply(found.parameters, 0.1)
        state = trainer.get_state()
        held_state = copy.deepcopy(state)
        trainer.run(placed, np.arange(4), np.array([0.1]), masks=masks)
    assert network.native.stem.training
    assert not network.native.drop.training
    for parameter, mark in zip(network.native.parameters(), marks, strict=True):
        assert parameter.grad is mark
        assert bool((mark == 3.0).all())
    assert not any(module._forward_hooks for module in network.native.modules())
    assert np.array_equal(kept[0].inputs, batch.inputs)
    assert_same(kept[1], masks)
    assert_same(held[0].parameters, found.parameters)
    assert_same(held[0].values, found.values)
    assert_same(held[1], values)
    assert_same(held[2], weights)
    for slot, arrays in held_state.slots.items():
        assert_same(arrays, state.slots[slot])
    assert not np.array_equal(network.get_weights()["stem.kernel"], weights["stem.kernel"])
    found.values["stem"][:] = weights["stem.kernel"][:] = 9.0
    assert not (network.get_weights()["stem.kernel"] == 9.0).any()


def test_unknown_taps_are_refused() -> None:
    spec = make_spec()
    with pytest.raises(ValueError, match=r"taps must be among input, dense_1.*got nowhere"):
        make_network(spec).gradients(make_batch(spec, 2), spec.loss, taps=["nowhere"])


# The plain loop, bit for bit

OPTIMIZERS = {
    "adam": ({"adam": {"lr": 0.01}}, lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam_coupled": (
        {"adam": {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}},
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    ),
    "adam_decoupled": (
        {"adam": {"lr": 0.01, "weight_decay": 0.1, "decay": "decoupled"}},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "adamw": ({"adamw": {"lr": 0.01}}, lambda p: torch.optim.AdamW(p, lr=0.01)),
    "sgd": ({"sgd": {"lr": 0.05}}, lambda p: torch.optim.SGD(p, lr=0.05)),
    "sgd_nesterov": (
        {"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
}
LOSSES = {
    "cross_entropy": ("cross_entropy", functional.cross_entropy),
    "smoothed": (
        {"cross_entropy": {"label_smoothing": 0.1}},
        lambda output, target: functional.cross_entropy(output, target, label_smoothing=0.1),
    ),
    "mse": ("mse", functional.mse_loss),
}


def plain_model(precision: str, weights: Any) -> nn.Sequential:
    dtype = getattr(torch, precision)
    model = nn.Sequential(
        nn.Linear(12, 9, dtype=dtype),
        nn.ReLU(),
        nn.Linear(9, 7, dtype=dtype),
        nn.Tanh(),
        nn.Linear(7, 5, dtype=dtype),
    )
    with torch.no_grad():
        for layer, number in ((0, 1), (2, 2), (4, 3)):
            model[layer].weight.copy_(torch.tensor(weights[f"dense_{number}.kernel"]).T)
            model[layer].bias.copy_(torch.tensor(weights[f"dense_{number}.bias"]))
    return model


def assert_same_weights(weights: Any, model: nn.Sequential) -> None:
    for layer, number in ((0, 1), (2, 2), (4, 3)):
        assert np.array_equal(weights[f"dense_{number}.kernel"].T, model[layer].weight.detach().numpy()), number
        assert np.array_equal(weights[f"dense_{number}.bias"], model[layer].bias.detach().numpy()), number


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("clip", [None, 0.3], ids=["free", "clipped"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_plain_loop_is_reproduced_bit_for_bit(optimizer: str, loss: str, clip: float | None, precision: str) -> None:
    settings, make_optimizer = OPTIMIZERS[optimizer]
    loss_settings, loss_function = LOSSES[loss]
    train = {} if clip is None else {"clip": {"global_norm": clip}}
    spec = make_spec(loss=loss_settings, optimizer=settings, precision=precision, train=train)
    network = make_network(spec)
    batch = make_batch(spec, 50)
    order = np.random.default_rng(1).permutation(np.tile(np.arange(50), 3))
    rates = np.linspace(0.05, 0.001, 10)

    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=16, clip=spec.train.clip)
    losses = trainer.run(trainer.place(batch), order, rates)

    model = plain_model(precision, initial_weights(spec.graph, spec.seed))
    native = make_optimizer(model.parameters())
    assert type(trainer.optimizer) is type(native)
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets)
    expected = []
    for start, rate in zip(range(0, 150, 16), rates, strict=True):  # the last batch has 6 examples
        chosen = order[start : start + 16]
        native.param_groups[0]["lr"] = rate
        native.zero_grad()
        value = loss_function(model(inputs[chosen]), targets[chosen])
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        native.step()
        expected.append(value.item())
    assert losses.tolist() == expected
    assert_same_weights(network.get_weights(), model)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_plain_accumulation_is_reproduced_bit_for_bit(precision: str) -> None:
    spec = make_spec(precision=precision)
    network = make_network(spec)
    batch = make_batch(spec, 42)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=8, update_size=20)
    losses = trainer.run(trainer.place(batch), np.arange(42), np.full(3, 0.01))

    model = plain_model(precision, initial_weights(spec.graph, spec.seed))
    native = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets)
    expected = []
    for first, last in ((0, 20), (20, 40), (40, 42)):
        native.zero_grad()
        total = 0.0
        for start in range(first, last, 8):
            piece = slice(start, min(start + 8, last))
            output = model(inputs[piece])
            value = functional.cross_entropy(output, targets[piece], reduction="sum") / (last - first)
            if last - first <= 8:  # one piece is the plain mean
                value = functional.cross_entropy(output, targets[piece])
            value.backward()
            total += value.item()
        native.step()
        expected.append(total)
    assert losses.tolist() == expected
    assert_same_weights(network.get_weights(), model)


def test_losses_over_inner_positions_are_the_plain_mean() -> None:
    model = {"input": [4, 6], "layers": [{"dense": {"units": 5}}]}
    for loss in ("cross_entropy", {"cross_entropy": {"label_smoothing": 0.1}}, "mse"):
        spec = make_spec(model, loss=loss)
        network = make_network(spec)
        batch = make_batch(spec, 7)
        found = network.gradients(batch, spec.loss, count=7)
        output = network.native(torch.tensor(batch.inputs))
        if loss == "mse":
            expected = functional.mse_loss(output, torch.tensor(batch.targets))
        else:
            smoothing = spec.loss.label_smoothing
            classes = output.permute(0, 2, 1)
            expected = functional.cross_entropy(classes, torch.tensor(batch.targets), label_smoothing=smoothing)
        assert found.loss == expected.item()
        assert found.example_losses.shape == (7,)
        assert found.example_losses.mean() == pytest.approx(expected.item(), rel=1e-6)
        halved = network.gradients(batch, spec.loss, count=14)
        assert halved.loss == pytest.approx(expected.item() / 2, rel=1e-6)


# Optimizers and clipping by their formulas

FORMULAS = [
    *(
        {"sgd": {"momentum": momentum, "nesterov": nesterov, "decay": decay, "lr_in_momentum": inside}}
        for momentum in (0.0, 0.8)
        for nesterov in (False, True)
        for decay in ("coupled", "decoupled")
        for inside in (False, True)
    ),
    *(
        {"adam": {"decay": decay, "epsilon_placement": placement, "epsilon": 1e-3, "beta2": 0.9}}
        for decay in ("coupled", "decoupled")
        for placement in ("corrected", "uncorrected")
    ),
    *({"adamw": {"epsilon_placement": placement, "epsilon": 1e-3}} for placement in ("corrected", "uncorrected")),
]


def update_by_formula(settings: Any, p: Any, g: Any, slots: dict[str, Any], t: int, lr: float) -> Any:
    """One update of one array, written from the docstrings of dualml/spec/optimizers.py."""
    w = settings.weight_decay
    if settings.decay == "coupled":
        g = g + w * p
    else:
        p = p - lr * w * p
    if settings.kind == "sgd":
        m = settings.momentum
        if settings.lr_in_momentum:
            v = slots["momentum"] = m * slots.get("momentum", 0.0) - lr * g
            return p + m * v - lr * g if settings.nesterov else p + v
        b = slots["momentum"] = m * slots.get("momentum", 0.0) + g
        return p - lr * (g + m * b if settings.nesterov else b)
    b1, b2 = settings.beta1, settings.beta2
    m = slots["first_moment"] = b1 * slots.get("first_moment", 0.0) + (1 - b1) * g
    v = slots["second_moment"] = b2 * slots.get("second_moment", 0.0) + (1 - b2) * g**2
    c1, c2 = 1 - b1**t, 1 - b2**t
    if settings.epsilon_placement == "corrected":
        return p - lr * (m / c1) / (np.sqrt(v / c2) + settings.epsilon)
    return p - lr * (np.sqrt(c2) / c1) * m / (np.sqrt(v) + settings.epsilon)


@pytest.mark.parametrize("settings", FORMULAS, ids=str)
def test_updates_follow_the_formula_in_float64(settings: Any) -> None:
    ((kind, chosen),) = settings.items()
    spec = make_spec(optimizer={kind: {**chosen, "lr": 0.1, "weight_decay": 0.07}}, precision="float64")
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    expected = network.get_weights()
    slots: dict[str, dict[str, Any]] = {name: {} for name in expected}
    generator = np.random.default_rng(2)
    for t, lr in enumerate((0.1, 0.1, 0.02, 0.3, 0.05), start=1):  # a change of rate tells lr_in_momentum apart
        gradients = {name: generator.standard_normal(array.shape) for name, array in expected.items()}
        trainer.apply(gradients, lr)
        expected = {
            name: update_by_formula(spec.optimizer, array, gradients[name], slots[name], t, lr)
            for name, array in expected.items()
        }
    for name, array in network.get_weights().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-13, atol=1e-14, err_msg=name)
    state = trainer.get_state()
    assert state.step == 5
    assert set(state.slots) == set(spec.optimizer.slots)
    for slot, arrays in state.slots.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, slots[name][slot], rtol=1e-13, atol=1e-14, err_msg=f"{slot} {name}")


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_follows_the_formula(max_norm: float, epsilon: float) -> None:
    clip = {"clip": {"global_norm": {"max_norm": max_norm, "epsilon": epsilon}}}
    spec = make_spec(optimizer={"sgd": {"lr": 1.0}}, precision="float64", train=clip)
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4, clip=spec.train.clip)
    before = network.get_weights()
    generator = np.random.default_rng(3)
    gradients = {name: generator.standard_normal(array.shape) for name, array in before.items()}
    norm = np.sqrt(sum((array**2).sum() for array in gradients.values()))
    factor = min(1.0, max_norm / (norm + epsilon))
    trainer.apply(gradients, 1.0)
    for name, array in network.get_weights().items():
        np.testing.assert_allclose(array, before[name] - factor * gradients[name], rtol=1e-13, atol=1e-14)
    after = network.get_weights()
    trainer.apply({name: np.zeros_like(array) for name, array in before.items()}, 1.0)
    assert_same(after, network.get_weights())  # a norm of 0 is not divided by


@pytest.mark.parametrize(
    "make",
    [
        lambda p: GeneralSGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: EpsilonHatAdam(p, lr=0.02, weight_decay=1e-3),
    ],
    ids=["GeneralSGD", "EpsilonHatAdam"],
)
def test_own_optimizers_serve_any_loop(make: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])

    def train(steps: int, model: nn.Module, optimizer: Any) -> float:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        for _ in range(steps):
            loss = optimizer.step(closure)
        return float(loss.detach())

    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    frozen = nn.Parameter(torch.ones(2))  # has no gradient and is passed over
    optimizer = make([*model.parameters(), frozen])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    first = train(1, model, optimizer)
    scheduler.step()
    twin = copy.deepcopy(model)
    again = make([*twin.parameters(), nn.Parameter(torch.ones(2))])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(150, model, optimizer) < 0.05 * first
    train(150, twin, again)
    assert torch.equal(model.weight, twin.weight)
    assert torch.equal(frozen.detach(), torch.ones(2))
    with pytest.raises(ValueError, match="lr"):
        type(optimizer)([frozen], lr=-1.0)


# Trainers

TRAINED = [
    {"adam": {"lr": 0.01}},
    {"adam": {"lr": 0.01, "epsilon_placement": "uncorrected"}},
    {"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": True}},
    {"sgd": {"lr": 0.05, "momentum": 0.9, "lr_in_momentum": True, "weight_decay": 0.01, "decay": "decoupled"}},
    {"sgd": {"lr": 0.05}},
]


def make_trainer(spec: dualml.Spec, network: Any, **sizes: Any) -> Any:
    sizes = sizes or {"batch_size": 8}
    return network.trainer(spec.loss, spec.optimizer, clip=spec.train.clip, **sizes)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", TRAINED, ids=str)
def test_run_is_steps_is_gradients_then_apply(optimizer: Any, precision: str) -> None:
    clip = {"clip": {"global_norm": 0.7}}
    spec = make_spec(RESIDUAL, optimizer=optimizer, precision=precision, train=clip)
    batch, masks = make_batch(spec, 30), make_masks(spec, 45)
    order = np.random.default_rng(4).integers(0, 30, 45)
    rates = np.linspace(0.05, 0.01, 6)

    run_network = make_network(spec)
    trainer = make_trainer(spec, run_network)
    run_losses = trainer.run(trainer.place(batch), order, rates, masks=masks)
    assert run_losses.dtype == np.float64

    step_network, parts_network = make_network(spec), make_network(spec)
    step_trainer, parts_trainer = make_trainer(spec, step_network), make_trainer(spec, parts_network)
    step_losses, parts_losses = [], []
    for update, lr in enumerate(rates.tolist()):
        piece = slice(8 * update, 8 * update + 8)
        some, given = rows(batch, order[piece]), {name: mask[piece] for name, mask in masks.items()}
        step_losses.append(step_trainer.step(some, lr, masks=given))
        found = parts_network.gradients(some, spec.loss, masks=given)
        parts_losses.append(found.loss)
        parts_trainer.apply(found.parameters, lr)
    assert run_losses.tolist() == step_losses == parts_losses
    for other, other_trainer in ((step_network, step_trainer), (parts_network, parts_trainer)):
        assert_same(run_network.get_weights(), other.get_weights())
        for slot, arrays in trainer.get_state().slots.items():
            assert_same(arrays, other_trainer.get_state().slots[slot])
        assert trainer.get_state().step == other_trainer.get_state().step == 6


def test_accumulated_run_is_steps_is_summed_gradients() -> None:
    spec = make_spec(RESIDUAL, optimizer={"sgd": {"lr": 0.05, "momentum": 0.5}})
    batch, masks = make_batch(spec, 30), make_masks(spec, 30)
    sizes = {"batch_size": 4, "update_size": 12}
    networks = [make_network(spec) for _ in range(3)]
    run, step, parts = (make_trainer(spec, network, **sizes) for network in networks)
    losses = run.run(run.place(batch), np.arange(30), np.full(3, 0.05), masks=masks)
    for update, first in enumerate((0, 12, 24)):
        last = min(first + 12, 30)
        given = {name: mask[first:last] for name, mask in masks.items()}
        assert step.step(rows(batch, slice(first, last)), 0.05, masks=given) == losses[update]
        summed: dict[str, Any] = {}
        for start in range(first, last, 4):
            piece = slice(start, min(start + 4, last))
            given = {name: mask[piece] for name, mask in masks.items()}
            found = networks[2].gradients(rows(batch, piece), spec.loss, masks=given, count=last - first)
            for name, array in found.parameters.items():
                summed[name] = summed[name] + array if name in summed else array
        parts.apply(summed, 0.05)
    assert_same(networks[0].get_weights(), networks[1].get_weights())
    assert_same(networks[0].get_weights(), networks[2].get_weights())


def test_accumulation_equals_the_large_batch_in_float64() -> None:
    spec = make_spec(optimizer={"adam": {"lr": 0.01}}, precision="float64", train={"clip": {"global_norm": 0.1}})
    batch = make_batch(spec, 30)
    found = []
    for batch_size in (12, 5):
        network = make_network(spec)
        trainer = make_trainer(spec, network, batch_size=batch_size, update_size=12)
        losses = trainer.run(trainer.place(batch), np.arange(30), np.full(3, 0.01))
        found.append({**network.get_weights(), "losses": losses})
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("optimizer", TRAINED, ids=str)
def test_state_goes_round_and_training_goes_on_bit_for_bit(optimizer: Any) -> None:
    spec = make_spec(optimizer=optimizer)
    batch = make_batch(spec, 24)
    network = make_network(spec)
    trainer = make_trainer(spec, network)
    fresh = trainer.get_state()
    assert fresh.step == 0
    assert set(fresh.slots) == set(spec.optimizer.slots)
    for arrays in fresh.slots.values():
        assert {name: array.shape for name, array in arrays.items()} == {
            item.name: item.shape for item in spec.graph.parameters
        }
        assert not any(array.any() for array in arrays.values())
    start = network.get_weights()
    placed = trainer.place(batch)
    trainer.run(placed, np.arange(24), np.full(3, 0.05))
    middle, state = network.get_weights(), trainer.get_state()
    losses = trainer.run(placed, np.arange(24), np.full(3, 0.02))
    end = network.get_weights()

    other = make_network(spec)
    resumed = make_trainer(spec, other)
    resumed.run(placed, np.arange(16), np.full(2, 0.3))  # some other past, to be replaced
    other.set_weights(middle)
    resumed.set_state(state)
    assert resumed.get_state().step == 3
    for slot, arrays in state.slots.items():
        assert_same(arrays, resumed.get_state().slots[slot])
    assert resumed.run(placed, np.arange(24), np.full(3, 0.02)).tolist() == losses.tolist()
    assert_same(end, other.get_weights())

    other.set_weights(start)
    resumed.set_state(fresh)
    resumed.run(placed, np.arange(24), np.full(3, 0.05))
    assert_same(middle, other.get_weights())


def test_wrong_state_is_refused_and_changes_nothing() -> None:
    spec = make_spec()
    network = make_network(spec)
    trainer = make_trainer(spec, network)
    trainer.step(make_batch(spec, 4), 0.1)
    state = trainer.get_state()
    with pytest.raises(dualml.WeightsError, match="first_moment, second_moment, got momentum"):
        trainer.set_state(State(1, {"momentum": state.slots["first_moment"]}))
    short = {name: array for name, array in state.slots["first_moment"].items() if name != "dense_1.bias"}
    with pytest.raises(dualml.WeightsError, match=r"missing: dense_1\.bias"):
        trainer.set_state(State(1, {**state.slots, "first_moment": short}))
    assert_same(state.slots["first_moment"], trainer.get_state().slots["first_moment"])
    with pytest.raises(dualml.WeightsError, match="gradients"):
        trainer.apply({}, 0.1)


def test_rates_must_match_the_updates() -> None:
    spec = make_spec()
    trainer = make_trainer(spec, make_network(spec))
    placed = trainer.place(make_batch(spec, 20))
    with pytest.raises(ValueError, match="are 3 updates"):
        trainer.run(placed, np.arange(20), np.full(2, 0.1))
    assert trainer.run(placed, np.arange(0), np.empty(0)).shape == (0,)
    with pytest.raises(ValueError, match="at least one example"):
        trainer.step(make_batch(spec, 0), 0.1)


def test_arguments_of_any_strides_are_taken() -> None:
    spec = make_spec()
    batch = make_batch(spec, 8)
    strange = Batch(np.asfortranarray(batch.inputs)[::-1], batch.targets[::-1].astype(np.int32))
    for array in (strange.inputs, strange.targets):
        array.flags.writeable = False
    networks = [make_network(spec) for _ in range(2)]
    losses = [
        make_trainer(spec, network).step(some, 0.1)
        for network, some in zip(networks, (rows(batch, slice(None, None, -1)), strange), strict=True)
    ]
    assert losses[0] == losses[1]
    assert_same(networks[0].get_weights(), networks[1].get_weights())
