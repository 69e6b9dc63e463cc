"""The TensorFlow adapter for users' own models: what it reads, and that it computes what the model computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow.native import TensorflowModel  # noqa: E402

from dualml.errors import ParityError  # noqa: E402
from tests.native import tensorflow_models as models  # noqa: E402

NAMES = list(models.MODELS)


def adopted(name: str, optimizer: Any = None) -> tuple[TensorflowModel, Any, dict[str, Any], dict[str, Any]]:
    model, inputs, targets = models.MODELS[name]()
    return TensorflowModel(model, models.loss_of(name), optimizer), model, {"": inputs}, {"": targets}


def plain(model: Any, loss: Any, inputs: Any, targets: Any) -> tuple[Any, list[Any]]:
    """Loss and gradients as a hand-written loop has them, dropout left out."""
    switched = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in switched]
    before = [variable.numpy() for variable in model.variables]
    for layer in switched:
        layer.rate = 0
    with tf.GradientTape() as tape:
        value = loss(targets, model(inputs, training=True))
    gradients = tape.gradient(value, model.trainable_variables)
    for layer, rate in zip(switched, rates, strict=True):
        layer.rate = rate
    for variable, array in zip(model.variables, before, strict=True):
        variable.assign(array)
    return value, [tf.convert_to_tensor(item).numpy() for item in gradients]


def kinds(trace: Any) -> list[str]:
    return [call.kind for call in trace.calls]


def read_by(observation: Any, trace: Any, call: Any) -> list[Any]:
    return [trace.constants[key] if key in trace.constants else observation.values[key] for key in call.inputs]


def test_lenet_is_read_call_by_call() -> None:
    native, _, inputs, _ = adopted("lenet")
    trace = native.trace(inputs)
    assert kinds(trace) == [
        "conv2d",
        "activation",
        "batch_norm",
        "max_pool2d",
        "conv2d",
        "activation",
        "average_pool2d",
        "flatten",
        "dropout",
        "dense",
        "activation",
        "dense",
    ]
    assert [call.name for call in trace.calls][:3] == ["conv", "conv.activation", "norm"]
    conv, norm, second = trace.calls[0], trace.calls[2], trace.calls[4]
    assert conv.settings == {
        "filters": 4,
        "kernel_size": (3, 3),
        "stride": (1, 1),
        "dilation": (1, 1),
        "padding": "same",
        "padding_mode": "zeros",
        "groups": 1,
        "bias": True,
    }
    assert conv.channels_first is False
    assert "padding" not in conv.unsaid
    assert "stride" in conv.unsaid
    assert norm.weights["running_variance"] == "norm.running_variance"
    assert norm.settings["momentum"] == 0.99
    assert "momentum" in norm.unsaid
    assert norm.code == "keras.layers.BatchNormalization(momentum=0.99, epsilon=0.001, center=True, scale=True)"
    assert second.settings["bias"] is False
    assert set(second.weights) == {"kernel"}
    assert trace.inputs == {"": trace.calls[0].inputs[0]}
    assert trace.outputs == {"output": trace.calls[-1].outputs[0]}
    assert native.input_shapes == {"": (None, 12, 12, 1)}


def test_a_residual_joins_the_same_value_twice() -> None:
    native, _, inputs, _ = adopted("residual")
    calls = {call.name: call for call in native.trace(inputs).calls}
    assert calls["add_0"].inputs[0] == calls["norm_0"].inputs[0] == calls["stem"].outputs[0]
    by_operator = next(call for name, call in calls.items() if call.kind == "add" and name != "add_0")
    assert by_operator.inputs == (calls["add_0"].outputs[0], calls["conv_1"].outputs[0])
    assert calls["pool"].kind == "global_average_pool"


def test_a_subclass_is_looked_into() -> None:
    native, _, inputs, _ = adopted("subclassed")
    trace = native.trace(inputs)
    assert kinds(trace) == [
        "dense",
        "activation",
        "dense",
        "activation",
        "dense",
        "multiply",
        "add",
        "slice",
        "concat",
        "activation",
        "dropout",
        "dense",
        "activation",
    ]
    by_name = {call.name: call for call in trace.calls}
    assert by_name["blocks.0"].weights == {"kernel": "blocks.0.kernel", "bias": "blocks.0.bias"}
    assert by_name["blocks.0"].where.startswith("tensorflow_models.py:")
    assert by_name["gelu_1"].settings == {"function": {"gelu": {"approximate": "tanh"}}}
    assert by_name["matmul_1"].weights == {"kernel": "matrix"}
    assert by_name["mul_1"].weights == {"operand": "scale"}
    assert len(by_name["mul_1"].inputs) == 1
    assert by_name["leaky_relu_1"].settings == {"function": {"leaky_relu": {"negative_slope": 0.1}}}
    assert by_name["softmax_1"].settings == {"function": {"softmax": {"axis": -1}}}


def test_masks_and_both_directions_of_time() -> None:
    native, _, inputs, _ = adopted("recurrent")
    trace = native.trace(inputs)
    assert kinds(trace) == ["padding_mask", "embedding", "lstm", "lstm", "concat", "gru", "dense"]
    by_name = {call.name: call for call in trace.calls}
    mask = next(call for call in trace.calls if call.kind == "padding_mask").outputs[0]
    forward, backward = (by_name[f"both.{name}_layer"] for name in ("forward", "backward"))
    assert forward.settings["mask"] == ""
    assert forward.inputs == (by_name["embedding"].outputs[0], mask)
    assert (forward.settings["reverse"], backward.settings["reverse"]) == (False, True)
    assert by_name["gru"].settings["bias"] == "stacked"
    assert by_name["gru"].inputs[1] == mask
    concat = next(call for call in trace.calls if call.kind == "concat")
    assert concat.inputs == (forward.outputs[0], backward.outputs[0])


def test_attention_is_one_call_in_the_neutral_layout() -> None:
    native, model, inputs, _ = adopted("transformer")
    trace = native.trace(inputs)
    attention = next(call for call in trace.calls if call.kind == "attention")
    assert attention.settings["causal"]
    assert attention.settings["rate"] == 0.1
    assert (attention.settings["heads"], attention.settings["size"], attention.settings["units"]) == (2, 4, 8)
    assert len(attention.inputs) == 1
    weights = native.get_weights()
    assert weights[attention.weights["query_kernel"]].shape == (8, 8)
    layer = model.get_layer("attention")
    kernel = layer._query_dense.kernel.numpy()
    assert np.array_equal(weights[attention.weights["query_kernel"]], kernel.reshape(8, 8))
    assert {call.kind for call in trace.calls} >= {"layer_norm", "select", "add", "dense", "activation"}


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_model(name: str) -> None:
    native, model, inputs, _ = adopted(name)
    trace = native.trace(inputs)
    observed = native.forward(inputs, training=False)
    output = observed.values[trace.outputs["output"]]
    assert np.array_equal(output, model(inputs[""], training=False).numpy())
    assert set(observed.values) >= {key for call in trace.calls for key in call.outputs}
    for key, value in trace.values.items():
        if key in observed.values:
            assert observed.values[key].shape == value.shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_call_done_again_gives_the_same_bits(name: str, precision: Any) -> None:
    native, _, inputs, _ = adopted(name)
    native.start(precision)
    trace = native.trace(inputs)
    for training in (False, True):
        observed = native.forward(inputs, training=training)
        for call in trace.calls:
            again = native.call(call.name, read_by(observed, trace, call), training=training)
            assert len(again) == len(call.outputs)
            for array, key in zip(again, call.outputs, strict=True):
                assert np.array_equal(array, observed.values[key]), (call.name, training)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_a_plain_tape(name: str) -> None:
    native, model, inputs, targets = adopted(name)
    trace = native.trace(inputs)
    loss, gradients = plain(model, models.loss_of(name), inputs[""], targets[""])
    observed = native.backward(inputs, targets)
    assert observed.loss == float(loss)
    assert observed.example_losses is not None
    assert np.isclose(observed.example_losses.mean(), observed.loss, rtol=1e-5)
    assert list(observed.gradients) == list(native.parameters)
    for expected, (parameter, found) in zip(gradients, observed.gradients.items(), strict=True):
        assert np.array_equal(found, expected.reshape(found.shape)), parameter
    floating = [key for call in trace.calls for key in call.outputs if observed.values[key].dtype.kind == "f"]
    missing = [key for key in floating if key not in observed.value_gradients]
    # Keras' cross-entropy finds the logits behind the softmax and leaves the probabilities out.
    assert missing == ([trace.outputs["output"]] if name == "subclassed" else [])


def test_a_value_s_gradient_is_the_whole_derivative() -> None:
    native, _, inputs, targets = adopted("residual")
    native.start("float64")
    trace = native.trace(inputs)
    observed = native.backward(inputs, targets)
    stem = next(call for call in trace.calls if call.name == "stem").outputs[0]
    bias = observed.gradients["stem.bias"]
    assert np.allclose(observed.value_gradients[stem].sum((0, 1, 2)), bias, rtol=1e-12)


def test_cotangents_stand_for_the_loss() -> None:
    native, _, inputs, _ = adopted("lenet")
    native.start("float64")
    trace = native.trace(inputs)
    shape = trace.values[trace.outputs["output"]].shape
    weights = np.random.default_rng(3).normal(size=shape)
    observed = native.backward(inputs, None, cotangents={"output": weights})
    assert np.isclose(observed.loss, (observed.values[trace.outputs["output"]] * weights).sum(), rtol=1e-12)
    assert np.allclose(observed.value_gradients[trace.outputs["output"]], weights, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_the_same_model(name: str) -> None:
    native, model, inputs, targets = adopted(name)
    single = native.backward(inputs, targets)
    native.start("float64")
    trace = native.trace(inputs)
    assert len(trace.notes) == (name == "subclassed")  # where the loss goes past the softmax
    double = native.backward(inputs, targets)
    assert all(array.dtype == np.float64 for array in double.gradients.values())
    assert all(array.dtype != np.float32 for array in double.values.values())
    assert abs(single.loss - double.loss) < 1e-5 * abs(double.loss)
    for parameter, array in native.get_weights().items():
        assert array.dtype == np.float64, parameter
    assert [variable.dtype for variable in model.trainable_variables] == ["float32"] * len(model.trainable_variables)


@pytest.mark.parametrize("name", NAMES)
def test_the_user_s_objects_stay_as_they_are(name: str) -> None:
    optimizer = keras.optimizers.Adam(0.01)
    native, model, inputs, targets = adopted(name, optimizer)
    before = [variable.numpy() for variable in model.variables]
    policy, floatx = keras.config.dtype_policy().name, keras.config.floatx()
    for precision in ("float32", "float64"):
        native.start(precision)
        native.trace(inputs)
        native.train(inputs, targets)
        native.set_weights({key: array + 1 for key, array in native.get_weights().items()})
    assert all(np.array_equal(array, variable.numpy()) for array, variable in zip(before, model.variables, strict=True))
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == (policy, floatx)
    assert not optimizer.built
    assert keras.Layer.__call__.__module__.startswith("keras")
    assert all(layer.compute_dtype == "float32" for layer in model.layers if layer.dtype != "int32")


@pytest.mark.parametrize("name", NAMES)
def test_weights_go_out_and_in(name: str) -> None:
    native, _, inputs, _ = adopted(name)
    rng = np.random.default_rng(4)
    given = {key: rng.normal(size=array.shape).astype("float32") ** 2 for key, array in native.get_weights().items()}
    native.set_weights(given)
    assert all(np.array_equal(array, given[key]) for key, array in native.get_weights().items())
    held = {weight for call in native.trace(inputs).calls for weight in call.weights.values()}
    assert held == set(given)
    with pytest.raises(ParityError, match="no weight 'nothing'"):
        native.set_weights({"nothing": np.zeros(1)})


@pytest.mark.parametrize("name", NAMES)
def test_passes_change_no_buffer_and_say_what_it_would_become(name: str) -> None:
    native, _, inputs, targets = adopted(name)
    native.trace(inputs)
    before = native.get_weights()
    observed = native.backward(inputs, targets)
    assert all(np.array_equal(array, before[key]) for key, array in native.get_weights().items())
    assert set(observed.buffers) == {key for key in before if "running" in key}
    assert all(not np.array_equal(array, before[key]) for key, array in observed.buffers.items())
    native_forward = native.forward(inputs, training=True)
    assert all(np.array_equal(array, observed.buffers[key]) for key, array in native_forward.buffers.items())


def test_dropout_keeps_what_it_is_told() -> None:
    native, _, inputs, targets = adopted("lenet")
    trace = native.trace(inputs)
    call = next(call for call in trace.calls if call.kind == "dropout")
    whole = native.forward(inputs, training=True)
    source = whole.values[call.inputs[0]]
    assert np.array_equal(whole.values[call.outputs[0]], source)
    mask = np.random.default_rng(5).random(source.shape) < 0.5
    observed = native.backward(inputs, targets, masks={call.name: mask})
    assert np.array_equal(observed.values[call.outputs[0]], source * mask / np.float32(0.75))
    again = native.call(call.name, [source], training=True, mask=mask)
    assert np.array_equal(again[0], observed.values[call.outputs[0]])
    assert np.array_equal(native.forward(inputs, training=False, masks={call.name: mask}).values[call.outputs[0]],
                          native.forward(inputs, training=False).values[call.inputs[0]])  # fmt: skip


def test_dropped_attention_weights_are_given_too() -> None:
    native, _, inputs, _ = adopted("transformer")
    trace = native.trace(inputs)
    call = next(call for call in trace.calls if call.kind == "attention")
    mask = np.zeros((2, 2, 5, 5), bool)
    observed = native.forward(inputs, training=True, masks={call.name: mask})
    bias = native.get_weights()[call.weights["output_bias"]]
    assert np.array_equal(observed.values[call.outputs[0]], np.broadcast_to(bias, (2, 5, 8)))


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.01)])
@pytest.mark.parametrize("name", NAMES)
def test_an_update_is_a_plain_loop_s(name: str, optimizer: Any) -> None:
    native, model, inputs, targets = adopted(name, optimizer)
    own = type(optimizer).from_config(optimizer.get_config())
    loss = models.loss_of(name)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    for _ in range(2):
        with tf.GradientTape() as tape:
            value = loss(targets[""], model(inputs[""], training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        own.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        assert native.train(inputs, targets) == float(value)
    weights, structure = native.get_weights(), native._structure
    pairs = zip(model.variables, native._model.variables, strict=True)
    compared = 0
    for variable, copied in pairs:
        if parameter := structure.name_of(copied):
            compared += 1
            assert np.array_equal(variable.numpy().reshape(weights[parameter].shape), weights[parameter]), parameter
    assert compared == len(weights)


def test_apply_takes_gradients_and_a_rate() -> None:
    native, _, inputs, targets = adopted("lenet", keras.optimizers.SGD(0.5))
    gradients = native.backward(inputs, targets).gradients
    before = native.get_weights()
    native.apply({key: item for key, item in gradients.items() if key != "logits.bias"}, lr=0.25)
    after = native.get_weights()
    assert np.array_equal(after["logits.bias"], before["logits.bias"])
    moved = before["logits.kernel"] - np.float32(0.25) * gradients["logits.kernel"]
    assert np.allclose(after["logits.kernel"], moved, rtol=1e-6, atol=0)
    assert native.optimizer is not None
    assert native.optimizer.lr == 0.25


def test_a_model_without_its_variables_is_completed_once() -> None:
    model = models.Subclassed()
    native = TensorflowModel(model)
    inputs = {"": np.ones((2, 8), "float32")}
    native.trace(inputs)
    first = native.get_weights()
    native.start("float64")
    native.trace(inputs)
    assert all(np.array_equal(array.astype("float32"), first[key]) for key, array in native.get_weights().items())
    assert "blocks.0.kernel" in first
    assert not model.blocks[0].built


def test_a_function_may_make_the_model() -> None:
    native = TensorflowModel(lambda: models.lenet()[0])
    assert native.parameters[0] == "conv.kernel"


@pytest.mark.parametrize("wrong", [models.Subclassed, 3, lambda: None])
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(ParityError, match=r"must be a keras.Model, a keras.Layer, a tf.Module or a function"):
        TensorflowModel(wrong)


def test_wrong_inputs_are_one_sentence() -> None:
    native, _, _, _ = adopted("lenet")
    with pytest.raises(ParityError, match=r"fails on inputs input \(2, 3\) float32") as caught:
        native.trace({"": np.zeros((2, 3), "float32")})
    assert "\n" not in str(caught.value)


def test_keys_and_names_are_the_same_in_every_pass() -> None:
    native, _, inputs, targets = adopted("subclassed")
    first = native.trace(inputs)
    observed = native.backward(inputs, targets)
    second = native.trace(inputs)
    assert [(call.name, call.inputs, call.outputs) for call in first.calls] == [
        (call.name, call.inputs, call.outputs) for call in second.calls
    ]
    assert set(observed.values) == set(native.forward(inputs, training=False).values)


class Module(tf.Module):
    """A module without Keras, with another inside."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.ones((3, 4), "float32"))
        self.bias = tf.Variable(np.ones(4, "float32"))
        self.inner: list[Any] = []

    def __call__(self, x: Any) -> Any:
        x = tf.nn.relu(x @ self.kernel + self.bias)
        return self.inner[0](x) if self.inner else x


