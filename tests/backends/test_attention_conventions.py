"""Attention: equal to each framework's own layers, and what they disagree about."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from dualml import randomness, reference, registry
from dualml.errors import DualmlError, SpecError
from dualml.protocol import Batch
from dualml.spec.config import Spec
from dualml.weights import initial_weights

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("tensorflow") is None, reason="both frameworks are needed"
)

BACKENDS = ("torch", "tensorflow")
EXAMPLES, QUERIES, KEYS, UNITS, OTHER, HEADS = 3, 5, 4, 8, 6, 2
IDS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]])
KEPT = IDS != 0
TRI = np.tri(QUERIES, dtype=bool)


def make_spec(*, memory: bool = False, mask: bool = False, attention: Any = None, **settings: Any) -> Spec:
    """A model of one attention layer, ``attend``."""
    inputs: dict[str, Any] = {"x": [QUERIES, UNITS]}
    layers: list[Any] = []
    if memory:
        inputs["memory"] = [KEYS, OTHER]
    sources = list(inputs)
    chosen = {"heads": HEADS, **(attention or {})}
    if mask:
        inputs["ids"] = {"shape": [KEYS if memory else QUERIES], "dtype": "integer"}
        layers.append({"padding_mask": 0, "name": "kept", "inputs": "ids"})
        chosen["mask"] = "kept"
    layers.append({"attention": chosen, "name": "attend", "inputs": sources})
    given = {"loss": "mse", "optimizer": {"adam": {"lr": 0.01}}, "precision": "float64", **settings}
    return Spec(model={"inputs": inputs, "layers": layers}, **given).resolved


def weights_of(spec: Spec) -> dict[str, Any]:
    """Weights of which none is 0, biases included."""
    shapes = {item.name: item.shape for item in spec.graph.parameters}
    return {name: randomness.normal(4, name, shape) / 2 for name, shape in shapes.items()}


def data_of(spec: Spec, seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    found = {}
    for item in spec.graph.inputs:
        values = generator.standard_normal((EXAMPLES, *item.shape))
        found[item.name] = IDS[:, : item.shape[0]] if item.integer else values
    return found


def build(spec: Spec, backend: str, weights: Any = None) -> Any:
    return registry.load(backend).build(spec.graph, weights_of(spec) if weights is None else weights)


def targets_of(spec: Spec, seed: int = 0) -> Any:
    shape = spec.graph.by_name[spec.graph.output].shape
    return np.random.default_rng(seed + 9).standard_normal((EXAMPLES, *shape))


def role(weights: Any, name: str) -> Any:
    return weights[f"attend.{name}"]


# ------------------------------------------------------------------ as each framework has it


def stock_torch(weights: Any, **settings: Any) -> Any:
    """``torch.nn.MultiheadAttention`` with these weights."""
    import torch

    theirs = torch.nn.MultiheadAttention(UNITS, HEADS, batch_first=True, dtype=torch.float64, **settings)
    native = {name: torch.tensor(role(weights, f"{name}_kernel").T.copy()) for name in ("query", "key", "value")}
    state = {
        "in_proj_bias": torch.tensor(np.concatenate([role(weights, f"{n}_bias") for n in ("query", "key", "value")])),
        "out_proj.weight": torch.tensor(role(weights, "output_kernel").T.copy()),
        "out_proj.bias": torch.tensor(role(weights, "output_bias")),
    }
    if "kdim" in settings:
        state |= {f"{name[0]}_proj_weight": array for name, array in native.items()}
    else:
        state["in_proj_weight"] = torch.cat(list(native.values()))
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_torch_conventions_are_the_stock_module(memory: bool, causal: bool, mask: bool) -> None:
    import torch

    spec = make_spec(memory=memory, mask=mask, attention={"causal": causal}, conventions="torch")
    weights, data, targets = weights_of(spec), data_of(spec), targets_of(spec)
    theirs = stock_torch(weights, **({"kdim": OTHER, "vdim": OTHER} if memory else {}))
    x = torch.tensor(data["x"], requires_grad=True)
    other = torch.tensor(data["memory"]) if memory else x
    keys = other.shape[1]
    output, _ = theirs(
        x,
        other,
        other,
        key_padding_mask=torch.tensor(data["ids"] == 0) if mask else None,
        attn_mask=torch.ones(QUERIES, keys, dtype=torch.bool).triu(1) if causal else None,
        need_weights=False,
    )
    ((output - torch.tensor(targets)) ** 2).flatten(1).mean(1).mean().backward()
    found = build(spec, "torch", weights).gradients(Batch(data, targets), spec.loss, taps=["x", "attend"])
    # The packed projection is one product of matrices instead of three, so the last bits may differ.
    close = {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(found.values["attend"], output.detach().numpy(), **close)
    np.testing.assert_allclose(found.values_gradients["x"], x.grad.numpy(), **close)
    np.testing.assert_allclose(found.parameters["attend.output_kernel"].T, theirs.out_proj.weight.grad, **close)
    mine = [found.parameters[f"attend.{name}_kernel"].T for name in ("query", "key", "value")]
    if memory:
        stock = [theirs.q_proj_weight.grad, theirs.k_proj_weight.grad, theirs.v_proj_weight.grad]
    else:
        stock = theirs.in_proj_weight.grad.split(UNITS)
    for one, two in zip(mine, stock, strict=True):
        np.testing.assert_allclose(one, two.numpy(), **close)


def stock_keras(weights: Any, *, key_heads: int | None = None, exact: bool = True) -> Any:
    """``keras.layers.MultiHeadAttention`` or ``GroupQueryAttention`` with these weights.

    Its scale is ``1 / sqrt(size)`` as a Python float, which Keras rounds to float32 whatever the layer's dtype; with
    ``exact`` it is set to a NumPy number, which Keras leaves alone.
    """
    import keras

    size = UNITS // HEADS
    if key_heads is None:
        layer = keras.layers.MultiHeadAttention(HEADS, size, dtype="float64")
        layer.build((None, QUERIES, UNITS), (None, *_memory_shape(weights)))
        name = "_inverse_sqrt_key_dim"
    else:
        layer = keras.layers.GroupQueryAttention(size, HEADS, key_heads, dtype="float64")
        layer.build((None, QUERIES, UNITS), (None, *_memory_shape(weights)))
        name = "_inverse_sqrt_head_dim"
    assert getattr(layer, name) == size**-0.5
    if exact:
        setattr(layer, name, np.float64(size) ** -0.5)
    arrays = []
    for part, heads in (("query", HEADS), ("key", key_heads or HEADS), ("value", key_heads or HEADS)):
        kernel = role(weights, f"{part}_kernel")
        arrays += [kernel.reshape(len(kernel), heads, size), role(weights, f"{part}_bias").reshape(heads, size)]
    arrays += [role(weights, "output_kernel").reshape(HEADS, size, -1), role(weights, "output_bias")]
    layer.set_weights(arrays)
    return layer


def _memory_shape(weights: Any) -> tuple[int, int]:
    inputs = len(role(weights, "key_kernel"))
    return (KEYS if inputs == OTHER else QUERIES), inputs


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("key_heads", [None, 1])
def test_keras_conventions_are_the_stock_layer(memory: bool, causal: bool, mask: bool, key_heads: int | None) -> None:
    import tensorflow as tf

    attention = {"causal": causal, "kv_heads": key_heads}
    spec = make_spec(memory=memory, mask=mask, attention=attention, conventions="keras")
    weights, data, targets = weights_of(spec), data_of(spec), targets_of(spec)
    layer = stock_keras(weights, key_heads=key_heads)
    x = tf.constant(data["x"])
    other = tf.constant(data["memory"]) if memory else x
    with tf.GradientTape() as tape:
        tape.watch([x, other])
        output = layer(x, value=other, key=other, use_causal_mask=causal, key_mask=data["ids"] != 0 if mask else None)
        loss = tf.reduce_mean((output - targets) ** 2)
    slopes = [slope.numpy() for slope in tape.gradient(loss, layer.trainable_variables)]
    found = build(spec, "tensorflow", weights).gradients(Batch(data, targets), spec.loss, taps=["attend"])
    close = {"rtol": 1e-12, "atol": 1e-15}
    np.testing.assert_allclose(found.values["attend"], output.numpy(), **close)
    roles = [f"{part}_{kind}" for part in ("query", "key", "value", "output") for kind in ("kernel", "bias")]
    for name, slope in zip(roles, slopes, strict=True):
        mine = found.parameters[f"attend.{name}"]
        np.testing.assert_allclose(mine, slope.reshape(mine.shape), **close, err_msg=name)


def test_the_scale_of_the_stock_keras_layer_is_rounded_to_float32() -> None:
    # The trap: 1 / sqrt(3) differs from its float32 neighbour, so the stock layer is 1e-9 off in float64.
    import keras

    spec = make_spec(attention={"size": 3}, conventions="keras")
    weights, data = weights_of(spec), data_of(spec)
    layer = keras.layers.MultiHeadAttention(HEADS, 3, dtype="float64")
    layer.build((None, QUERIES, UNITS), (None, QUERIES, UNITS))
    arrays = []
    for part in ("query", "key", "value"):
        arrays += [role(weights, f"{part}_kernel").reshape(UNITS, HEADS, 3), role(weights, f"{part}_bias")]
        arrays[-1] = arrays[-1].reshape(HEADS, 3)
    layer.set_weights([*arrays, role(weights, "output_kernel").reshape(HEADS, 3, UNITS), role(weights, "output_bias")])
    must = reference.forward(spec.graph, weights, data)["attend"]
    for backend in BACKENDS:
        np.testing.assert_allclose(build(spec, backend, weights).forward(data)["attend"], must, rtol=0, atol=1e-14)
    stock = layer(data["x"], data["x"]).numpy()
    assert 1e-11 < np.abs(stock - must).max() < 1e-6


def test_initial_weights_have_each_frameworks_bounds() -> None:
    settings = {"heads": 4}
    model = {"input": [3, 64], "layers": [{"attention": settings}]}
    bounds = {
        "torch": (math.sqrt(6 / (4 * 64)), 1 / math.sqrt(64)),
        "keras": (math.sqrt(6 / (2 * 64)), math.sqrt(6 / (2 * 64))),
    }
    for conventions, (inner, outer) in bounds.items():
        spec = Spec(model=model, loss="mse", optimizer="adam", conventions=conventions).resolved
        weights = initial_weights(spec.graph, 0)
        for name, bound in (("query", inner), ("key", inner), ("value", inner), ("output", outer)):
            largest = np.abs(weights[f"attention_1.{name}_kernel"]).max()
            assert 0.99 * bound < largest <= bound * (1 + 1e-6), (conventions, name)
            assert (weights[f"attention_1.{name}_bias"] == 0).all()


# ------------------------------------------------------------------ masks


def by_hand(spec: Spec, weights: Any, data: Any, readable: Any) -> Any:
    """The formula with loops over examples and heads; ``readable`` is ``(examples, queries, keys)``."""
    size, memory = UNITS // HEADS, data.get("memory", data["x"])
    q, k, v = (
        values @ role(weights, f"{name}_kernel") + role(weights, f"{name}_bias")
        for name, values in (("query", data["x"]), ("key", memory), ("value", memory))
    )
    heads = np.zeros((EXAMPLES, QUERIES, UNITS))
    for example in range(EXAMPLES):
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for query in range(QUERIES):
                chosen = np.flatnonzero(readable[example, query])
                if len(chosen):
                    scores = k[example, chosen][:, part] @ q[example, query, part] / math.sqrt(size)
                    powers = np.exp(scores - scores.max())
                    heads[example, query, part] = powers / powers.sum() @ v[example, chosen][:, part]
    return heads @ role(weights, "output_kernel") + role(weights, "output_bias")


@pytest.mark.parametrize("backend", BACKENDS)
def test_masks_keep_ones_and_causal_keeps_the_past(backend: str) -> None:
    for memory, causal, mask in ((False, True, False), (False, False, True), (False, True, True), (True, True, True)):
        spec = make_spec(memory=memory, mask=mask, attention={"causal": causal})
        weights, data = weights_of(spec), data_of(spec)
        keys = KEYS if memory else QUERIES
        readable = np.ones((EXAMPLES, QUERIES, keys), dtype=bool)
        if causal:
            readable &= np.arange(QUERIES)[:, None] >= np.arange(keys)  # top left also where lengths differ
        if mask:
            readable &= KEPT[:, None, :keys]
        found = build(spec, backend, weights).forward(data)["attend"]
        np.testing.assert_allclose(found, by_hand(spec, weights, data, readable), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_without_any_key_gives_zeros_and_no_gradient(backend: str) -> None:
    spec = make_spec(mask=True, attention={"causal": True})
    weights, data = weights_of(spec), data_of(spec)
    data["ids"] = np.array([[0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]])
    targets = targets_of(spec)
    network = build(spec, backend, weights)
    for mode in (False, True):
        found = network.forward(data, training=mode)["attend"]
        for example, query in ((0, 0), (0, 1), (1, 0), *((2, query) for query in range(QUERIES))):
            np.testing.assert_array_equal(found[example, query], role(weights, "output_bias"))
    slopes = network.gradients(Batch(data, targets), spec.loss, taps=["x"])
    assert all(np.isfinite(array).all() for array in slopes.parameters.values())
    assert (slopes.values_gradients["x"][2] == 0).all()
    assert (slopes.values_gradients["x"][0, :2] == 0).all()  # they read nothing and nothing reads them
    assert (slopes.values_gradients["x"][0, 2:] != 0).any()


def test_stock_layers_disagree_about_a_query_without_any_key() -> None:
    import torch

    spec = make_spec(mask=True)
    weights, data = weights_of(spec), data_of(spec)
    data["ids"] = np.zeros_like(IDS)
    x = torch.tensor(data["x"])
    with torch.no_grad():
        theirs = stock_torch(weights)(x, x, x, key_padding_mask=torch.tensor(data["ids"] == 0))[0]
    assert theirs.isnan().all()
    keras = stock_keras(weights)(data["x"], data["x"], key_mask=data["ids"] != 0).numpy()
    values = data["x"] @ role(weights, "value_kernel") + role(weights, "value_bias")
    mean = np.broadcast_to(values.mean(1, keepdims=True), values.shape)
    np.testing.assert_allclose(keras, mean @ role(weights, "output_kernel") + role(weights, "output_bias"), rtol=1e-12)


# ------------------------------------------------------------------ rotary


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_turns_pairs_as_complex_numbers(interleaved: bool) -> None:
    spec = make_spec(attention={"rotary": {"base": 100.0, "interleaved": interleaved}, "heads": 1, "bias": False})
    weights, data = weights_of(spec), data_of(spec)

    def turned(values: Any) -> Any:
        half = UNITS // 2
        a, b = (values[..., ::2], values[..., 1::2]) if interleaved else (values[..., :half], values[..., half:])
        angles = np.arange(QUERIES)[:, None] * 100.0 ** (-2 * np.arange(half) / UNITS)
        return (a + 1j * b) * np.exp(1j * angles)

    q, k = (turned(data["x"] @ role(weights, f"{name}_kernel")) for name in ("query", "key"))
    scores = np.einsum("bqi,bki->bqk", q, k.conj()).real / math.sqrt(UNITS)
    powers = np.exp(scores)
    values = data["x"] @ role(weights, "value_kernel")
    must = powers / powers.sum(-1, keepdims=True) @ values @ role(weights, "output_kernel")
    for backend in BACKENDS:
        found = build(spec, backend, weights).forward(data)["attend"]
        np.testing.assert_allclose(found, must, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------ dropout


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_torch_fused_attention_is_the_one_written_out(causal: bool, mask: bool) -> None:
    # With a given mask the steps are written out, without one the fused function is called: both are one formula.
    spec = make_spec(mask=mask, attention={"causal": causal, "rate": 0.5, "kv_heads": 1})
    data = data_of(spec)
    network = build(spec, "torch")
    kept = {"attend": np.ones((EXAMPLES, HEADS, QUERIES, QUERIES), dtype=bool)}
    fused = network.forward(data)["attend"] - role(weights_of(spec), "output_bias")
    written = network.forward(data, training=True, masks=kept)["attend"] - role(weights_of(spec), "output_bias")
    np.testing.assert_allclose(written, 2 * fused, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_native_randomness_drops_weights_of_attention(backend: str) -> None:
    spec = make_spec(attention={"rate": 0.4}, randomness="native")
    network = registry.load(backend).build(spec.graph, weights_of(spec), native_randomness=True)
    data = data_of(spec)
    network.seed(3)
    first = network.forward(data, training=True)["attend"]
    second = network.forward(data, training=True)["attend"]
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(network.forward(data)["attend"], network.forward(data)["attend"])
    drawn = np.mean([network.forward(data, training=True)["attend"] for _ in range(2000)], axis=0)
    assert np.abs(drawn - network.forward(data)["attend"]).max() < 0.15  # unbiased


# ------------------------------------------------------------------ as a whole


@pytest.mark.parametrize("length", [1, 64])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_of_long_sequences_is_within_the_bounds(backend: str, precision: str, length: int) -> None:
    model = {"input": [length, 8], "layers": [{"attention": {"heads": 2, "causal": True}, "name": "attend"}]}
    spec = Spec(model=model, loss="mse", optimizer="adam", precision=precision).resolved
    node, unit = spec.graph.nodes[0], reference.unit_roundoff(precision)
    weights = {name: array.astype(precision) for name, array in weights_of(spec).items()}
    generator = np.random.default_rng(1)
    batch = Batch(*(generator.standard_normal((2, length, 8)).astype(precision) for _ in range(2)))
    found = build(spec, backend, weights).gradients(batch, spec.loss, taps=["input", "attend"])
    inputs, slope = [batch.inputs], found.values_gradients["attend"]
    must = reference.node_forward(node, weights, inputs, training=True)
    bound = reference.forward_bound(node, weights, inputs, training=True, unit=unit)
    assert (np.abs(found.values["attend"] - must) <= bound).all()
    (to_x,), to_weights = reference.node_backward(node, weights, inputs, slope, training=True)
    (x_bound,), bounds = reference.backward_bound(node, weights, inputs, slope, training=True, unit=unit)
    assert (np.abs(found.values_gradients["input"] - to_x) <= x_bound).all()
    for name, array in to_weights.items():
        assert (np.abs(found.parameters[name] - array) <= bounds[name]).all(), name


def trained(spec: Spec, backend: str) -> Any:
    """A network after 30 updates with shared masks."""
    network = build(spec, backend)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=EXAMPLES)
    for step in range(30):
        masks = {
            node.name: randomness.keep_mask(0, node.name, (EXAMPLES, *node.random_mask), node.settings.rate, step=step)
            for node in spec.graph.dropouts
        }
        trainer.step(Batch(data_of(spec, step), targets_of(spec, step)), 0.01, masks=masks)
    return network


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("memory", "mask", "attention"),
    [
        (False, True, {"causal": True, "rate": 0.2, "rotary": {}, "kv_heads": 1}),
        (True, True, {"rate": 0.2, "size": 3, "units": 4}),
    ],
)
def test_thirty_steps_agree(memory: bool, mask: bool, attention: Any, optimizer: str) -> None:
    spec = make_spec(memory=memory, mask=mask, attention=attention, optimizer=optimizer)
    left, right = (trained(spec, backend) for backend in BACKENDS)
    ends = left.get_weights(), right.get_weights()
    if optimizer == "adam" and "rotary" not in attention:
        # Softmax does not see what is added to every score of a row, so the gradient of a key's bias is 0 but for
        # rounding. Adam divides that rounding by its own size: the bias moves at random, and nothing depends on it.
        assert (
            np.abs(
                left.gradients(
                    Batch(data_of(spec), targets_of(spec)),
                    spec.loss,
                    masks={
                        node.name: np.ones((EXAMPLES, *node.random_mask), dtype=bool) for node in spec.graph.dropouts
                    },
                ).parameters["attend.key_bias"]
            ).max()
            < 1e-15
        )
        for weights in ends:
            del weights["attend.key_bias"]
    for name, array in ends[0].items():
        assert np.abs(array - ends[1][name]).max() <= 1e-11 * max(1.0, np.abs(array).max()), name
    outputs = (network.forward(data_of(spec))["attend"] for network in (left, right))
    np.testing.assert_allclose(*outputs, rtol=1e-11, atol=1e-11)


def test_a_saved_keras_model_computes_the_same(tmp_path: Any) -> None:
    import keras

    spec = make_spec(memory=True, mask=True, attention={"rate": 0.3, "causal": True})
    network, data = build(spec, "tensorflow"), data_of(spec)
    network.native.save(tmp_path / "attention.keras")
    again = keras.saving.load_model(tmp_path / "attention.keras")
    np.testing.assert_array_equal(again.predict(data, verbose=0), network.native.predict(data, verbose=0))


def test_torch_names_are_those_of_four_linear_layers() -> None:
    import torch

    native = build(make_spec(), "torch").native
    parts = [f"{name}.{kind}" for name in ("query", "key", "value", "output") for kind in ("weight", "bias")]
    assert list(native.state_dict()) == [f"attend.{part}" for part in parts]
    assert type(native.get_submodule("attend.query")) is torch.nn.Linear


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": {"heads": 3}}, "8 units do not divide into 3 heads; set size"),
        ({"attention": {"heads": 4, "kv_heads": 3}}, "kv_heads must divide heads, got 3 for 4 heads"),
        ({"attention": {"heads": 2, "size": 3, "rotary": {}}}, "size of a head must be even, got 3"),
        ({"attention": {"rotary": {}}, "memory": True}, "leave rotary out of cross-attention"),
        ({"attention": {"mask": "kpet"}}, "no layer is named 'kpet'"),
        ({"attention": {"rate": 1.0}}, "less than 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any, message: str) -> None:
    with pytest.raises((DualmlError, SpecError, ValueError), match=message):
        make_spec(**settings).graph  # noqa: B018 (the graph is worked out when it is asked for)


def test_inputs_that_do_not_fit_are_refused() -> None:
    def graph(layers: Any, **inputs: Any) -> Any:
        return Spec(model={"inputs": inputs, "layers": layers}, loss="mse", optimizer="adam").resolved.graph

    ids = {"shape": [4], "dtype": "integer"}
    kept = {"padding_mask": 0, "name": "kept", "inputs": "ids"}
    with pytest.raises(SpecError, match=r"one value for each of the 5 keys, shape \[5\], got shape \[4\]"):
        graph([kept, {"attention": {"heads": 2, "mask": "kept"}, "inputs": "x"}], x=[5, 8], ids=ids)
    with pytest.raises(SpecError, match=r"a sequence of shape \[length, units\], got \[8\]"):
        graph([{"attention": 2, "inputs": "x"}], x=[8])
    with pytest.raises(SpecError, match="at most 2 inputs, got 3"):
        graph([{"attention": 2, "inputs": ["x", "x", "x"]}], x=[5, 8])


def test_shared_attention_shares_everything_but_a_dropout_mask() -> None:
    def graph(rate: float) -> Any:
        layers = [{"attention": {"heads": 2, "rate": rate}, "name": "a"}, {"shared": "a"}]
        return Spec(model={"input": [3, 4], "layers": layers}, loss="mse", optimizer="adam").resolved.graph

    assert len(graph(0.0).parameters) == 8
    with pytest.raises(SpecError, match="'a' drops values inside at random, and two uses of one layer cannot"):
        graph(0.1)
