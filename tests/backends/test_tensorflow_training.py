"""The TensorFlow adapter's trainer, and the state, weights and arrays that it and the network keep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualml import randomness
from dualml.errors import WeightsError
from dualml.protocol import Batch, State
from dualml.spec.optimizers import GlobalNorm

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from dualml_tensorflow import backend  # noqa: E402
from tensorflow_support import CLASSES, DROPOUT, EXACT, assert_same, build, data, gradients_for, masks_for, mlp, trainer  # noqa: E402

# The trainer


@pytest.mark.parametrize("conventions", ["keras", "torch"])
def test_eager_step_is_gradients_then_apply(conventions):
    spec = mlp(optimizer="adam", conventions=conventions, precision="float32")
    whole, parts = build(spec), build(spec)
    one, two = (
        trainer(net, spec, compiled=False, clip=GlobalNorm(max_norm=0.1, epsilon=1e-6)) for net in (whole, parts)
    )
    for seed in range(3):
        batch = data(spec, 8, seed)
        found = parts.gradients(batch, spec.resolved.loss)
        assert one.step(batch, 0.01) == found.loss
        two.apply(found.parameters, 0.01)
        assert_same(whole.get_weights(), parts.get_weights())


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("conventions", ["keras", "torch"])
def test_run_is_step_for_each_update(conventions, compiled):
    spec = mlp(optimizer={"sgd": {"momentum": 0.9}}, conventions=conventions, precision="float32")
    batch = data(spec, 30)
    order = randomness.permutation(1, "order", 30)
    rates = np.array([0.1, 0.1, 0.01, 0.2])
    many, single = build(spec), build(spec)
    run, stepper = trainer(many, spec, compiled=compiled), trainer(single, spec, compiled=compiled)
    losses = run.run(run.place(batch), order, rates)
    assert losses.dtype == np.float64
    for update, lr in enumerate(rates):
        rows = order[update * 8 : (update + 1) * 8]
        loss = stepper.step(Batch(batch.inputs[rows], batch.targets[rows]), lr)
        np.testing.assert_allclose(losses[update], loss, rtol=0 if not compiled else 1e-6)
    for name, value in single.get_weights().items():
        np.testing.assert_allclose(many.get_weights()[name], value, rtol=0, atol=1e-6 if compiled else 0)
    assert run.get_state().step == 4


@pytest.mark.parametrize("compiled", [True, False])
def test_accumulation_clipping_and_a_smaller_last_update(compiled):
    """Updates of 20 in pieces of 8: the gradient of all 20 over 20, clipped once, against NumPy's SGD."""
    spec = mlp(optimizer={"sgd": {"lr": 0.5}}, conventions="torch")
    batch = data(spec, 33)
    order = randomness.permutation(2, "order", 33)
    clip = GlobalNorm(max_norm=0.05, epsilon=1e-6)
    net, judge, stepped = build(spec), build(spec), build(spec)
    options = {"batch_size": 8, "update_size": 20, "clip": clip, "compiled": compiled}
    train, stepper = trainer(net, spec, **options), trainer(stepped, spec, **options)
    losses = train.run(train.place(batch), order, np.array([0.5, 0.25]))
    for update, (start, lr) in enumerate(((0, 0.5), (20, 0.25))):
        rows = order[start : start + 20]
        picked = Batch(batch.inputs[rows], batch.targets[rows])
        found = judge.gradients(picked, spec.resolved.loss)
        norm = math.sqrt(sum((gradient**2).sum() for gradient in found.parameters.values()))
        assert norm > clip.max_norm
        scale = clip.max_norm / (norm + 1e-6)
        judge.set_weights(
            {name: value - lr * scale * found.parameters[name] for name, value in judge.get_weights().items()}
        )
        np.testing.assert_allclose(losses[update], found.loss, **EXACT)
        np.testing.assert_allclose(stepper.step(picked, lr), found.loss, **EXACT)
    for name, value in judge.get_weights().items():
        np.testing.assert_allclose(net.get_weights()[name], value, err_msg=name, **EXACT)
        np.testing.assert_allclose(stepped.get_weights()[name], value, err_msg=name, **EXACT)


