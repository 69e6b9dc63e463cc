"""Two readings aligned: what stands for what, in fused and split forms, and how two sets of weights look."""

from dataclasses import replace

import numpy as np
import pytest
from made_traces import Recorder

from dualml.native.align import align
from dualml.native.alignment import Alignment
from dualml.native.forms import quantities
from dualml.native.ports import port
from dualml.native.transport import as_left, copied, translate
from dualml.reference import node_forward


def aligned(left, right, mapping=None):
    """Readings and alignment of two ``(recorder, output, ...)``."""
    readings = [recorder.read(*outputs) for recorder, *outputs in (left, right)]
    return (*readings, align(*readings, left[0].weights, right[0].weights, mapping))


def pairs(alignment):
    return [(pair.left, pair.right) for pair in alignment.pairs]


def chain(*calls, shape=(4, 6), seed=0):
    """A recorder after some calls one after the other: ``(method, arguments)``."""
    recorder = Recorder(seed)
    x = recorder.input(*shape)
    for method, *arguments in calls:
        options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        x = getattr(recorder, method)(x, *arguments, **options)
    return recorder, x


DENSE = [("dense", 8, {"name": "fc1"}), ("activation", {"name": "act"}), ("dense", 3, {"name": "fc2"})]


def test_equal_models_pair_one_to_one_with_all_weights():
    left, _, found = aligned(chain(*DENSE), chain(*DENSE, seed=1))
    assert pairs(found) == [(("fc1",), ("fc1",)), (("act",), ("act",)), (("fc2",), ("fc2",))]
    assert {pair.how for pair in found.pairs} == {"name"}
    assert dict(found.weights) == {item.name: item.name for item in left.graph.weights}
    assert found.unmatched == ()
    assert found.inputs == (("x", "x"),)
    assert found.outputs == (("fc2", "fc2"),)


def test_weights_that_are_equal_say_why():
    _, _, found = aligned(chain(*DENSE), chain(*DENSE))
    assert [pair.how for pair in found.pairs] == ["weights", "name", "weights"]


def test_another_activation_is_a_pair():
    _, _, found = aligned(chain(*DENSE), chain(DENSE[0], ("activation", "tanh", {"name": "other"}), DENSE[2]))
    assert (("act",), ("other",)) in pairs(found)


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_one_side_alone_does_is_a_pair_with_nothing(side):
    more = [DENSE[0], DENSE[1], ("dropout", 0.5, {"name": "drop"}), DENSE[2]]
    models = [chain(*more), chain(*DENSE)]
    _, _, found = aligned(*(models if side == "left" else models[::-1]))
    lonely = (("drop",), ()) if side == "left" else ((), ("drop",))
    assert pairs(found) == [(("fc1",), ("fc1",)), (("act",), ("act",)), lonely, (("fc2",), ("fc2",))]
    assert len(found.weights) == 4


def test_a_layer_that_one_side_lacks_is_found_by_the_weights_of_the_others():
    left = chain(*[("dense", 6, {"name": f"l{i}"}) for i in range(4)])
    recorder = Recorder()
    x = recorder.input(4, 6)
    for i in (0, 1, 3):
        kernel = left[0].weights[f"l{i}.kernel"]
        x = recorder.dense(x, 6, kernel=kernel, name=f"r{i}")
    _, _, found = aligned(left, (recorder, x))
    assert pairs(found) == [(("l0",), ("r0",)), (("l1",), ("r1",)), (("l2",), ()), (("l3",), ("r3",))]
    weights = found.unmatched
    assert len(weights) == 2
    assert all("l2." in sentence for sentence in weights)


def test_padding_apart_is_a_group():
    left, right = Recorder(), Recorder(1)
    x = left.conv2d(left.input(2, 3, 8, 8), 5, 3, (2, 5, 4, 4), padding=1, stride=2, name="conv")
    y = right.call(
        "pad",
        right.input(2, 8, 8, 3),
        (2, 10, 10, 3),
        settings={"padding": 1, "padding_mode": "zeros", "value": 0.0},
        channels_first=False,
        name="pad",
    )
    y = right.conv2d(y, 5, 3, (2, 4, 4, 5), stride=2, channels_first=False, name="conv")
    _, _, found = aligned((left, x), (right, y))
    assert pairs(found) == [(("conv",), ("pad", "conv"))]
    assert len(found.weights) == 2


