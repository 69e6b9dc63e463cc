"""Specs: resolving, graphs, shapes, initial weights."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import dualml
from dualml import (
    Activation,
    Adam,
    AdamW,
    Add,
    Concat,
    CrossEntropy,
    Dense,
    Dropout,
    Flatten,
    Model,
    Reshape,
    Sgd,
    Spec,
)
from dualml.errors import SpecError
from dualml.weights import initial_weights


def spec(*layers, input=(4,), **settings):  # noqa: A002 (the setting's name)
    given = {"loss": CrossEntropy(), "optimizer": Adam()} | settings
    return Spec(model=Model(input=input, layers=list(layers)), **given)


def test_positional_and_named_settings_are_the_same():
    assert Dense(3, activation="relu") == Dense(units=3, activation={"relu": {}})
    with pytest.raises(TypeError, match="units twice"):
        Dense(3, units=4)
    with pytest.raises(TypeError, match="at most 1 values by position"):
        Dense(3, "relu")


def test_specs_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        spec(Dense(2)).seed = 3


@pytest.mark.parametrize(
    ("conventions", "epsilon", "placement", "lr_inside", "decay"),
    [("torch", 1e-8, "corrected", False, 1e-2), ("keras", 1e-7, "uncorrected", True, 4e-3)],
)
def test_conventions_fill_what_is_unsaid(conventions, epsilon, placement, lr_inside, decay):
    adam = spec(Dense(2), conventions=conventions).resolved.optimizer
    assert (adam.epsilon, adam.epsilon_placement) == (epsilon, placement)
    assert spec(Dense(2), conventions=conventions, optimizer=Sgd()).resolved.optimizer.lr_in_momentum is lr_inside
    assert spec(Dense(2), conventions=conventions, optimizer=AdamW()).resolved.optimizer.weight_decay == decay


def test_what_is_said_is_kept():
    adam = spec(Dense(2), conventions="keras", optimizer=Adam(epsilon=0.5)).resolved.optimizer
    assert adam.epsilon == 0.5


def unsaid(value, path=()):
    if isinstance(value, dict):
        return [place for key, item in value.items() for place in unsaid(item, (*path, key))]
    if isinstance(value, list):
        return [place for index, item in enumerate(value) for place in unsaid(item, (*path, index))]
    return [path] if value is None else []


@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_a_resolved_spec_leaves_nothing_of_meaning_unsaid(conventions):
    layers = [Dense(3, activation={"softplus": {}}), Dense(3, activation="leaky_relu"), Dense(2, activation="elu")]
    settings = {"train": {"clip": {"global_norm": 1.0}}, "conventions": conventions}
    for optimizer in (Sgd(), Adam(), AdamW()):
        resolved = spec(*layers, Dense(2, activation="gelu"), optimizer=optimizer, **settings).resolved.to_dict()
        # None is the value itself here: no data, no activation, a chain, no warm-up, no early stopping
        allowed = {"data", "inputs", "outputs", "losses", "activation", "warmup", "early_stopping", "ema"}
        assert {path[-1] for path in unsaid(resolved)} <= allowed


def test_resolving_twice_changes_nothing_and_round_trips():
    resolved = spec(Flatten(), Dense(3, activation="gelu"), Dropout(0.5), Dense(2), input=(2, 2)).resolved
    assert resolved.resolved == resolved
    assert Spec(**resolved.to_dict()) == resolved


def test_an_activation_becomes_a_node_of_its_own():
    graph = spec(Dense(3, activation="relu"), Dense(2)).graph
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("dense_1", ("input",)),
        ("dense_1_relu", ("dense_1",)),
        ("dense_2", ("dense_1_relu",)),
    ]
    assert graph.chain


def test_a_named_layer_is_reached_behind_its_activation():
    graph = spec(
        Dense(3, activation="relu", name="trunk"),
        Dense(3, name="side"),
        Add(inputs=["trunk", "side"]),
        Concat(inputs=["add_1", "trunk", "input"]),
    ).graph
    assert graph.by_name["add_1"].inputs == ("trunk_relu", "side")
    assert graph.output_shape == (10,)
    assert not graph.chain


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense(2, name="a"), Dense(2, name="a")], "names another layer"),
        ([Dense(2, name="input")], "is the model's input"),
        ([Dense(2, inputs="nowhere")], "no layer is named 'nowhere'"),
        ([Dense(2, inputs="late"), Dense(2, name="late")], "comes later"),
        ([Dense(2), Add()], "at least 2 inputs, got 1"),
        ([Dense(2, name="a"), Dense(3, name="b"), Add(inputs=["a", "b"])], "must have one shape"),
        ([Reshape((3, 3)), Flatten()], "which do not fit the target"),
        ([Reshape((-1, -1)), Flatten()], "at most one -1"),
        ([Dense(2, name="a"), Dense(2, inputs="input")], "nothing uses layer 'a'"),
        ([Dense(2, name="a"), Dense(2, name="b"), Concat(axis=3, inputs=["a", "b"])], "axis must be in"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, message):
    with pytest.raises(SpecError, match=message):
        _ = spec(*layers).graph


def test_every_problem_is_reported_at_once():
    with pytest.raises(SpecError) as caught:
        _ = spec(Reshape((3, 3)), Dense(2, inputs="input", name="x"), Dense(2, inputs="y")).graph
    assert "do not fit the target" in str(caught.value)
    assert "no layer is named 'y'" in str(caught.value)


# Golden values: the words of randomness.words(0, "weights/dense_1.kernel", ...) put through the documented formulas
# bound * (2 u - 1) with bound 1/sqrt(4) (torch) and sqrt(6 / (4 + 3)) (keras), evaluated by hand.
def test_initial_weights_follow_the_formula():
    from dualml import randomness

    u = randomness.uniform(0, "weights/dense_1.kernel", (4, 3))
    for conventions, bound in (("torch", 0.5), ("keras", np.sqrt(6 / 7))):
        weights = initial_weights(spec(Dense(3), conventions=conventions, precision="float64").graph, 0)
        np.testing.assert_array_equal(weights["dense_1.kernel"], bound * (2 * u - 1))
    assert not initial_weights(spec(Dense(3), conventions="keras").graph, 0)["dense_1.bias"].any()


def test_initial_weights_are_golden():
    weights = initial_weights(spec(Dense(2), input=(2,), precision="float64").graph, 0)
    assert weights["dense_1.kernel"].ravel().tolist() == GOLDEN_KERNEL


# Computed once, apart from dualml, from Philox-4x64-10 keyed by BLAKE2b-128 of b"0\\0weights/dense_1.kernel":
# ((word >> 11) 2^-52 - 1) / sqrt(2) for its first four words.
GOLDEN_KERNEL = [0.040621947570276214, -0.028386428525386153, -0.22722463155890163, -0.08362668457080266]


def test_float32_weights_are_the_rounded_float64_ones():
    wide = initial_weights(spec(Dense(8), precision="float64").graph, 5)
    narrow = initial_weights(spec(Dense(8)).graph, 5)
    for name, array in wide.items():
        assert narrow[name].dtype == np.float32
        np.testing.assert_array_equal(array.astype(np.float32), narrow[name])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 3))
def test_flatten_and_reshape_keep_every_value(shape, position):
    graph = spec(Flatten(), Reshape(tuple(shape)), Flatten(), Dense(2), input=tuple(shape)).graph
    assert graph.by_name["flatten_2"].shape == (int(np.prod(shape)),)
    open_axis = [*shape[:position], -1, *shape[position + 1 :]] if position < len(shape) else shape
    assert spec(Reshape(tuple(open_axis)), Flatten(), Dense(2), input=tuple(shape)).graph.nodes[0].shape == tuple(shape)


def test_activation_layer_takes_the_function_by_position():
    assert Activation("relu") == Activation(function="relu")
    assert dualml.Dropout(0.5) == Dropout(rate=0.5)


def test_type_checkers_see_every_public_name():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(dualml.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(dualml.__all__) - {"__version__"}