def test_update_is_made_in_pieces_of_batch_size(monkeypatch):
    spec = mlp()
    net = build(spec)
    sizes = []
    differentiate = net.differentiate

    def record(inputs, *rest, **settings):
        sizes.append(len(inputs["input"]))
        return differentiate(inputs, *rest, **settings)

    monkeypatch.setattr(net, "differentiate", record)
    train = trainer(net, spec, batch_size=8, update_size=20, compiled=False)
    train.run(train.place(data(spec, 33)), np.arange(33), np.full(2, 0.1))
    train.step(data(spec, 18), 0.1)
    assert sizes == [8, 8, 4, 8, 5, 8, 8, 2]
    assert train.get_state().step == 3


@pytest.mark.parametrize("epsilon", [0.0, 1e-2])
@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_clipping(epsilon, max_norm):
    spec = mlp(optimizer={"sgd": {"lr": 1.0}})
    net = build(spec)
    before = net.get_weights()
    gradients = gradients_for(spec, 1)[0]
    trainer(net, spec, clip=GlobalNorm(max_norm=max_norm, epsilon=epsilon)).apply(gradients, 1.0)
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    scale = min(1.0, max_norm / (norm + epsilon))
    for name, value in net.get_weights().items():
        np.testing.assert_allclose(value, before[name] - scale * gradients[name], err_msg=name, **EXACT)


