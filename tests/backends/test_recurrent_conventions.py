"""Recurrent layers: each framework's own defaults, their known differences, and both trained side by side."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import dualml
from dualml import registry
from dualml.errors import SpecError
from dualml.protocol import Batch
from dualml.spec.config import Spec
from dualml.weights import initial_weights

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("tensorflow") is None, reason="both frameworks are needed"
)

TIME, FEATURES, UNITS, EXAMPLES = 6, 3, 4, 5
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
HOLES = np.array([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0], [1, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1]])


def make_spec(*layers: Any, masked: bool = False, **settings: Any) -> Spec:
    inputs: dict[str, Any] = {"input": [TIME, FEATURES]}
    if masked:
        inputs = {"inputs": {"values": [TIME, FEATURES], "tokens": {"shape": [TIME], "dtype": "integer"}}}
        layers = ({"padding_mask": 0, "name": "kept", "inputs": "tokens"}, *layers)
    given = {"loss": "mse", "optimizer": {"sgd": {"lr": 0.1}}, "precision": "float64", **settings}
    return Spec(model={**inputs, "layers": list(layers)}, **given).resolved


def build(spec: Spec, backend: str) -> Any:
    return registry.load(backend).build(spec.graph, initial_weights(spec.graph, spec.seed))


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


X = numbers(EXAMPLES, TIME, FEATURES)


def output_shape(spec: Spec) -> tuple[int, ...]:
    return (EXAMPLES, *spec.graph.by_name[spec.graph.output].shape)


# ------------------------------------------------------------------ as each framework has it


def test_torch_initial_weights_lie_within_one_over_the_root_of_the_units() -> None:
    for kind in ("simple_rnn", "lstm", "gru"):
        spec = make_spec({kind: {"units": 64}}, conventions="torch")
        for name, array in initial_weights(spec.graph, 0).items():
            assert 0.95 / 8 < np.abs(array).max() <= 1 / 8, name


def test_keras_initial_weights() -> None:
    spec = make_spec({"lstm": {"units": 16}}, {"reshape": [4, 4]}, {"gru": {"units": 8}}, conventions="keras")
    drawn = initial_weights(spec.graph, 0)
    recurrent = drawn["lstm_1.recurrent_kernel"]  # over all gates together, not gate by gate
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(16), atol=1e-12)
    limit = np.sqrt(6 / (FEATURES + 4 * 16))
    assert 0.9 * limit < np.abs(drawn["lstm_1.kernel"]).max() <= limit
    assert drawn["lstm_1.bias"].tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
    assert drawn["gru_1.bias"].shape == (2, 24)
    assert not drawn["gru_1.bias"].any()


def test_a_second_bias_gets_no_forget_bias_of_its_own() -> None:
    spec = make_spec({"lstm": {"units": 2, "bias": "double"}}, conventions="keras")
    drawn = initial_weights(spec.graph, 0)
    assert (drawn["lstm_1.bias"] + drawn["lstm_1.recurrent_bias"]).max() == 1.0


# ------------------------------------------------------------------ known differences


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
@pytest.mark.parametrize("kind", ["simple_rnn", "lstm"])
def test_two_biases_learn_twice_as_fast_as_one(backend: str, kind: str) -> None:
    moved = {}
    for form in ("single", "double"):
        spec = make_spec({kind: {"units": UNITS, "bias": form, "recurrent_bias_initializer": "zeros"}})
        network = build(spec, backend)
        before = network.get_weights()
        trainer = network.trainer(spec.loss, spec.optimizer, batch_size=EXAMPLES)
        trainer.step(Batch(X, numbers(*output_shape(spec), seed=1)), 0.1)
        after = network.get_weights()
        moved[form] = sum(after[name] - before[name] for name in before if name.endswith("bias"))
    np.testing.assert_allclose(moved["double"], 2 * moved["single"], rtol=1e-12)


def test_the_bias_that_a_single_form_does_not_have_is_fixed_at_zero_in_torch() -> None:
    for kind in ("simple_rnn", "lstm", "gru"):
        spec = make_spec({kind: {"units": UNITS, "bias": "single"}})
        network = build(spec, "torch")
        trainer = network.trainer(spec.loss, spec.optimizer, batch_size=EXAMPLES)
        trainer.step(Batch(X, numbers(*output_shape(spec), seed=1)), 0.1)
        fixed = network.native[0].bias_hh_l0
        assert not fixed.requires_grad
        assert not fixed.any()


def test_gates_of_a_gru_change_places_on_the_way_to_torch() -> None:
    spec = make_spec({"gru": {"units": UNITS}}, conventions="torch")
    network = build(spec, "torch")
    weights = network.get_weights()
    update = weights["gru_1.bias"][:UNITS]
    np.testing.assert_array_equal(network.native[0].bias_ih_l0.detach().numpy()[UNITS : 2 * UNITS], update)


def masked(kind: str, backend: str, mask: Any, **settings: Any) -> Any:
    """Output, inputs and network of a masked layer."""
    layer = {kind: {"units": UNITS, "mask": "kept", **settings}, "inputs": "values"}
    conventions = {"torch": "torch", "tensorflow": "keras"}[backend]
    spec = make_spec(layer, masked=True, conventions=conventions)
    network = build(spec, backend)
    return network.forward({"values": X, "tokens": mask})[spec.graph.output], network


@pytest.mark.parametrize(("kind", "stock"), [("simple_rnn", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_torch_masks_are_packed_sequences(kind: str, stock: str) -> None:
    import torch

    steps, network = masked(kind, "torch", MASK, return_sequences=True)
    last, _ = masked(kind, "torch", MASK)
    theirs = getattr(torch.nn, stock)(FEATURES, UNITS, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(network.native.get_submodule(f"{kind}_1").state_dict())
    lengths = torch.tensor(MASK.sum(1))
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(X), lengths, batch_first=True, enforce_sorted=False)
    output, state = theirs(packed)
    padded = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=TIME)[0]
    np.testing.assert_allclose(steps, padded.detach().numpy(), rtol=1e-12, atol=1e-15)
    assert not steps[MASK == 0].any()
    final = state[0] if kind == "lstm" else state
    np.testing.assert_allclose(last, final[0].detach().numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", [MASK, HOLES], ids=["tails", "holes"])
@pytest.mark.parametrize(("kind", "stock"), [("simple_rnn", "SimpleRNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_keras_masks_are_the_stock_layers(kind: str, stock: str, mask: Any, reverse: bool) -> None:
    import keras

    steps, network = masked(kind, "tensorflow", mask, return_sequences=True, reverse=reverse)
    last, _ = masked(kind, "tensorflow", mask, reverse=reverse)
    layer = getattr(keras.layers, stock)(UNITS, return_sequences=True, go_backwards=reverse, dtype="float64")
    layer.build((None, TIME, FEATURES))
    layer.set_weights([variable.numpy() for variable in network.native.get_layer(f"{kind}_1").weights])
    theirs = layer(X, mask=mask > 0).numpy()
    np.testing.assert_allclose(steps, theirs[:, ::-1] if reverse else theirs, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(last, theirs[:, -1], rtol=1e-12, atol=1e-15)


def test_a_mask_does_not_stick_to_the_output_in_keras() -> None:
    """Handed to a stock layer it would reach the second one, which was not asked to leave out anything."""
    layers = (
        {"lstm": {"units": 3, "mask": "kept", "return_sequences": True}, "inputs": "values"},
        {"lstm": {"units": 2}},
    )
    spec = make_spec(*layers, masked=True, conventions="keras")
    inputs = {"values": X, "tokens": HOLES}
    found = [build(spec, backend).forward(inputs)["lstm_2"] for backend in ("torch", "tensorflow")]
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-15)


def test_reversed_outputs_stay_where_their_inputs_are() -> None:
    import torch

    spec = make_spec({"bidirectional": {"layer": {"lstm": {"units": UNITS, "return_sequences": True}}}})
    ends = make_spec({"bidirectional": {"layer": {"lstm": {"units": UNITS}}}})
    theirs = torch.nn.LSTM(FEATURES, UNITS, batch_first=True, bidirectional=True, dtype=torch.float64)
    native = dict(theirs.state_dict())
    weights = {}
    for direction, suffix in (("forward", "l0"), ("backward", "l0_reverse")):
        for role, attribute in {
            "kernel": "weight_ih",
            "recurrent_kernel": "weight_hh",
            "bias": "bias_ih",
            "recurrent_bias": "bias_hh",
        }.items():
            weights[f"bidirectional_1_{direction}.{role}"] = native[f"{attribute}_{suffix}"].numpy().T
    steps, (final, _) = theirs(torch.tensor(X))
    for backend in ("torch", "tensorflow"):
        for each, must in ((spec, steps), (ends, torch.cat([final[0], final[1]], dim=-1))):
            network = build(each, backend)
            network.set_weights(weights)
            got = network.forward(X)[each.graph.output]
            np.testing.assert_allclose(got, must.detach().numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_masked_outputs_of_a_bidirectional_layer_are_zeros(conventions: str) -> None:
    inner = {"gru": {"units": 2, "return_sequences": True, "mask": "kept"}}
    spec = make_spec({"bidirectional": {"layer": inner}, "inputs": "values"}, masked=True, conventions=conventions)
    output = build(spec, "torch").forward({"values": X, "tokens": HOLES})[spec.graph.output]
    assert not output[HOLES == 0].any()
    assert output[HOLES == 1].all()


# ------------------------------------------------------------------ training


TRAINED = {
    "simple_rnn": [{"simple_rnn": {"units": UNITS, "return_sequences": True}}],
    "lstm": [{"lstm": {"units": UNITS}}, {"dense": 2}],
    "gru": [{"gru": {"units": UNITS, "reverse": True}}, {"dense": 2}],
    "gru_before": [{"gru": {"units": UNITS, "reset_after": False}}, {"dense": 2}],
    "bidirectional": [
        {"bidirectional": {"layer": {"lstm": {"units": 3, "return_sequences": True}}}},
        {"repeat": {"times": 2, "layers": [{"gru": {"units": 6, "return_sequences": True}}]}},
    ],
    "masked": [{"lstm": {"units": UNITS, "mask": "kept", "return_sequences": True}, "inputs": "values"}],
}


@pytest.mark.parametrize("conventions", ["torch", "keras"])
@pytest.mark.parametrize("name", TRAINED)
def test_thirty_steps_are_the_same_in_both(name: str, conventions: str) -> None:
    is_masked = name == "masked"
    spec = make_spec(*TRAINED[name], masked=is_masked, conventions=conventions, optimizer={"adam": {"lr": 0.02}})
    examples = 24
    inputs: Any = numbers(examples, TIME, FEATURES)
    if is_masked:
        inputs = {"values": inputs, "tokens": np.tile(HOLES, (5, 1))[:examples]}
    targets = numbers(examples, *spec.graph.by_name[spec.graph.output].shape, seed=1)
    found = {}
    for backend, compiled in (("torch", False), ("tensorflow", True), ("tensorflow", False)):
        network = build(spec, backend)
        trainer = network.trainer(spec.loss, spec.optimizer, batch_size=8, compiled=compiled)
        updates = 30 if compiled or backend == "torch" else 3
        order = np.resize(np.arange(examples), 8 * updates)
        losses = trainer.run(trainer.place(Batch(inputs, targets)), order, np.full(updates, 0.02))
        found[backend, compiled] = (network.get_weights(), losses)
    torch, tensorflow = found["torch", False], found["tensorflow", True]
    assert torch[1][-3:].sum() < torch[1][:3].sum()  # three updates see every example
    np.testing.assert_allclose(torch[1], tensorflow[1], rtol=1e-11)
    for parameter, array in torch[0].items():
        np.testing.assert_allclose(tensorflow[0][parameter], array, rtol=1e-11, atol=1e-11, err_msg=parameter)
    np.testing.assert_allclose(found["tensorflow", False][1], tensorflow[1][:3], rtol=1e-12)


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_gradients_compile_with_xla(kind: str) -> None:
    import tensorflow as tf

    layer = {kind: {"units": UNITS, "return_sequences": True, "reverse": True, "mask": "kept"}, "inputs": "values"}
    network = build(make_spec(layer, masked=True, conventions="keras"), "tensorflow")
    model = network.native

    def gradients(values: Any, tokens: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model([values, tokens]) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    arguments = tf.constant(X), tf.constant(HOLES, tf.int64)
    eager = gradients(*arguments)
    for compiled, plain in zip(tf.function(gradients, jit_compile=True)(*arguments), eager, strict=True):
        np.testing.assert_allclose(compiled.numpy(), plain.numpy(), rtol=1e-12, atol=1e-15)


def test_native_keras_models_save_and_load(tmp_path: Any) -> None:
    import keras

    layers = (
        {"lstm": {"units": 3, "mask": "kept", "return_sequences": True, "reverse": True}, "inputs": "values"},
        {"gru": {"units": 2, "bias": "double"}},
    )
    network = build(make_spec(*layers, masked=True), "tensorflow")
    network.native.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X, HOLES]
    np.testing.assert_array_equal(again(inputs).numpy(), network.native(inputs).numpy())


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([{"flatten": {}}, {"lstm": 4}], r"its input must have shape \(time, features\), got \[18\]"),
        (
            [{"lstm": {"units": 4, "mask": "input"}}],
            r"the mask 'input' must have shape \[6\], one number for each step",
        ),
        ([{"lstm": {"units": 4, "mask": "kep"}}], "no layer is named 'kep'"),
    ],
)
def test_what_cannot_work_is_refused(layers: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        _ = make_spec(*layers).graph


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"gru": {"units": 4, "reset_after": False, "bias": "stacked"}}, "bias: stacked is for reset_after: true"),
        ({"lstm": {"units": 4, "bias": "stacked"}}, "Input should be 'none', 'single' or 'double'"),
        ({"bidirectional": {"layer": {"dense": 4}}}, "does not match any of the expected tags"),
        ({"bidirectional": {"layer": {"lstm": {"units": 4, "reverse": True}}}}, "reverse to neither"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(layer: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make_spec(layer)


def test_with_the_reset_gate_before_the_product_one_bias_is_meant_in_both_conventions() -> None:
    for conventions in ("torch", "keras"):
        spec = make_spec({"gru": {"units": 2, "reset_after": False}}, conventions=conventions)
        assert [item.role for item in spec.graph.parameters] == ["kernel", "recurrent_kernel", "bias"]


def test_public_names() -> None:
    made = dualml.Bidirectional(dualml.Gru(3, reset_after=False))
    assert isinstance(made.layer, dualml.Gru)