def by_hand(recorder, x, count, **more):
    shape = recorder.shape(x)
    for number in range(count):
        x = recorder.call("opaque", x, shape, name=f"op{number}", native="tf.raw_ops.Mul", **more)
    return x


@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_written_by_hand_stands_for_one(turned):
    left = chain(DENSE[0], ("activation", {"name": "act"}), DENSE[2])
    right = Recorder(1)
    x = by_hand(right, right.dense(right.input(4, 6), 8, name="fc1"), 5)
    x = right.call("dense", x, (4, 3), weights={"kernel": (8, 3), "bias": (3,)}, settings={"units": 3, "bias": True})
    models = [left, (right, x)]
    _, _, found = aligned(*(models[::-1] if turned else models))
    sides = [(pair.left, pair.right)[:: -1 if turned else 1] for pair in found.pairs]
    assert (("act",), tuple(f"op{i}" for i in range(5))) in sides
    assert found.unmatched == ()


def test_operations_by_hand_in_different_numbers_are_a_group():
    models = []
    for count in (3, 5):
        recorder = Recorder(count)
        x = by_hand(recorder, recorder.dense(recorder.input(4, 6), 8, name="fc"), count)
        models.append((recorder, recorder.call("activation", x, (4, 8), settings={"function": {"tanh": {}}})))
    _, _, found = aligned(*models)
    assert [len(pair.left) + len(pair.right) for pair in found.pairs if "op0" in pair.left] in ([8], [2])
    assert found.unmatched == ()
    assert sum(len(pair.left) for pair in found.pairs) == 5


def gelu_by_hand(recorder, x):
    """``x (1 + tanh(x + x^3))``, op by op."""
    shape = recorder.shape(x)
    cube = recorder.call("opaque", x, shape, name="cube")
    inner = recorder.call("add", (x, cube), shape, name="inner")
    bent = recorder.call("activation", inner, shape, settings={"function": {"tanh": {}}}, name="bent")
    return recorder.call("multiply", (x, bent), shape, name="product")


def norm_by_hand(recorder, x):
    shape, alone = recorder.shape(x), (*recorder.shape(x)[:-1], 1)
    mean = recorder.call("opaque", x, alone, name="mean")
    off = recorder.call("opaque", (x, mean), shape, name="off")
    spread = recorder.call("opaque", off, alone, name="spread")
    x = recorder.call("opaque", (off, spread), shape, name="ratio")
    x = recorder.call("multiply", x, shape, weights={"operand": shape[-1:]}, name="times")
    return recorder.call("add", x, shape, weights={"operand": shape[-1:]}, name="plus")


def test_formulas_by_hand_stand_for_the_layers_they_are():
    left, right = Recorder(0), Recorder(1)
    x = norm_by_hand(left, gelu_by_hand(left, left.dense(left.input(4, 6), 8, name="fc")))
    x = left.call("dense", x, (4, 3), weights={"kernel": (8, 3)}, settings={"units": 3, "bias": False}, name="end")
    y = right.dense(right.input(4, 6), 8, name="fc")
    y = right.call("activation", y, (4, 8), settings={"function": {"gelu": {"approximate": "tanh"}}}, name="gelu")
    weights = {"scale": (8,), "offset": (8,)}
    settings = {"axes": 1, "epsilon": 1e-5, "scale": True, "offset": True}
    y = right.call("layer_norm", y, (4, 8), weights=weights, settings=settings, name="norm")
    y = right.call("dense", y, (4, 3), weights={"kernel": (8, 3)}, settings={"units": 3, "bias": False}, name="end")
    for turned in (False, True):
        models = [(left, x), (right, y)]
        _, _, found = aligned(*(models[::-1] if turned else models))
        sides = [(pair.left, pair.right)[:: -1 if turned else 1] for pair in found.pairs]
        assert sides == [
            (("fc",), ("fc",)),
            (("cube", "inner", "bent", "product"), ("gelu",)),
            (("mean", "off", "spread", "ratio", "times", "plus"), ("norm",)),
            (("end",), ("end",)),
        ]
        assert found.unmatched == ()
        operands = {("times.operand", "norm.scale"), ("plus.operand", "norm.offset")}
        assert operands <= {pair[:: -1 if turned else 1] for pair in found.weights}


