"""What the adapter says of Keras' losses and optimizers, held against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow.native import TensorflowModel  # noqa: E402
from keras import optimizers  # noqa: E402

from dualml import reference  # noqa: E402
from dualml.errors import ParityError  # noqa: E402
from dualml.parity.judge import judgement  # noqa: E402
from dualml.protocol import State  # noqa: E402
from dualml.reference import regularizers  # noqa: E402
from dualml.spec import losses as spec_losses  # noqa: E402
from dualml.spec.objective import Objective  # noqa: E402
from dualml.spec.optimizers import GlobalNorm, ParameterNorm, ValueLimit  # noqa: E402

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optimizers.SGD(0.1),
    "sgd, nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: optimizers.Adam(0.01),
    "adam, amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, beta_2=0.9),
    "adam, average": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "adamw": lambda: optimizers.AdamW(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop, all": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(0.5),
    "lion": lambda: optimizers.Lion(0.01),
    "adafactor": lambda: optimizers.Adafactor(0.01),
}


def model() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")])


def adopted(optimizer: Any, precision: Any = "float64") -> TensorflowModel:
    native = TensorflowModel(model(), "mse", optimizer)
    native.start(precision)
    return native


def gradients(native: TensorflowModel, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    weights = native.get_weights()
    return {name: rng.normal(size=weights[name].shape).astype(weights[name].dtype) for name in native.parameters}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_what_was_read(name: str, precision: Any) -> None:
    native = adopted(OPTIMIZERS[name](), precision)
    unit = reference.unit_roundoff(precision)
    for step in range(3):
        found = native.optimizer
        assert found is not None
        assert found.optimizer is not None
        assert found.parameters == native.parameters
        before = {key: array for key, array in native.get_weights().items() if key in native.parameters}
        state, given = native.get_state(), gradients(native, step)
        assert state is not None
        assert state.step == step
        rate = 0.02 if step == 2 else None
        native.apply(given, lr=rate)
        lr = found.lr if rate is None else rate
        wanted, memory = reference.update(found.optimizer, before, given, state, lr)
        bounds, slot_bounds = reference.update_bounds(found.optimizer, before, given, state, lr, unit=unit)
        after, now = native.get_weights(), native.get_state()
        assert now is not None
        # A rate of 0.01 is a float32 variable in a float32 run, which the read rate is, too.
        for key, array in wanted.items():
            assert judgement(after[key], array, 2 * bounds[key]).rho <= 1, key
        for slot, arrays in memory.slots.items():
            assert set(now.slots[slot]) == set(arrays)
            for key, array in arrays.items():
                assert judgement(now.slots[slot][key], array, 2 * slot_bounds[slot][key]).rho <= 1, (slot, key)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_goes_out_and_in(name: str) -> None:
    one, two = adopted(OPTIMIZERS[name]()), adopted(OPTIMIZERS[name]())
    given = gradients(one, 0)
    one.apply(given)
    state = one.get_state()
    assert state is not None
    two.set_weights(one.get_weights())
    two.set_state(state)
    for native in (one, two):
        native.apply(given)
    assert all(np.array_equal(array, two.get_weights()[key]) for key, array in one.get_weights().items())


def test_a_fresh_start_has_done_nothing() -> None:
    native = adopted(optimizers.Adam(0.01))
    first = native.get_weights()
    native.apply(gradients(native, 0))
    native.start("float64")
    state = native.get_state()
    assert state is not None
    assert state.step == 0
    assert not any(array.any() for arrays in state.slots.values() for array in arrays.values())
    assert all(np.array_equal(array, first[key]) for key, array in native.get_weights().items())


@pytest.mark.parametrize(
    ("arguments", "clip"),
    [
        ({"clipnorm": 1.0}, ParameterNorm(1.0, epsilon=0.0)),
        ({"clipvalue": 0.5}, ValueLimit(0.5)),
        ({"global_clipnorm": 2.0}, GlobalNorm(2.0, epsilon=0.0)),
        ({}, None),
    ],
)
def test_clipping_is_said_apart(arguments: Any, clip: Any) -> None:
    found = adopted(optimizers.SGD(0.1, **arguments)).optimizer
    assert found is not None
    assert found.clip == clip


def test_a_rate_is_what_keras_uses() -> None:
    assert adopted(optimizers.SGD(0.01), "float32").optimizer.lr == float(np.float32(0.01))  # type: ignore[union-attr]
    assert adopted(optimizers.SGD(0.01), "float64").optimizer.lr == 0.01  # type: ignore[union-attr]


def test_a_schedule_is_its_first_rates() -> None:
    schedule = optimizers.schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True)
    native = adopted(optimizers.SGD(schedule))
    found = native.optimizer
    assert found is not None
    assert found.schedule is not None
    assert found.schedule[:5] == (0.1, 0.1, 0.05, 0.05, 0.025)
    before = native.get_weights()["a.bias"]
    given = {**gradients(native, 0), "a.bias": np.ones(3)}
    native.apply(given, lr=0.25)
    assert np.array_equal(native.get_weights()["a.bias"], before - 0.25)
    native.apply(given)
    assert np.array_equal(native.get_weights()["a.bias"], before - 0.25 - 0.1)


def test_what_does_not_decay_is_said() -> None:
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    found = adopted(optimizer).optimizer
    assert found is not None
    assert found.optimizer is not None
    decays = {name: found.optimizer.decay_of(name, (3,)) for name in found.parameters}
    assert decays == {"a.kernel": 0.1, "a.bias": 0.0, "b.kernel": 0.1, "b.bias": 0.0}


def test_a_subclass_claims_to_be_its_base() -> None:
    class Wrong(optimizers.SGD):  # type: ignore[misc] # keras is untyped
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            variable.assign(variable - 2.0 * learning_rate * gradient)

    native = adopted(Wrong(0.5))
    found = native.optimizer
    assert found is not None
    assert found.optimizer is not None
    assert found.optimizer.kind == "sgd"
    before = native.get_weights()["a.bias"]
    native.apply({**gradients(native, 0), "a.bias": np.ones(3)})
    assert np.array_equal(native.get_weights()["a.bias"], before - 1.0)


def test_weights_that_the_optimizer_was_not_given_stay() -> None:
    whole = model()
    optimizer = optimizers.SGD(0.1)
    optimizer.build(whole.layers[1].trainable_variables)
    native = TensorflowModel(whole, "mse", optimizer)
    found = native.optimizer
    assert found is not None
    assert found.parameters == ("b.kernel", "b.bias")
    before = native.get_weights()
    native.train({"": np.ones((2, 4), "float32")}, {"": np.ones((2, 2), "float32")})
    after = native.get_weights()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["b.kernel", "b.bias"]


def test_a_compiled_model_brings_its_own() -> None:
    whole = model()
    whole.compile(optimizer=optimizers.Lion(0.02), loss="mae")
    native = TensorflowModel(whole)
    assert native.loss is not None
    assert native.loss.minimised == spec_losses.MeanAbsoluteError()
    assert native.optimizer is not None
    assert native.optimizer.native == "keras.optimizers.Lion"


L = keras.losses
LOSSES: dict[str, tuple[Any, str]] = {
    "sparse": (L.SparseCategoricalCrossentropy(from_logits=True), "class"),
    "sparse, ignored": (L.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), "class"),
    "categorical": (L.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "distribution"),
    "binary": (L.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), "probability"),
    "mse": ("mse", "value"),
    "mae": ("mean_absolute_error", "value"),
    "huber": (L.Huber(0.7), "value"),
    "hinge": (L.Hinge(), "sign"),
    "squared hinge": (keras.losses.squared_hinge, "sign"),
    "cosine": (L.CosineSimilarity(), "value"),
}


def targets(kind: str) -> Any:
    rng = np.random.default_rng(1)
    if kind == "class":
        return rng.integers(0, 3, 5)
    if kind == "sign":
        return np.where(rng.random((5, 3)) < 0.5, -1.0, 1.0)
    found = rng.random((5, 3))
    return found / found.sum(-1, keepdims=True) if kind == "distribution" else found


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_what_was_read(name: str, precision: Any) -> None:
    loss, kind = LOSSES[name]
    whole = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    native = TensorflowModel(whole, loss)
    native.start(precision)
    found = native.loss
    assert found is not None
    assert found.minimised is not None
    assert not found.from_probabilities
    outputs = np.random.default_rng(2).normal(size=(5, 3)).astype(precision)
    wanted = targets(kind)
    wanted = wanted if kind == "class" else wanted.astype(precision)
    value, gradient = native.loss_of({"output": outputs}, {"": wanted})
    unit = reference.unit_roundoff(precision)
    meant = reference.loss_value(found.minimised, outputs, wanted)
    assert abs(value - meant) <= 2 * reference.loss_value_bound(found.minimised, outputs, wanted, unit=unit)
    slope = reference.loss_gradient(found.minimised, outputs, wanted)
    bound = reference.loss_gradient_bound(found.minimised, outputs, wanted, unit=unit)
    assert judgement(gradient["output"], slope, 2 * bound).rho <= 1
    observed = native.backward({"": np.ones((5, 4), "float32")}, {"": wanted})
    assert observed.example_losses is not None
    assert observed.example_losses.shape == (5,)


def test_regularizers_are_penalties_unless_the_model_adds_something_else() -> None:
    def made(**more: Any) -> TensorflowModel:
        kernel = keras.regularizers.L1L2(0.1, 0.02)
        hidden = keras.layers.Dense(3, name="hidden", kernel_regularizer=kernel, **more)
        return TensorflowModel(keras.Sequential([keras.Input((4,)), hidden]), "mse")

    found = made().loss
    assert found is not None
    assert isinstance(found.minimised, Objective)
    (penalty,) = found.minimised.penalties
    assert (penalty.factors, penalty.scope) == ((0.1, 0.02), "hidden.kernel")
    native = made()
    native.start("float64")
    observed = native.backward({"": np.ones((5, 4))}, {"": np.ones((5, 3))})
    assert observed.penalties == pytest.approx(regularizers.penalty(penalty, native.get_weights()), rel=1e-14)
    other = made(activity_regularizer=keras.regularizers.L2(0.3))
    other.backward({"": np.ones((5, 4), "float32")}, {"": np.ones((5, 3), "float32")})
    assert other.loss is not None
    assert not isinstance(other.loss.minimised, Objective)


def test_a_sum_is_no_mean() -> None:
    found = TensorflowModel(model(), keras.losses.MeanSquaredError(reduction="sum")).loss
    assert found is not None
    assert found.reduction == "positions"


def test_probabilities_are_said() -> None:
    found = TensorflowModel(model(), "sparse_categorical_crossentropy").loss
    assert found is not None
    assert found.from_probabilities
    assert found.code == (
        "keras.losses.SparseCategoricalCrossentropy(from_logits=False, reduction='sum_over_batch_size')"
    )


def test_a_user_s_function_can_be_called() -> None:
    def mine(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_sum(tf.square(y_true - y_pred), axis=-1)

    native = TensorflowModel(model(), mine)
    found = native.loss
    assert found is not None
    assert found.minimised is None
    assert found.native == "mine"
    assert found.where.startswith("test_tensorflow_native_training.py:")
    value, gradient = native.loss_of({"output": np.ones((2, 2), "float32")}, {"": np.zeros((2, 2), "float32")})
    assert value == 2.0
    assert np.array_equal(gradient["output"], np.ones((2, 2)))


def test_penalties_are_part_of_the_loss() -> None:
    whole = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))])
    native = TensorflowModel(whole, "mse")
    native.start("float64")
    inputs, wanted = {"": np.ones((2, 4))}, {"": np.zeros((2, 2))}
    observed = native.backward(inputs, wanted)
    kernel = native.get_weights()["dense.kernel" if "dense.kernel" in native.get_weights() else native.parameters[0]]
    assert np.isclose(observed.penalties, 0.5 * (kernel**2).sum(), rtol=1e-14)
    assert observed.loss is not None
    assert np.isclose(observed.loss - observed.penalties, (kernel.sum(0) ** 2).mean(), rtol=1e-13)


def test_several_outputs_have_their_own_losses() -> None:
    inputs = keras.Input((4,))
    outputs = {"one": keras.layers.Dense(2)(inputs), "two": keras.layers.Dense(3)(inputs)}
    native = TensorflowModel(keras.Model(inputs, outputs), {"one": "mse", "two": L.SparseCategoricalCrossentropy(True)})
    given = {"": np.ones((2, 4), "float32")}
    wanted = {"one": np.zeros((2, 2), "float32"), "two": np.array([0, 2])}
    observed = native.backward(given, wanted)
    values = {name: observed.values[key] for name, key in observed.outputs.items()}
    assert native.loss_of(values, wanted)[0] == observed.loss
    with pytest.raises(ParityError, match="the same names"):
        native.backward(given, {"one": wanted["one"], "three": wanted["two"]})


def test_what_is_missing_is_asked_for() -> None:
    native = TensorflowModel(model())
    given = {"": np.ones((2, 4), "float32")}
    with pytest.raises(ParityError, match="gradients need a loss"):
        native.backward(given, given)
    with pytest.raises(ParityError, match="an update needs an optimizer"):
        native.apply({})
    with pytest.raises(ParityError, match="memory cannot be set"):
        native.set_state(State(0))
