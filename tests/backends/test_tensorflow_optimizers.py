"""The TensorFlow adapter's optimizers, judged by NumPy formulas in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow import formulas  # noqa: E402
from dualml_tensorflow.formulas import FormulaAdam, FormulaSgd  # noqa: E402
from tensorflow_support import build, data, gradients_for, mlp, trainer  # noqa: E402

from dualml.reference import initial_state, update  # noqa: E402
from dualml.spec.optimizers import OPTIMIZERS  # noqa: E402


def numpy_update(kind, s, p, g, slots, lr, t):
    """One update by the formulas of ``dualml.spec.optimizers``, in float64."""
    if s.weight_decay:
        if s.decay == "decoupled":
            p = p - lr * s.weight_decay * p
        else:
            g = g + s.weight_decay * p
    if kind == "sgd":
        if not s.momentum:
            return p - lr * g, {}
        if s.lr_in_momentum:
            v = s.momentum * slots["momentum"] - lr * g
            return (p + s.momentum * v - lr * g if s.nesterov else p + v), {"momentum": v}
        b = s.momentum * slots["momentum"] + g
        return p - lr * (g + s.momentum * b if s.nesterov else b), {"momentum": b}
    m = s.beta1 * slots["first_moment"] + (1 - s.beta1) * g
    v = s.beta2 * slots["second_moment"] + (1 - s.beta2) * g**2
    c1, c2 = 1 - s.beta1**t, 1 - s.beta2**t
    if s.epsilon_placement == "corrected":
        p = p - lr * (m / c1) / (np.sqrt(v / c2) + s.epsilon)
    else:
        p = p - lr * (math.sqrt(c2) / c1) * m / (np.sqrt(v) + s.epsilon)
    return p, {"first_moment": m, "second_moment": v}


SGDS = [
    {"sgd": {"momentum": momentum, "nesterov": nesterov, "weight_decay": w, "decay": decay, "lr_in_momentum": inside}}
    for (momentum, nesterov), (w, decay), inside in itertools.product(
        [(0.0, False), (0.9, False), (0.9, True)],
        [(0.0, "coupled"), (0.1, "coupled"), (0.1, "decoupled")],
        [False, True],
    )
]
ADAMS = [
    {kind: {"epsilon": 1e-4, "epsilon_placement": placement, "weight_decay": w, "decay": decay}}
    for kind, placement, (w, decay) in itertools.product(
        ["adam", "adamw"], ["corrected", "uncorrected"], [(0.0, "coupled"), (0.1, "coupled"), (0.1, "decoupled")]
    )
    if kind == "adam" or decay == "decoupled"
]
ADAMS += [
    {"adam": {"epsilon": 1e-3, "epsilon_placement": "corrected", "beta1": beta1, "beta2": beta2}}
    for beta1, beta2 in [(0.0, 0.0), (0.3, 0.4), (0.5, 0.999)]
]
RATES = [0.01, 0.01, 0.1, 0.003]  # momentum with the rate inside differs only after a change


def numpy_trajectory(spec, weights, gradients, rates):
    settings = spec.resolved.optimizer
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    slots = {name: {slot: np.zeros_like(value) for slot in settings.slots} for name, value in weights.items()}
    kind = "sgd" if settings.kind == "sgd" else "adam"
    for t, (step, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        for name in weights:
            weights[name], slots[name] = numpy_update(kind, settings, weights[name], step[name], slots[name], lr, t)
    return weights, {slot: {name: slots[name][slot] for name in weights} for slot in settings.slots}


def settings_id(optimizer):
    return "-".join([next(iter(optimizer)), *map(str, next(iter(optimizer.values())).values())])


def check_formula(optimizer, *, compiled):
    spec = mlp(optimizer=optimizer)
    net = build(spec)
    train = trainer(net, spec, compiled=compiled)
    gradients = gradients_for(spec, len(RATES))
    want, slots = numpy_trajectory(spec, net.get_weights(), gradients, RATES)
    for step, lr in zip(gradients, RATES, strict=True):
        train.apply(step, lr)
    for name, value in net.get_weights().items():
        np.testing.assert_allclose(value, want[name], rtol=1e-14, atol=1e-15, err_msg=name)
    state = train.get_state()
    assert state.step == len(RATES)
    assert set(state.slots) == set(slots)
    for slot, name in itertools.product(slots, want):
        np.testing.assert_allclose(state.slots[slot][name], slots[slot][name], rtol=1e-13, atol=1e-18, err_msg=slot)
    return train


@pytest.mark.parametrize("optimizer", SGDS + ADAMS, ids=settings_id)
def test_every_update_formula_in_float64(optimizer):
    check_formula(optimizer, compiled=False)


COMPILED = [
    {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "decay": "decoupled", "lr_in_momentum": True}},
    {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "decay": "coupled", "lr_in_momentum": False}},
    {"adam": {"epsilon": 1e-4, "epsilon_placement": "corrected", "weight_decay": 0.1, "decay": "coupled"}},
    {"adam": {"epsilon": 1e-4, "epsilon_placement": "uncorrected", "weight_decay": 0.1, "decay": "coupled"}},
    {"adamw": {"epsilon": 1e-4, "epsilon_placement": "uncorrected", "weight_decay": 0.1}},
]


@pytest.mark.parametrize("optimizer", COMPILED, ids=settings_id)
def test_compiled_update_formula_in_float64(optimizer):
    check_formula(optimizer, compiled=True)


@pytest.mark.parametrize("conventions", ["torch", "keras"])
@pytest.mark.parametrize("kind", [kind.kind for kind in OPTIMIZERS])
def test_compiled_is_eager_in_float64(kind, conventions):
    spec = mlp(optimizer={kind: {"ema": {"decay": 0.7}}}, conventions=conventions)
    gradients, found = gradients_for(spec, len(RATES)), []
    for compiled in (False, True):
        net = build(spec)
        train = trainer(net, spec, compiled=compiled)
        for step, lr in zip(gradients, RATES, strict=True):
            train.apply(step, lr)
        state = train.get_state()
        assert all(array.dtype == np.float64 for arrays in state.slots.values() for array in arrays.values())
        found.append({**net.get_weights(), **{(s, n): a for s, held in state.slots.items() for n, a in held.items()}})
    for key, value in found[0].items():
        np.testing.assert_allclose(found[1][key], value, rtol=1e-12, atol=1e-16, err_msg=str(key))


def test_stock_optimizers_where_the_formula_is_keras():
    def native(optimizer, conventions):
        spec = mlp(optimizer=optimizer, conventions=conventions)
        return type(trainer(build(spec), spec).optimizer)

    assert native({"sgd": {"momentum": 0.9, "weight_decay": 0.1}}, "keras") is keras.optimizers.SGD
    assert native({"adam": {"weight_decay": 0.1}}, "keras") is keras.optimizers.Adam
    assert native("adamw", "keras") is keras.optimizers.AdamW
    assert native("sgd", "torch") is keras.optimizers.SGD
    assert native({"sgd": {"momentum": 0.9}}, "torch") is FormulaSgd
    assert native("adam", "torch") is FormulaAdam
    assert native("adamw", "torch") is FormulaAdam
    both = {"adamax": "Adamax", "rmsprop": "RMSprop", "adagrad": "Adagrad", "lion": "Lion", "adafactor": "Adafactor"}
    for kind, stock in both.items():
        assert native({kind: {"weight_decay": 0.1, "ema": {}}}, "keras") is getattr(keras.optimizers, stock)
        assert issubclass(native({kind: {"weight_decay": 0.1, "decay": "coupled"}}, "keras"), formulas.Formula)
        assert issubclass(native({kind: {"ema": {"every": 2}}}, "keras"), formulas.Formula)
        groups = [{"match": "*.bias", "lr_factor": 0.5}]
        assert issubclass(native({kind: {"groups": groups}}, "keras"), formulas.Formula)
    # In float64 these are not what they say or fail: a float32 0.96, the root of a shape in float32, an np.float64
    # times a variable.
    assert native("nadam", "keras") is formulas.FormulaNadam
    assert native("adadelta", "keras") is formulas.FormulaAdadelta
    assert native("muon", "keras") is formulas.FormulaMuon


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_float32_update_is_the_formula_but_for_rounding(optimizer):
    """The first Adam update shows scalars in float32: ``1 - 0.999`` alone would be off by 1e-5."""
    settings = {"sgd": {"momentum": 0.9}, "adam": {"epsilon": 1e-12}}[optimizer]
    spec = mlp(precision="float32", optimizer={optimizer: settings}, conventions="torch")
    net = build(spec)
    net.set_weights({name: np.zeros_like(value) for name, value in net.get_weights().items()})
    gradients = gradients_for(spec, 3)
    for compiled in (False, True):
        train = trainer(net, spec, compiled=compiled)
        net.set_weights({name: np.zeros_like(value) for name, value in net.get_weights().items()})
        want, _ = numpy_trajectory(spec, net.get_weights(), gradients[:1], [0.1])
        train.apply(gradients[0], 0.1)
        for name, value in net.get_weights().items():
            np.testing.assert_allclose(value, want[name], rtol=5e-7, err_msg=name)


def test_lr_is_a_double():
    """0.1 in float32 is 1.5e-9 off, far above the rounding of a float64 product."""
    for conventions in ("keras", "torch"):
        spec = mlp(optimizer={"sgd": {"momentum": 0.9}}, conventions=conventions)
        net = build(spec)
        before = net.get_weights()
        ones = {name: np.ones_like(value) for name, value in before.items()}
        trainer(net, spec).apply(ones, 0.1)
        for name, value in net.get_weights().items():
            np.testing.assert_allclose(value, before[name] - 0.1, rtol=1e-15, atol=1e-16)


COMMON = {"weight_decay": 0.1, "ema": {"decay": 0.9, "every": 2}}
OWN = {
    "sgd": {"momentum": 0.9, "nesterov": True, "decay": "coupled"},
    "adam": {"amsgrad": True},
    "nadam": {},
    "adamax": {},
    "rmsprop": {"centered": True, "momentum": 0.5},
    "adagrad": {"initial_accumulator": 0.3},
    "adadelta": {},
    "lion": {},
    "adafactor": {},
    "muon": {},
}


def test_every_own_optimizer_is_tried():
    own = {name for name in formulas.__all__ if name.startswith("Formula") and name != "Formula"}
    assert {f"Formula{kind.capitalize()}" for kind in OWN} == own


@pytest.mark.parametrize("kind", OWN)
def test_formula_optimizer_in_compile_and_fit(kind, tmp_path):
    """In ``fit`` as in our trainer, then saved and loaded with all that it remembers."""
    groups = [{"match": "dense_1.*", "lr_factor": 0.5, "weight_decay": 0.2}]
    settings = {"lr": 0.01, "groups": groups, **COMMON, **OWN[kind]}
    spec = mlp(precision="float32", conventions="torch", optimizer={kind: settings})
    net, other = build(spec), build(spec)
    batch = data(spec, 24)
    train = trainer(other, spec)
    for _ in range(2):
        train.run(train.place(batch), np.arange(24), np.full(3, 0.01))

    config = train.optimizer.get_config()
    optimizer = type(train.optimizer).from_config(config)
    assert isinstance(optimizer, formulas.Formula)
    net.native.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    # At its end fit would put the average in the place of the weights.
    net.native.optimizer.finalize_variable_values = lambda *_: None
    net.native.fit(batch.inputs, batch.targets, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for key, value in net.get_weights().items():
        np.testing.assert_allclose(value, other.get_weights()[key], atol=2e-6, err_msg=key)

    net.native.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(optimizer)
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert optimizer.get_config()["weight_decays"] is not None
    assert len(loaded.optimizer.variables) == len(optimizer.variables)
    for left, right in zip(loaded.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


IDS = [[1, 3, 1, 1]]
SPARSE = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "norm": lambda: keras.optimizers.SGD(0.01, clipnorm=0.1),
    "global_norm": lambda: keras.optimizers.SGD(0.01, global_clipnorm=0.1),
}


def table_after(optimizer, *, densify, updates=3):
    """A table of embeddings after updates from a batch that names row 1 three times."""
    table = keras.Variable(np.linspace(-1.0, 1.0, 15).reshape(5, 3), dtype="float32")
    weights = tf.constant(np.arange(12.0).reshape(1, 4, 3) / 12.0, tf.float32)
    for _ in range(updates):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table.value, IDS) * weights)
        gradient = tape.gradient(loss, table.value)
        assert isinstance(gradient, tf.IndexedSlices)
        assert gradient.indices.shape == (4,)
        optimizer.apply([tf.convert_to_tensor(gradient) if densify else gradient], [table])
    return table.numpy()


@pytest.mark.parametrize("name", SPARSE)
def test_stock_optimizers_are_wrong_about_repeated_ids(name):
    """Three gradients of one row are squared one by one, and so are their norms; summed first they are right."""
    right = table_after(SPARSE[name](), densify=True)
    assert np.abs(table_after(SPARSE[name](), densify=False) - right).max() > 1e-4
    if name in ("adam", "rmsprop", "adagrad"):
        # What the reference says about the same gradient as a dense array.
        settings = resolved({name: {"lr": 0.01}})
        rows = np.zeros((5, 3))
        np.add.at(rows, IDS[0], np.arange(12.0).reshape(4, 3) / 12.0)
        values = {"table": np.linspace(-1.0, 1.0, 15).reshape(5, 3)}
        state = initial_state(settings, values)
        for _ in range(3):
            values, state = update(settings, values, {"table": rows}, state, 0.01)
        np.testing.assert_allclose(right, values["table"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: formulas.FormulaAdam(0.01, weight_decay=0.1),
        lambda: formulas.FormulaRmsprop(0.01),
        lambda: formulas.FormulaAdagrad(0.01),
        lambda: formulas.FormulaAdafactor(0.01),
        lambda: formulas.FormulaSgd(0.01, momentum=0.9),
        lambda: formulas.FormulaLion(0.01),
    ],
    ids=["adam", "rmsprop", "adagrad", "adafactor", "sgd", "lion"],
)
def test_formula_optimizers_sum_repeated_ids_themselves(make):
    """So that ``fit``, which hands the slices on as they are, is right too."""
    np.testing.assert_array_equal(table_after(make(), densify=False), table_after(make(), densify=True))


def resolved(optimizer):
    return mlp(optimizer=optimizer).resolved.optimizer
