"""Traces read into graphs: layouts, shapes, weights, one way to say what can be said in several."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from made_traces import Recorder

from dualml.errors import ParityError
from dualml.native.layouts import behind_batch, permuted, reshaping, transposition, unchanged
from dualml.native.read_pair import read_pair
from dualml.reference import forward


def kinds(reading):
    return [node.operation for node in reading.graph.nodes]


def check(recorder, reading, examples_opaque=False):
    """The graph, evaluated from the recorded inputs, gives every recorded value."""
    graph = reading.graph
    assert examples_opaque or "opaque" not in kinds(reading), reading.notes
    inputs = {
        item.name: reading.neutral(item.name, recorder.arrays[reading.places[item.name].value]) for item in graph.inputs
    }
    values = forward(graph, reading.neutral_weights(recorder.weights), inputs)
    for node in graph.nodes:
        place = reading.places[node.name]
        native = recorder.arrays[place.value]
        np.testing.assert_allclose(values[node.name], native.transpose(place.axes), rtol=0, atol=1e-10)
        assert values[node.name].shape[1:] == node.shape
    for key, held in reading.values.items():
        if held.node in values:
            np.testing.assert_allclose(reading.native_value(key, values), recorder.arrays[key], rtol=0, atol=1e-10)


# Layouts


def test_transposition_turns_one_order_into_the_other():
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for have in [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 3, 2)]:
        for want in [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)]:
            p = transposition(have, want)
            np.testing.assert_array_equal(array.transpose(have).transpose(p), array.transpose(want))


def test_permuted_leaves_the_neutral_array():
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    axes, turn = (0, 2, 3, 1), (0, 3, 1, 2)
    np.testing.assert_array_equal(array.transpose(turn).transpose(permuted(axes, turn)), array.transpose(axes))


def test_a_reshape_that_merges_the_batch_is_none():
    assert reshaping((4, 7, 6), unchanged(3), (28, 6)) is None
    assert reshaping((4, 7, 6), unchanged(3), (4, 42)) is not None


SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(SIZES, st.integers(0, 4), st.integers(0, 2**64 - 1))
def test_a_reshape_of_the_neutral_array_is_that_of_the_native_one(sizes, batch, seed):
    random = Random(seed)
    batch = min(batch, len(sizes))
    shape = (*sizes[:batch], 5, *sizes[batch:])
    before, after = cut(random, shape[:batch]), cut(random, shape[batch + 1 :])
    target = (*before, 5, *after)
    native = np.arange(math.prod(shape)).reshape(shape)
    others = [axis for axis in range(len(shape)) if axis != batch]
    axes = (batch, *random.sample(others, len(others)))
    found = reshaping(shape, axes, target)
    assert found is not None
    neutral = native.transpose(found.before)
    wanted = native.reshape(target).transpose(found.after)
    np.testing.assert_array_equal(neutral.reshape(wanted.shape), wanted)


def test_a_new_axis_of_one_stays_behind_its_neighbour():
    found = reshaping((4, 3, 8, 8), behind_batch(4), (4, 3, 8, 1, 8))
    assert found is not None
    assert found.before == behind_batch(4)
    assert found.after == (0, 2, 3, 4, 1)


# Channels first and last


def convolutional(recorder, x, *, channels_first):
    """What follows is the same in both layouts, up to the order of axes."""
    shape = (4, 5, 6, 6) if channels_first else (4, 6, 6, 5)
    x = recorder.conv2d(x, 5, 3, shape, channels_first=channels_first)
    x = recorder.call("activation", x, shape, settings={"function": {"relu": {}}})
    return recorder.call("global_average_pool", x, (4, 5), channels_first=channels_first, settings={"keep_axes": False})


def test_both_layouts_give_the_same_graph():
    first, last, turned = Recorder(), Recorder(), Recorder()
    a = first.read(convolutional(first, first.input(4, 3, 8, 8), channels_first=True))
    b = last.read(convolutional(last, last.input(4, 8, 8, 3), channels_first=False))
    # A model that takes channels last and turns them itself.
    x = turned.permute(turned.input(4, 8, 8, 3), (0, 3, 1, 2), name="turn")
    c = turned.read(convolutional(turned, x, channels_first=True))
    for other in (b, c):
        assert [item.shape for item in other.graph.inputs] == [(8, 8, 3)]
        assert [(n.operation, n.settings, n.shape) for n in a.graph.nodes] == [
            (n.operation, n.settings, n.shape) for n in other.graph.nodes
        ]
    assert a.places["x"].axes == (0, 2, 3, 1)
    assert b.places["x"].axes == c.places["x"].axes == (0, 1, 2, 3)


def test_flatten_of_channels_first_says_so():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(4, 3, 2, 2), channels_first=True)
    x = recorder.reshape(x, (4, 12), "flatten")
    reading = recorder.read(recorder.dense(x, 2))
    assert reading.graph.nodes[1].settings.order == "channels_first"
    check(recorder, reading)


def test_flatten_of_one_position_is_the_plain_one():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(4, 3, 1, 1), channels_first=True)
    reading = recorder.read(recorder.reshape(x, (4, 3), "flatten"))
    assert reading.graph.nodes[-1].settings.order == "channels_last"
    check(recorder, reading)


def test_patches_are_a_reshape_in_both_layouts():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 3, 4, 5), channels_first=True)
    x = recorder.permute(recorder.reshape(x, (2, 3, 20)), (0, 2, 1))
    reading = recorder.read(recorder.dense(x, 6))
    assert kinds(reading) == ["batch_norm", "reshape", "dense"]
    assert reading.graph.nodes[1].shape == (20, 3)
    check(recorder, reading)


def test_a_real_transposition_is_a_node():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 4, 3), 3)
    x = recorder.dense(recorder.permute(x, (0, 2, 1)), 5)
    x = recorder.permute(x, (0, 2, 1))
    reading = recorder.read(recorder.dense(x, 2))
    assert kinds(reading) == ["dense", "permute", "dense", "permute", "dense"]
    check(recorder, reading)


def test_an_axis_of_one_goes_where_the_next_call_wants_it():
    recorder = Recorder()
    x = recorder.reshape(recorder.input(4, 6, 6), (4, 1, 6, 6))
    reading = recorder.read(recorder.batch_norm(x, channels_first=True))
    assert kinds(reading) == ["reshape", "batch_norm"]
    assert reading.graph.nodes[0].shape == (6, 6, 1)
    check(recorder, reading)


def test_channels_and_values_in_other_orders_meet_in_an_addition():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 3, 4, 4), channels_first=True)
    y = recorder.reshape(recorder.dense(recorder.input(2, 48, name="y"), 48), (2, 3, 4, 4))
    reading = recorder.read(recorder.add(x, y))
    assert kinds(reading)[-2:] == ["permute", "add"]
    check(recorder, reading)


def test_an_order_that_two_calls_want_is_made_once():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 3, 4, 5), channels_first=True)
    reading = recorder.read(recorder.add(recorder.dense(x, 5), recorder.dense(x, 5)))
    assert kinds(reading) == ["batch_norm", "permute", "dense", "dense", "add"]
    check(recorder, reading)


def test_the_first_call_that_wants_an_order_decides_it():
    recorder = Recorder()
    x = recorder.input(2, 3, 3, 3)
    first = recorder.batch_norm(x, channels_first=True)
    reading = recorder.read(recorder.add(first, recorder.batch_norm(x, channels_first=False)))
    assert reading.places["x"].axes == behind_batch(4)
    check(recorder, reading)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_random_chains_mean_what_they_compute(seed):
    """Permutations, reshapes and layers in any order, evaluated by the reference from the graph that was read."""
    random = Random(seed)
    recorder = Recorder(random.randrange(2**32))
    rank = random.randint(2, 4)
    key = recorder.input(3, *(random.choice([1, 2, 4, 6]) for _ in range(rank - 1)))
    batch = 0
    earlier = [(key, batch)]
    for _ in range(random.randint(1, 9)):
        shape = recorder.shape(key)
        others = [axis for axis in range(len(shape)) if axis != batch]
        move = random.choice(
            ["permute", "permute", "reshape", "reshape", "dense", "norm", "softmax", "slice", "select", "concat", "add"]
        )
        if move == "permute":
            axes = random.sample(range(len(shape)), len(shape))
            key, batch = recorder.permute(key, axes), axes.index(batch)
        elif move == "reshape":
            before, after = cut(random, shape[:batch]), cut(random, shape[batch + 1 :])
            if len(before) + len(after) < 6:
                key, batch = recorder.reshape(key, (*before, shape[batch], *after)), len(before)
        elif move == "dense" and others and batch != len(shape) - 1:
            key = recorder.dense(key, random.choice([1, 2, 4]))
        elif move == "norm" and batch == 0 and 2 <= len(shape) <= 5:
            key = recorder.batch_norm(key, channels_first=random.random() < 0.5)
        elif move == "softmax" and others:
            key = recorder.softmax(key, random.choice(others))
        elif move == "slice" and others:
            axis = random.choice(others)
            start = random.randrange(shape[axis])
            key = recorder.part(key, axis, start, random.randint(start + 1, shape[axis]))
        elif move == "select" and len(others) > 1:
            axis = random.choice(others)
            key = recorder.select(key, axis, random.randrange(shape[axis]))
            batch -= axis < batch
        elif move == "concat" and others and math.prod(shape) < 500:
            key = recorder.concat([key, recorder.activation(key, "tanh")], random.choice(others))
        elif move == "add":
            same = [item for item, place in earlier if recorder.shape(item) == shape and place == batch]
            if same:
                key = recorder.add(key, random.choice(same))
        earlier.append((key, batch))
    reading = recorder.read(recorder.activation(key, "tanh"))
    check(recorder, reading)


def cut(random, sizes):
    """The same number of values under another shape."""
    rest, found = math.prod(sizes), []
    while rest > 1:
        size = random.choice([size for size in range(2, rest + 1) if rest % size == 0])
        found.append(size)
        rest //= size
    if random.random() < 0.3:
        found.insert(random.randint(0, len(found)), 1)
    return found


# Names, weights, shared layers


def test_names_are_valid_and_unique():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 3), 3, name="net.0")
    x = recorder.dense(x, 3, name="net_0")
    reading = recorder.read(recorder.dense(x, 3, name="0"))
    assert list(reading.graph.by_name) == ["net_0", "net_0_2", "_0"]
    assert [node.path for node in reading.graph.nodes] == ["net.0", "net_0", "0"]
    assert reading.weights["net_0.kernel"] == "net.0.kernel"
    check(recorder, reading)


def test_a_layer_called_twice_owns_its_weights_once():
    recorder = Recorder()
    kernel = recorder.random.normal(size=(3, 3))
    x = recorder.dense(recorder.input(2, 3), 3, bias=False, kernel=kernel, name="a")
    made = recorder.arrays[x] @ kernel
    x = recorder.call("dense", x, made, weights={"kernel": "a.kernel"}, settings={"units": 3, "bias": False})
    reading = recorder.read(x)
    first, second = reading.graph.nodes
    assert second.owner == first.name
    assert [item.name for item in reading.graph.parameters] == ["a.kernel"]
    check(recorder, reading)


def test_a_table_used_as_a_kernel_is_tied():
    recorder = Recorder()
    table = recorder.random.normal(size=(7, 3))
    ids = recorder.input(2, 5, high=7)
    settings = {"vocabulary": 7, "units": 3, "scale": False, "padding_index": None}
    x = recorder.call(
        "embedding", ids, table[recorder.arrays[ids]], weights={"table": table}, settings=settings, name="e"
    )
    made = recorder.arrays[x] @ table.T
    x = recorder.call("tied_dense", x, made, weights={"kernel": "e.table"}, settings={"bias": False})
    reading = recorder.read(x)
    assert [item.name for item in reading.graph.parameters] == ["e.table"]
    assert reading.graph.inputs[0].integer
    check(recorder, reading)


def test_what_changes_nothing_vanishes():
    recorder = Recorder()
    x = recorder.input(2, 3)
    x = recorder.call("identity", x, recorder.arrays[x])
    x = recorder.dropout(x, 0.0)
    x = recorder.call("activation", x, recorder.arrays[x], settings={"function": {"linear": {}}})
    reading = recorder.read(recorder.dense(x, 2))
    assert kinds(reading) == ["dense"]
    check(recorder, reading)


# Settings in one way


def test_padding_and_sizes_are_said_in_one_way():
    found = []
    for padding, size in (("same", 3), (1, (3, 3)), ([[1, 1], [1, 1]], 3), ("symmetric", [3, 3])):
        recorder = Recorder()
        x = recorder.input(2, 8, 8, 3)
        x = recorder.conv2d(x, 5, 3, (2, 8, 8, 5), padding=padding, channels_first=False)
        call = recorder.calls[-1]
        recorder.calls[-1] = replace(call, settings={**call.settings, "kernel_size": size})
        found.append(recorder.read(x).graph.nodes[0].settings)
    assert all(item == found[0] for item in found)
    assert found[0].padding == ((1, 1), (1, 1))


def test_a_padding_mode_without_padding_is_no_difference():
    found = []
    for mode in ("zeros", "reflect"):
        recorder = Recorder()
        x = recorder.conv2d(recorder.input(2, 8, 8, 3), 5, 3, (2, 6, 6, 5), padding=0, channels_first=False)
        call = recorder.calls[-1]
        recorder.calls[-1] = replace(call, settings={**call.settings, "padding_mode": mode})
        found.append(recorder.read(x).graph.nodes[0].settings)
    assert found[0] == found[1]


def test_padding_with_a_stride_stays_different():
    found = []
    for padding in ("same", "symmetric"):
        recorder = Recorder()
        x = recorder.conv2d(
            recorder.input(2, 8, 8, 3), 5, 3, (2, 4, 4, 5), padding=padding, stride=2, channels_first=False
        )
        found.append(recorder.read(x).graph.nodes[0].settings.padding)
    assert found == [((0, 1), (0, 1)), ((1, 1), (1, 1))]


def test_a_bias_added_apart_joins_its_layer():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 3), 4, bias=False, name="fc")
    bias = recorder.random.normal(size=4)
    x = recorder.call("add", x, recorder.arrays[x] + bias, weights={"operand": bias}, name="plus")
    reading = recorder.read(recorder.activation(x))
    assert kinds(reading) == ["dense", "activation"]
    assert reading.weights["fc.bias"] == "plus.operand"
    assert [call.name for call in reading.places["fc"].calls] == ["fc", "plus"]
    check(recorder, reading)


def test_a_bias_added_along_another_axis_does_not():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 4, 4, 4), channels_first=True)
    x = recorder.conv2d(x, 4, 1, (2, 4, 4, 4), bias=False)
    right = recorder.call("add", x, (2, 4, 4, 4), weights={"operand": (4, 1, 1)})
    assert kinds(recorder.read(right)) == ["batch_norm", "conv2d"]
    wrong = recorder.call("add", x, (2, 4, 4, 4), weights={"operand": (4,)})
    assert kinds(recorder.read(wrong)) == ["batch_norm", "conv2d", "opaque"]


def test_a_bias_is_left_apart_where_the_value_between_is_wanted():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 3), 4, bias=False)
    y = recorder.call("add", x, (2, 4), weights={"operand": (4,)})
    assert kinds(recorder.read(x, y)) == ["dense", "opaque"]


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4)])
def test_a_table_added_to_a_sequence_is_an_embedding_of_positions(shape):
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 5, 3), 4)
    table = recorder.random.normal(size=shape)
    x = recorder.call("add", x, recorder.arrays[x] + table, weights={"operand": table})
    reading = recorder.read(x)
    assert kinds(reading) == ["dense", "position_embedding"]
    check(recorder, reading)


@pytest.mark.parametrize("ids", [np.arange(5), np.arange(5)[None]])
def test_an_embedding_of_counted_positions_is_one_too(ids):
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 5, 3), 4)
    table = recorder.random.normal(size=(9, 4))
    constant = recorder.constant(ids)
    rows = recorder.call(
        "embedding",
        constant,
        table[ids],
        weights={"table": table},
        settings={"vocabulary": 9, "units": 4, "scale": False, "padding_index": None},
    )
    x = recorder.call("add", (x, rows), recorder.arrays[x] + table[:5])
    reading = recorder.read(x)
    assert kinds(reading) == ["dense", "position_embedding"]
    check(recorder, reading)


def test_other_ids_are_not_positions():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 5, 3), 4)
    rows = recorder.call(
        "embedding",
        recorder.constant(np.arange(5)[::-1]),
        (5, 4),
        weights={"table": (9, 4)},
        settings={"vocabulary": 9, "units": 4, "scale": False, "padding_index": None},
    )
    assert kinds(recorder.read(recorder.call("add", (x, rows), (2, 5, 4)))) == ["dense", "opaque"]


def test_pooling_to_one_position_is_global():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 3, 4, 4), channels_first=True)
    pooled = recorder.arrays[x].mean(axis=(2, 3), keepdims=True)
    x = recorder.call("adaptive_average_pool2d", x, pooled, settings={"size": 1}, channels_first=True)
    reading = recorder.read(recorder.dense(recorder.reshape(x, (2, 3), "flatten"), 2))
    assert kinds(reading) == ["batch_norm", "global_average_pool", "dense"]
    assert not reading.graph.nodes[1].settings.keep_axes
    check(recorder, reading)


def recurrent(recorder, x, outputs, **more):
    weights = {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
    settings = {"units": 5, "return_sequences": True, "reverse": False, "bias": "single"}
    return recorder.call("lstm", x, outputs, weights=weights, settings=settings, **more)


def test_the_last_step_of_a_recurrent_layer_is_its_state():
    recorder = Recorder()
    x = recurrent(recorder, recorder.input(2, 7, 3), (2, 7, 5))
    x = recorder.call("select", x, (2, 5), settings={"index": -1, "axis": 0})
    (node,) = recorder.read(x).graph.nodes
    assert node.operation == "lstm"
    assert not node.settings.return_sequences


def test_another_step_is_not():
    recorder = Recorder()
    x = recurrent(recorder, recorder.input(2, 7, 3), (2, 7, 5))
    x = recorder.call("select", x, (2, 5), settings={"index": 0, "axis": 0})
    assert kinds(recorder.read(x)) == ["lstm", "select"]


def test_the_state_that_is_returned_beside_the_steps():
    recorder = Recorder()
    steps, state, _ = recurrent(recorder, recorder.input(7, 2, 3), [(7, 2, 5), (1, 2, 5), (1, 2, 5)], batch_axis=1)
    x = recorder.call("select", state, (2, 5), settings={"index": 0, "axis": -3})
    reading = recorder.read(x)
    (node,) = reading.graph.nodes
    assert node.operation == "lstm"
    assert not node.settings.return_sequences
    assert reading.graph.inputs[0].shape == (7, 3)
    assert kinds(recorder.read(steps, x)) == ["lstm", "select"]


@pytest.mark.parametrize("index", [1, -1])
def test_a_position_of_joined_states_is_that_of_one_layer(index):
    recorder = Recorder()
    x = recorder.input(2, 7, 3)
    _, forward_state = recurrent(recorder, x, [(2, 7, 5), (1, 2, 5)], name="forward")
    weights = {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
    settings = {"units": 5, "return_sequences": True, "reverse": True, "bias": "single"}
    _, state = recorder.call("lstm", x, [(2, 7, 5), (1, 2, 5)], weights=weights, settings=settings, name="backward")
    joined = recorder.call("concat", (forward_state, state), (2, 2, 5), settings={"axis": -3})
    x = recorder.call("select", joined, (2, 5), settings={"index": index, "axis": -3})
    reading = recorder.read(recorder.call("activation", x, (2, 5), settings={"function": {"tanh": {}}}))
    assert list(reading.graph.by_name) == ["backward", "activation_4"]
    assert not reading.graph.nodes[0].settings.return_sequences


def test_a_layer_that_takes_the_time_for_the_batch_is_read_as_meant_and_said():
    recorder = Recorder()
    x = recurrent(recorder, recorder.input(4, 7, 3), (4, 7, 5), batch_axis=1, where="model.py:3")
    x = recorder.call("select", x, (4, 5), settings={"index": -1, "axis": 0})
    reading = recorder.read(x)
    (node,) = reading.graph.nodes
    assert node.input_shapes == ((7, 3),)
    assert reading.places["x"].axes == (0, 1, 2)
    (note,) = reading.notes
    assert "takes axis 1" in note
    assert "model.py:3" in note


# What has no formula


def test_opaque_calls_are_nodes_with_their_weights():
    recorder = Recorder()
    x = recorder.batch_norm(recorder.input(2, 3, 4, 4), channels_first=True)
    x = recorder.call("opaque", x, (2, 3, 4, 4), weights={"gain": (3,), "count": (1,)}, native="My")
    reading = recorder.read(x, trained={"opaque_1.gain"})
    node = reading.graph.nodes[-1]
    assert node.operation == "opaque"
    assert node.shape == (4, 4, 3)
    assert [item.role for item in node.parameters] == ["gain"]
    assert [item.role for item in node.buffers] == ["count"]


def test_calls_on_merged_examples_are_one_node_until_they_are_apart_again():
    recorder = Recorder()
    x = recorder.dense(recorder.input(2, 4, 3), 3)
    x = recorder.reshape(x, (8, 3))
    x = recorder.dense(x, 5, name="inner")
    x = recorder.reshape(x, (2, 4, 5))
    reading = recorder.read(recorder.dense(x, 2))
    assert kinds(reading) == ["dense", "opaque", "dense"]
    node = reading.graph.nodes[1]
    assert [call.name for call in reading.places[node.name].calls] == ["reshape_1", "inner", "reshape_3"]
    assert {reading.weights[item.name] for item in node.weights} == {"inner.kernel", "inner.bias"}
    assert any("mixes the axis of the examples" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("dense", {"settings": {"units": 3, "bias": True}, "weights": {"kernel": (4, 3)}}, "holds bias, kernel"),
        ("dense", {"settings": {"units": 3, "bias": False}, "weights": {"kernel": (5, 3)}}, "its kernel would have"),
        ("dense", {"settings": {"units": 3, "bias": 1}, "weights": {"kernel": (4, 3)}}, "bias"),
        ("no_such_kind", {}, "no layer 'no_such_kind'"),
        ("activation", {"settings": {"function": {"gelu": {}}}}, "approximate is not known"),
        ("layer_norm", {"settings": {"axes": 1, "scale": False, "offset": False}}, "epsilon is not known"),
        ("activation", {"settings": {"function": {"softmax": {"axis": -2}}}}, "along the axis of the examples"),
    ],
)
def test_a_claim_that_does_not_fit_becomes_opaque_with_a_note(kind, options, told):
    recorder = Recorder()
    x = recorder.input(2, 4)
    x = recorder.call(kind, x, (2, 3) if kind == "dense" else (2, 4), where="model.py:7", **options)
    reading = recorder.read(x)
    assert kinds(reading) == ["opaque"]
    (note,) = reading.notes
    assert told in note
    assert "model.py:7" in note


def test_several_outputs_of_one_call_are_a_node_each():
    recorder = Recorder()
    a, b = recorder.call("opaque", recorder.input(2, 6), [(2, 3), (2, 3)], name="cut")
    reading = recorder.read(recorder.call("add", (a, b), (2, 3)))
    assert list(reading.graph.by_name)[:2] == ["cut", "cut_output_2"]
    assert [reading.places[name].value for name in ("cut", "cut_output_2")] == [a, b]


def test_what_nothing_depends_on_is_left_out_and_said():
    recorder = Recorder()
    x = recorder.input(2, 4)
    recorder.dense(x, 3, name="unused")
    reading = recorder.read(recorder.dense(x, 2, name="used"))
    assert list(reading.graph.by_name) == ["used"]
    assert any("unused" in note for note in reading.notes)


def test_a_weight_that_nothing_uses_is_said():
    recorder = Recorder()
    out = recorder.dense(recorder.input(2, 4), 2, name="used")
    recorder.weights["spare.kernel"] = np.zeros((3, 3))
    assert recorder.read(out).notes == ("nothing the model returns depends on spare.kernel",)


def test_an_input_that_is_returned_as_it_came_is_a_node_if_it_is_the_only_output():
    recorder = Recorder()
    x = recorder.input(2, 4)
    reading = recorder.read(x)
    assert [node.operation for node in reading.graph.nodes] == ["activation"]
    assert reading.places[reading.graph.output].value == x
    both = recorder.read(recorder.dense(x, 3), x)
    assert [node.operation for node in both.graph.nodes] == ["dense"]
    assert any("as it came" in note for note in both.notes)


def test_an_input_that_is_returned_turned_is_a_permutation():
    recorder = Recorder()
    reading = recorder.read(recorder.permute(recorder.input(2, 3, 4), (0, 2, 1)))
    assert [node.operation for node in reading.graph.nodes] == ["permute"]
    assert reading.graph.by_name[reading.graph.output].shape == (4, 3)


@pytest.mark.parametrize("keep", [False, True])
def test_a_mean_over_time_that_stands_first_is_pooling(keep):
    recorder = Recorder()
    x = recorder.input(7, 2, 4)
    array = recorder.arrays[x].mean(0, keepdims=keep)
    pooled = recorder.call("global_average_pool", x, array, settings={"keep_axes": keep}, batch_axis=1, name="mean")
    reading = recorder.read(pooled)
    assert [(node.operation, node.input_shapes, node.shape) for node in reading.graph.nodes] == [
        ("global_average_pool", ((7, 4),), (1, 4) if keep else (4,))
    ]
    assert reading.neutral("mean", array).shape[0] == 2


def test_a_mean_over_the_examples_is_no_pooling():
    recorder = Recorder()
    steps = recurrent(recorder, recorder.input(6, 7, 3), (6, 7, 5), name="rnn")  # the examples are along axis 0
    pooled = recorder.call("global_average_pool", steps, (7, 5), settings={"keep_axes": False}, batch_axis=1)
    with pytest.raises(ParityError, match="takes axis 1 of its input for the examples, which are axis 0"):
        recorder.read(pooled)
    steps = recurrent(recorder, recorder.input(7, 6, 3), (7, 6, 5), name="rnn", batch_axis=1)
    pooled = recorder.call("global_average_pool", steps, (6, 5), settings={"keep_axes": False}, batch_axis=1)
    assert kinds(recorder.read(pooled)) == ["lstm", "global_average_pool"]


def test_a_model_that_returns_nothing_readable_is_refused():
    recorder = Recorder()
    x = recorder.input(2, 4)
    total = recorder.call("opaque", x, ())
    with pytest.raises(ParityError, match="no axis of examples"):
        recorder.read(total)


def test_opaque_is_no_layer_of_a_config():
    from pydantic import TypeAdapter, ValidationError

    from dualml.spec.layers import AnyLayer

    with pytest.raises(ValidationError):
        TypeAdapter(AnyLayer).validate_python({"opaque": {"output": [3]}})


# Two together


def flat(shape):
    recorder = Recorder()
    x = recorder.reshape(recorder.input(*shape), (4, math.prod(shape[1:])), "flatten")
    return recorder.trace(recorder.dense(x, 2)), recorder.weights, None


def test_an_input_whose_order_is_open_takes_that_of_the_other_side():
    left, right = read_pair(flat((4, 3, 8, 8)), flat((4, 8, 8, 3)), "float64")
    assert left.graph.inputs[0].shape == right.graph.inputs[0].shape == (8, 8, 3)
    orders = [reading.graph.nodes[0].settings.order for reading in (left, right)]
    assert orders == ["channels_first", "channels_last"]
    assert left.places["x"].axes == behind_batch(4)


def test_equal_shapes_are_left_as_they_are():
    left, right = read_pair(flat((4, 3, 8, 8)), flat((4, 3, 8, 8)), "float64")
    assert left.graph.inputs[0].shape == right.graph.inputs[0].shape == (3, 8, 8)