def test_a_gate_is_not_taken_for_a_formula_of_one_value():
    def gated(seed, *, hand):
        recorder = Recorder(seed)
        x = recorder.dense(recorder.input(4, 6), 8, name="fc")
        y = x if hand else recorder.dense(recorder.input(4, 6, name="z"), 8, name="gate")
        shape = recorder.shape(x)
        opened = recorder.call("activation", y, shape, settings={"function": {"sigmoid": {}}}, name="sigmoid")
        return recorder, recorder.call("multiply", (x, opened), shape, name="product")

    silu = chain(("dense", 8, {"name": "fc"}))
    x = silu[0].call("activation", silu[1], (4, 8), settings={"function": {"silu": {}}}, name="silu")
    _, _, found = aligned(gated(1, hand=True), (silu[0], x))
    assert pairs(found) == [(("fc",), ("fc",)), (("sigmoid", "product"), ("silu",))]
    _, _, found = aligned(gated(1, hand=False), gated(2, hand=False))
    assert all(pair.left == pair.right for pair in found.pairs)


def test_attention_by_hand_stands_for_the_layer_with_its_weights():
    left, right = Recorder(0), Recorder(1)
    x = left.input(4, 7, 8)
    heads = [left.dense(x, 8, name=name) for name in ("query", "key", "value")]
    scores = left.call("opaque", heads[:2], (4, 7, 7), name="scores")
    read = left.call("opaque", (scores, heads[2]), (4, 7, 8))
    out = left.call(
        "dense", read, (4, 7, 8), weights={"kernel": (8, 8), "bias": (8,)}, settings={"units": 8, "bias": True}
    )
    names = ("query", "key", "value", "output")
    weights = {f"{name}_{role}": shape for name in names for role, shape in (("kernel", (8, 8)), ("bias", (8,)))}
    settings = {"heads": 1, "causal": False, "rotary": None, "rate": 0.0, "bias": True}
    y = right.call("attention", right.input(4, 7, 8), (4, 7, 8), weights=weights, settings=settings, name="attention")
    _, _, found = aligned((left, out), (right, y))
    (pair,) = found.pairs
    assert pair.right == ("attention",)
    assert len(pair.left) == 6
    assert dict(found.weights)["value.kernel"] == "attention.value_kernel"
    assert len(found.weights) == 8


def residual(seed, *, shortcut_first=False, add_first=False, relu_last=True):
    recorder = Recorder(seed)
    x = recorder.dense(recorder.input(4, 6), 6, name="stem")
    short = recorder.dense(x, 6, name="short") if shortcut_first else None
    y = recorder.dense(recorder.activation(recorder.dense(x, 6, name="a"), name="relu"), 6, name="b")
    short = recorder.dense(x, 6, name="short") if short is None else short
    both = (short, y) if add_first else (y, short)
    if relu_last:
        return recorder, recorder.activation(recorder.add(*both, name="add"), name="last")
    return recorder, recorder.add(recorder.activation(y, name="last"), short, name="add")


@pytest.mark.parametrize("shortcut_first", [False, True])
@pytest.mark.parametrize("add_first", [False, True])
def test_branches_map_to_branches_whatever_is_called_first(shortcut_first, add_first):
    _, _, found = aligned(residual(0), residual(1, shortcut_first=shortcut_first, add_first=add_first))
    assert all(pair.left == pair.right for pair in found.pairs)
    assert [pair.left[0] for pair in found.pairs] == ["stem", "a", "relu", "b", "short", "add", "last"]


def test_activation_before_and_after_the_addition_are_a_group():
    _, _, found = aligned(residual(0), residual(1, relu_last=False))
    assert pairs(found)[-1] == (("add", "last"), ("last", "add"))


def test_outputs_of_different_shape_at_the_same_place_are_said():
    models = []
    for size, ceil in ((2, False), (3, True)):
        recorder = Recorder(size)
        x = recorder.batch_norm(recorder.input(2, 3, 5, 5), channels_first=True, name="bn")
        x = recorder.call(
            "max_pool2d",
            x,
            (2, 3, size, size),
            settings={"size": 2, "stride": 2, "padding": "valid", "dilation": 1, "ceil_mode": ceil},
            channels_first=True,
            name="pool",
        )
        settings = {"keep_axes": False}
        x = recorder.call("global_average_pool", x, (2, 3), settings=settings, channels_first=True, name="mean")
        models.append((recorder, x))
    _, _, found = aligned(*models)
    assert pairs(found) == [(("bn",), ("bn",)), (("mean",), ("mean",))]
    assert [(pair.left, pair.right) for pair in found.shapes_differ] == [(("pool",), ("pool",))]
    assert any("[2, 2, 3] and [3, 3, 3]" in sentence for sentence in found.unmatched)