def test_a_module_of_tensorflow_alone() -> None:
    outer, inner = Module(), Module()
    inner.kernel = tf.Variable(np.ones((4, 4), "float32"))
    outer.inner = [inner]
    native = TensorflowModel(outer, "mse", keras.optimizers.SGD(0.5))
    native.start("float64")
    trace = native.trace({"": np.ones((2, 3), "float32")})
    assert [call.kind for call in trace.calls] == ["dense", "add", "activation"] * 2
    assert trace.calls[3].weights == {"kernel": "inner.0.kernel"}
    native.train({"": np.ones((2, 3))}, {"": np.ones((2, 4))})
    assert not np.array_equal(native.get_weights()["inner.0.kernel"], inner.kernel.numpy())
    assert np.array_equal(inner.kernel.numpy(), np.ones((4, 4)))


def test_a_cast_to_float32_is_found() -> None:
    class Casting(keras.Model):  # type: ignore[misc] # keras is untyped
        def call(self, inputs: Any) -> Any:
            return tf.nn.relu(tf.cast(inputs, "float32"))

    native = TensorflowModel(Casting())
    inputs = {"": np.ones((2, 3), "float32")}
    assert native.trace(inputs).notes == ()
    native.start("float64")
    assert ["float32 in a float64 run" in note for note in native.trace(inputs).notes] == [True]