def test_nothing_is_traced_twice():
    spec = mlp(optimizer="adam", conventions="torch")
    net = build(spec)
    train = trainer(net, spec)
    for examples in (8, 3, 8, 5):
        batch = data(spec, examples)
        train.step(batch, 0.1 / examples)
        train.run(train.place(data(spec, 4 * examples)), np.arange(4 * examples), np.full(-(-4 * examples // 8), 0.1))
        train.apply(net.gradients(batch, spec.resolved.loss).parameters, 0.1)
        net.forward(batch.inputs)
        net.predict(batch.inputs)
    functions = [*train._functions.values(), train._apply_function, *net._functions.values()]
    assert [function.experimental_get_tracing_count() for function in functions] == [1] * 5


def test_run_counts_learning_rates():
    spec = mlp()
    train = trainer(build(spec), spec)
    placed = train.place(data(spec, 20))
    with pytest.raises(ValueError, match="20 examples in updates of 8 need 3 learning rates, got 2"):
        train.run(placed, np.arange(20), np.full(2, 0.1))
    assert train.run(placed, np.arange(0), np.zeros(0)).shape == (0,)
    assert train.get_state().step == 0


# State, weights, ownership

MOMENTUM = {"sgd": {"momentum": 0.9}}


@pytest.mark.parametrize(
    ("optimizer", "conventions"),
    [("sgd", "torch"), ("adam", "torch"), ("adamw", "keras"), *((MOMENTUM, name) for name in ("torch", "keras"))],
    ids=str,
)
def test_state_continues_bit_for_bit(optimizer, conventions):
    spec = mlp(optimizer=optimizer, conventions=conventions, precision="float32")
    settings = spec.resolved.optimizer
    net, other = build(spec), build(spec)
    train = trainer(net, spec)
    state = train.get_state()
    assert state.step == 0
    assert set(state.slots) == set(settings.slots)
    assert all((array == 0).all() for arrays in state.slots.values() for array in arrays.values())
    train.step(data(spec, 8), 0.1)
    kept, weights = train.get_state(), net.get_weights()
    train.step(data(spec, 8, 1), 0.01)
    resumed = trainer(other, spec)
    other.set_weights(weights)
    resumed.set_state(kept)
    resumed.step(data(spec, 8, 1), 0.01)
    assert_same(net.get_weights(), other.get_weights())
    assert resumed.get_state().step == 2
    for slot in settings.slots:
        assert_same(train.get_state().slots[slot], resumed.get_state().slots[slot])
        assert {array.dtype for array in kept.slots[slot].values()} == {np.dtype("float32")}


def test_wrong_weights_and_state_change_nothing():
    spec = mlp(optimizer="adam")
    net = build(spec)
    train = trainer(net, spec)
    weights = net.get_weights()
    wrong = {("other" if name == "dense_1.bias" else name): value + 1 for name, value in weights.items()}
    with pytest.raises(WeightsError, match=r"missing: dense_1\.bias; unknown: other"):
        net.set_weights(wrong)
    with pytest.raises(WeightsError, match="shape"):
        net.set_weights({name: np.zeros((2, 2)) for name in weights})
    with pytest.raises(WeightsError, match=r"gradients.*missing"):
        train.apply({}, 0.1)
    with pytest.raises(WeightsError, match="exactly the slots first_moment, second_moment"):
        train.set_state(State(3, {"first_moment": weights}))
    with pytest.raises(WeightsError, match=r"second_moment.*unknown: other"):
        train.set_state(State(3, {"first_moment": weights, "second_moment": wrong}))
    with pytest.raises(WeightsError, match="missing"):
        backend.build(spec.graph, {})
    assert_same(net.get_weights(), weights)
    state = train.get_state()
    assert state.step == 0
    assert not state.slots["first_moment"]["dense_1.bias"].any()


def test_arrays_are_owned():
    spec = mlp(optimizer="adam", layers=DROPOUT)
    net = build(spec)
    train = trainer(net, spec)
    batch, masks = data(spec, 8), masks_for(spec, 8)
    copies = [array.copy() for array in (batch.inputs, batch.targets, *masks.values())]
    placed = train.place(batch)
    weights = net.get_weights()
    given = {name: value.copy() for name, value in weights.items()}
    net.set_weights(given)
    values = net.forward(batch.inputs, taps=["input"])
    found = net.gradients(batch, spec.resolved.loss, masks=masks, taps=["input"])
    state = train.get_state()
    kept = [array.copy() for array in (*weights.values(), *values.values(), *found.parameters.values())]
    losses = train.run(placed, np.arange(8), np.full(1, 0.1), masks=masks)
    train.step(batch, 0.1, masks=masks)
    for array, copy in zip((*weights.values(), *values.values(), *found.parameters.values()), kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    for array, copy in zip((batch.inputs, batch.targets, *masks.values()), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert_same(given, weights)
    assert not any(array.any() for arrays in state.slots.values() for array in arrays.values())
    now = net.get_weights()
    returned = [*now.values(), *train.get_state().slots["first_moment"].values(), *values.values(), losses]
    for array in returned:
        array[...] = 7.0  # writable, and nobody else's
    batch.inputs[...] = 9.0
    assert not any((value == 7.0).all() for value in net.get_weights().values())
    assert not (placed.data["inputs"]["input"].numpy() == 9.0).any()


def test_forward_survives_keras_reset_and_sees_new_weights():
    spec = mlp()
    net = build(spec)
    inputs = data(spec, 4).inputs
    first = net.forward(inputs)["dense_2"]
    keras.utils.clear_session()
    np.testing.assert_array_equal(net.forward(inputs)["dense_2"], first)
    net.set_weights({name: 2 * value for name, value in net.get_weights().items()})
    assert (net.forward(inputs, taps=["dense_1"])["dense_2"] != first).all()
    large = np.zeros((20_000, 7))
    assert net.forward(large)["dense_2"].shape == (20_000, CLASSES)


def test_unknown_tap():
    spec = mlp()
    with pytest.raises(ValueError, match=r"taps must be nodes \(input, dense_1, dense_1_relu, dense_2\), got \['x'\]"):
        build(spec).forward(data(spec, 2).inputs, taps=["x"])