def test_several_outputs_go_by_name_else_by_what_stands_for_them():
    def two(seed, turned):
        recorder = Recorder(seed)
        x = recorder.dense(recorder.input(4, 6), 8, name="body")
        heads = [recorder.dense(x, 3, name="a"), recorder.dense(x, 2, name="b")]
        return recorder, *(heads[::-1] if turned else heads)

    readings = [two(0, False), two(1, True)]
    left, right, found = aligned(*readings)
    assert found.outputs == (("a", "a"), ("b", "b"))  # they have only numbers, no names
    left = replace(left, outputs={"a": "first", "b": "second"})
    right = replace(right, outputs={"b": "first", "a": "second"})
    found = align(left, right, readings[0][0].weights, readings[1][0].weights)
    assert found.outputs == (("a", "b"), ("b", "a"))


# Weights


def recurrent(kind, form, seed=0, gates=4, **more):
    recorder = Recorder(seed)
    columns = gates * 5
    biases = {
        "none": {},
        "single": {"bias": (columns,)},
        "double": {"bias": (columns,), "recurrent_bias": (columns,)},
        "stacked": {"bias": (2, columns)},
    }[form]
    weights = {"kernel": (3, columns), "recurrent_kernel": (5, columns), **biases}
    settings = {"units": 5, "return_sequences": False, "reverse": False, "bias": form, **more}
    return recorder, recorder.call(
        kind, recorder.input(2, 7, 3), (2, 5), weights=weights, settings=settings, name="rnn"
    )


@pytest.mark.parametrize(
    ("kind", "forms", "more"),
    [
        ("lstm", ("double", "single"), {}),
        ("lstm", ("single", "double"), {}),
        ("lstm", ("none", "double"), {}),
        ("gru", ("double", "stacked"), {"reset_after": True}),
        ("gru", ("stacked", "double"), {"reset_after": True}),
        ("gru", ("single", "stacked"), {"reset_after": True}),
        ("gru", ("double", "single"), {"reset_after": False}),
    ],
)
def test_copied_weights_mean_the_same(kind, forms, more):
    gates = 4 if kind == "lstm" else 3
    models = [recurrent(kind, form, seed, gates, **more) for seed, form in enumerate(forms)]
    left, right, found = aligned(*models)
    source, target = left.graph.nodes[0], right.graph.nodes[0]
    arrays = left.neutral_weights(models[0][0].weights)
    weights, kept = copied(found, left.graph, right.graph, arrays)
    assert kept == []
    lacking = [] if "none" not in forms else ["rnn.bias", "rnn.recurrent_bias"]
    assert [sentence.split()[3] for sentence in found.unmatched] == lacking
    for item in quantities(found.pairs, left.graph, right.graph):
        np.testing.assert_allclose(item.value(1, weights), item.value(0, arrays), rtol=0, atol=1e-12)
    x = [np.random.default_rng(3).normal(size=(2, 7, 3))]
    wanted = node_forward(source, arrays, x, training=False)
    np.testing.assert_allclose(node_forward(target, weights, x, training=False), wanted, rtol=0, atol=1e-12)
    back = as_left([source], [target], weights)
    np.testing.assert_allclose(node_forward(source, back, x, training=False), wanted, rtol=0, atol=1e-12)


def test_a_bias_that_the_reset_gate_multiplies_cannot_join_the_other():
    models = [recurrent("gru", form, 0, 3, reset_after=True) for form in ("double", "single")]
    left, right, found = aligned(*models)
    weights, kept = copied(found, left.graph, right.graph, left.neutral_weights(models[0][0].weights))
    roles = translate(left.graph.nodes[0], right.graph.nodes[0], left.neutral_weights(models[0][0].weights))
    assert "bias" not in roles
    assert set(weights) >= {"rnn.kernel", "rnn.recurrent_kernel"}
    assert ["rnn.bias" in sentence for sentence in kept] == [True]