def test_a_shared_layer_has_two_calls_and_one_set_of_weights() -> None:
    inputs, shared = keras.Input((4,)), keras.layers.Dense(4, name="shared")
    native = TensorflowModel(keras.Model(inputs, shared(shared(inputs))))
    first, second = native.trace({"": np.ones((2, 4), "float32")}).calls
    assert (first.name, second.name) == ("shared", "shared_2")
    assert first.weights == second.weights == {"kernel": "shared.kernel", "bias": "shared.bias"}
    assert second.inputs == first.outputs


def test_nested_models_have_paths() -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="last")], name="encoder")
    inputs = keras.Input((4,))
    native = TensorflowModel(keras.Model(inputs, inner(inputs)))
    (call,) = native.trace({"": np.ones((2, 4), "float32")}).calls
    assert call.name == "encoder.last"
    assert list(native.get_weights()) == ["encoder.last.kernel", "encoder.last.bias"]


def test_several_inputs_by_name() -> None:
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    native = TensorflowModel(keras.Model([one, two], keras.layers.Subtract()([two, one])))
    given = {"two": np.full((2, 4), 3.0, "float32"), "one": np.ones((2, 4), "float32")}
    trace = native.trace(given)
    assert trace.calls[0].inputs == (trace.inputs["two"], trace.inputs["one"])
    output = native.forward(given, training=False).values[trace.outputs["output"]]
    assert np.array_equal(output, np.full((2, 4), 2.0))
    with pytest.raises(ParityError, match="inputs are named one, two"):
        native.trace({"one": given["one"], "three": given["two"]})