def grouped(kind, seed):
    recorder = Recorder(seed)
    shape = {"conv2d": (3, 3, 1, 8), "depthwise_conv2d": (3, 3, 4, 2)}[kind]
    own = {"filters": 8, "groups": 4} if kind == "conv2d" else {"multiplier": 2}
    settings = {
        "kernel_size": 3,
        "stride": 1,
        "dilation": 1,
        "padding": "valid",
        "padding_mode": "zeros",
        "bias": False,
    }
    x = recorder.input(2, 6, 6, 4)
    weights = {"kernel": shape}
    x = recorder.call(
        kind, x, (2, 4, 4, 8), weights=weights, settings={**settings, **own}, channels_first=False, name="conv"
    )
    return recorder, x


@pytest.mark.parametrize("kinds", [("conv2d", "depthwise_conv2d"), ("depthwise_conv2d", "conv2d")])
def test_depthwise_kernels_are_copied_to_grouped_ones(kinds):
    models = [grouped(kind, seed) for seed, kind in enumerate(kinds)]
    left, right, found = aligned(*models)
    arrays = left.neutral_weights(models[0][0].weights)
    weights, kept = copied(found, left.graph, right.graph, arrays)
    assert kept == []
    x = [np.random.default_rng(3).normal(size=(2, 6, 6, 4))]
    wanted = node_forward(left.graph.nodes[0], arrays, x, training=False)
    found_there = node_forward(right.graph.nodes[0], weights, x, training=False)
    np.testing.assert_allclose(found_there, wanted, rtol=0, atol=1e-12)


def test_a_weight_without_counterpart_keeps_its_values_and_is_said():
    left = chain(("dense", 8, {"name": "fc"}))
    right = chain(("dense", 8, {"name": "fc"}), ("batch_norm", {"channels_first": False, "name": "bn"}))
    a, b, found = aligned(left, right)
    _, kept = copied(found, a.graph, b.graph, a.neutral_weights(left[0].weights))
    assert len(kept) == 4
    assert all("bn." in sentence for sentence in kept)


# How two sets of weights look


def likeness(change, *, names=("fc1", "fc2")):
    """Of a model and one whose weights are changed."""
    left, right = chain(*DENSE), chain(*DENSE)
    right[0].weights = {name: change(name, array) for name, array in right[0].weights.items()}
    a, b, found = aligned(left, right)
    return port(found, a.graph, b.graph, a.neutral_weights(left[0].weights), b.neutral_weights(right[0].weights))


def test_equal_weights_are_the_same_in_any_format():
    assert likeness(lambda _, array: array).likeness == "same"
    assert likeness(lambda _, array: array.astype(np.float32)).likeness == "same"


def test_one_tensor_in_another_order_is_a_port():
    random = np.random.default_rng(5)

    def change(name, array):
        return random.permutation(array.reshape(-1)).reshape(array.shape) if name == "fc1.kernel" else array

    found = likeness(change)
    assert found.likeness == "port"
    assert found.moved == ("fc1.kernel",)
    assert len(found.equal) == 3


def test_one_tensor_that_was_copied_makes_a_port():
    random = np.random.default_rng(5)
    found = likeness(lambda name, array: array if name == "fc2.kernel" else random.normal(size=array.shape))
    assert found.likeness == "port"
    assert found.equal == ("fc2.kernel",)
    assert len(found.different) == 3


def test_weights_kept_in_half_precision_are_a_port():
    found = likeness(lambda _, array: array.astype(np.float16).astype(np.float64))
    assert found.likeness == "port"
    assert set(found.moved) == {"fc1.kernel", "fc1.bias", "fc2.kernel", "fc2.bias"}


def test_other_weights_are_independent_even_if_their_biases_are_all_zero():
    random = np.random.default_rng(5)
    left, right = chain(*DENSE), chain(*DENSE)
    for recorder, _ in (left, right):
        for name, array in recorder.weights.items():
            recorder.weights[name] = np.zeros_like(array) if name.endswith("bias") else random.normal(size=array.shape)
    a, b, found = aligned(left, right)
    looks = port(found, a.graph, b.graph, a.neutral_weights(left[0].weights), b.neutral_weights(right[0].weights))
    assert looks.likeness == "independent"
    assert set(looks.equal) == {"fc1.bias", "fc2.bias"}


def test_a_long_stack_is_aligned_in_time():
    left, right = (chain(*([("dense", 6), ("activation",), ("dropout", 0.5)] * 60), seed=seed) for seed in (0, 1))
    _, _, found = aligned(left, right)
    assert isinstance(found, Alignment)
    assert len(found.pairs) == 180
    assert found.unmatched == ()
