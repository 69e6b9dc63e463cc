"""The formulas, against 50 digits and against central differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mpmath import mp, mpf
from reference_cases import (
    FUNCTIONS,
    activation_node,
    graph_of,
    run_tensorflow,
    run_torch,
    tensorflow_functions,
    torch_functions,
)

from dualml.protocol import Batch, Gradients
from dualml.reference import (
    clip,
    example_losses,
    forward,
    gradients,
    kinks,
    local_gradients,
    loss_gradient,
    loss_value,
    node_backward,
    node_forward,
    predictions,
    unit_roundoff,
)
from dualml.spec.layers import Activation, Add, Concat, Dense, Dropout, Flatten, Reshape
from dualml.spec.losses import CrossEntropy, MeanSquaredError
from dualml.spec.optimizers import GlobalNorm

mp.dps = 50

POINTS = [-700.0, -90.0, -40.0, -20.0, -9.5, -5.0, -3.0, -1.278, -1.0, -0.751, -0.3, -1e-3, -1e-9, -1e-300]
POINTS = [*POINTS, 0.0, *(-point for point in POINTS), 0.1, 7.3, 8.69565, 8.7, 19.9, 20.0, 20.1, 36.0]


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def _gelu_tanh(x):
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3)))


def _softplus(x, beta=1.0, threshold=mp.inf):
    return x if mpf(beta) * x > threshold else mp.log1p(mp.exp(mpf(beta) * x)) / mpf(beta)


def _elu(x, alpha):
    return x if x > 0 else mpf(alpha) * mp.expm1(x)


EXACT = {
    "relu": lambda x: max(x, mpf(0)),
    "tanh": mp.tanh,
    "sigmoid": _sigmoid,
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "gelu tanh": _gelu_tanh,
    "leaky_relu": lambda x: x if x > 0 else mpf(0.01) * x,
    "leaky_relu 0.3": lambda x: x if x > 0 else mpf(0.3) * x,
    "elu": lambda x: _elu(x, 1.0),
    "elu 0.3": lambda x: _elu(x, 0.3),
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: _softplus(x, threshold=20),
    "softplus none": _softplus,
    "softplus 2.3": lambda x: _softplus(x, beta=2.3, threshold=20),
}


def scalar(name, x):
    """Value and derivative of an activation at one point."""
    node, inputs = activation_node(FUNCTIONS[name], (1,)), np.array([[x]])
    derivative = node_backward(node, {}, [inputs], np.ones((1, 1)), training=False)[0][0]
    return float(node_forward(node, {}, [inputs], training=False)[0, 0]), float(derivative[0, 0])


@pytest.mark.parametrize("name", EXACT)
def test_activation_values(name):
    """Relative to the value itself, also in the tails: what the bounds there rest on."""
    for x in POINTS:
        with mp.workdps(700):  # 1 + tanh cancels
            exact = EXACT[name](mpf(x))
        value = scalar(name, x)[0]
        # The argument of erfc (x^2) or of exp in the tanh form (x^3) is rounded.
        roundings = 4 + (x * x if name != "gelu tanh" else abs(x) ** 3)
        assert abs(value - exact) <= roundings * 2.0**-53 * abs(exact) + 2.0**-1070, x


@pytest.mark.parametrize("name", EXACT)
def test_activation_derivatives(name):
    with mp.workdps(450):  # differences of values near 1
        for x in POINTS:
            if abs(x) < 1e-200 or (name, x) == ("softplus", 20.0):
                continue  # at a kink the derivative is a convention
            step = mpf(10) ** -60
            exact = (EXACT[name](mpf(x) + step) - EXACT[name](mpf(x) - step)) / (2 * step)
            size = abs(exact) * (8 + x * x) + (1 if name.startswith("gelu") or name == "silu" else 0)
            assert abs(scalar(name, x)[1] - exact) <= size * 2.0**-53 + 2.0**-1070, x


def test_derivatives_at_kinks_are_the_frameworks():
    wanted = {"relu": 0.0, "leaky_relu": 0.01, "leaky_relu 0.3": 0.3, "elu": 1.0, "elu 0.3": 0.3}
    for name, derivative in wanted.items():
        assert scalar(name, 0.0) == (0.0, derivative)
        for run, functions in ((run_torch, torch_functions), (run_tensorflow, tensorflow_functions)):
            _, (theirs,) = run(functions()[name], [np.zeros(1)], np.ones(1))
            assert theirs == pytest.approx([derivative], rel=1e-15)


def test_kinks_are_found_where_the_derivative_jumps_and_nowhere_else():
    inputs = np.array([[-1.0, 0.0, 1.0, 20.0]])
    at_zero, nowhere = [False, True, False, False], [False] * 4
    wanted = dict.fromkeys(("relu", "leaky_relu", "leaky_relu 0.3", "elu 0.3"), at_zero)
    wanted["softplus"] = [False, False, False, True]
    for name, function in FUNCTIONS.items():
        assert kinks(activation_node(function, (4,)), [inputs])[0].tolist() == wanted.get(name, nowhere), name
    dense = graph_of([Dense(3)], (4,)).nodes[0]
    assert not kinks(dense, [inputs]).any()
    assert kinks(dense, [inputs]).shape == (1, 3)


def test_extreme_inputs_give_finite_results():
    for name in EXACT:
        for x in (1e30, -1e30, 1e150, -1e150):
            value, derivative = scalar(name, x)
            assert np.isfinite(value)
            assert derivative in (0.0, 1.0, 0.01, 0.3)


def test_softmax_and_cross_entropy():
    random = np.random.default_rng(0)
    for scale in (1.0, 50.0):
        outputs, targets = random.standard_normal((4, 5)) * scale, random.integers(0, 5, 4)
        for smoothing in (0.0, 0.1):
            losses = example_losses(CrossEntropy(label_smoothing=smoothing), outputs, targets)
            for row, target, loss in zip(outputs, targets, losses, strict=True):
                powers = [mp.exp(mpf(value)) for value in row]
                exact = [power / sum(powers) for power in powers]
                got = predictions("softmax", row[None])[0]
                assert max(abs(a - b) / b for a, b in zip(got, exact, strict=True)) < 1e-13
                wanted = [(1 - mpf(smoothing)) * (c == target) + mpf(smoothing) / 5 for c in range(5)]
                want = -sum(q * mp.log(p) for q, p in zip(wanted, exact, strict=True))
                assert abs(loss - want) < 1e-14 * (1 + abs(want))


def test_mean_over_inner_positions():
    random = np.random.default_rng(1)
    outputs, targets = random.standard_normal((3, 4, 2, 5)), random.integers(0, 5, (3, 4, 2))
    loss = CrossEntropy(label_smoothing=0.2)
    flat = example_losses(loss, outputs.reshape(-1, 5), targets.reshape(-1))
    assert example_losses(loss, outputs, targets) == pytest.approx(flat.reshape(3, 8).mean(1), rel=1e-15)
    values = random.standard_normal((3, 4, 2))
    squares = ((values - 1.0) ** 2).reshape(3, 8).mean(1)
    assert example_losses(MeanSquaredError(), values, np.ones_like(values)) == pytest.approx(squares, rel=1e-15)
    assert loss_value(loss, outputs, targets, 7) == pytest.approx(flat.sum() / 8 / 7, rel=1e-14)


# ------------------------------------------------------------------ central differences


def directional(function, array, direction, step):
    """Derivative of a scalar function along a direction, of fourth order in the step."""
    at = [function(array + k * step * direction) for k in (-2, -1, 1, 2)]
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)


def agrees(function, array, gradient, seed, step=1e-3, tolerance=1e-8):
    direction = np.random.default_rng(seed).standard_normal(array.shape)
    numeric, analytic = directional(function, array, direction, step), float((gradient * direction).sum())
    size = float(np.abs(gradient * direction).sum()) + abs(float(function(array)))
    return abs(numeric - analytic) <= tolerance * (size + 1e-3)


SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def draw(seed, shape):
    """Values that are never within 0.1 of a kink at 0."""
    random = np.random.default_rng(seed)
    return random.uniform(0.1, 3.0, shape) * random.choice([-1.0, 1.0], shape)


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES, examples=st.integers(1, 4), units=st.integers(1, 4), seed=SEEDS)
@pytest.mark.parametrize("operation", ["dense", "flatten", "reshape", "dropout", "add", "concat", *FUNCTIONS])
def test_vector_jacobian_products(operation, shape, examples, units, seed):
    layers = {
        "dense": [Dense(units, name="last")],
        "flatten": [Flatten(name="last")],
        "reshape": [Reshape((-1, 1), name="last")],
        "dropout": [Dropout(0.3, name="last")],
        "add": [Flatten(name="a"), Flatten(name="b", inputs="input"), Add(inputs=["a", "b", "a"], name="last")],
        "concat": [
            Activation("relu", name="a"),
            Activation("relu", name="b", inputs="input"),
            Concat(inputs=["a", "b", "input"], axis=seed % len(shape), name="last"),
        ],
    }
    node = graph_of(layers.get(operation, [Dense(shape[-1], activation=FUNCTIONS.get(operation))]), shape).nodes[-1]
    inputs = [draw([seed, k], (examples, *source)) for k, source in enumerate(node.input_shapes)]
    weights = {item.name: draw([seed, 10], item.shape) for item in node.parameters}
    mask = draw([seed, 20], (examples, *node.shape)) > 0 if operation == "dropout" else None
    output_gradient = draw([seed, 30], (examples, *node.shape))
    to_inputs, to_parameters = node_backward(node, weights, inputs, output_gradient, training=True, mask=mask)

    def value(weights, inputs):
        return float((node_forward(node, weights, inputs, training=True, mask=mask) * output_gradient).sum())

    for k, array in enumerate(inputs):
        changed = lambda moved, k=k: value(weights, [*inputs[:k], moved, *inputs[k + 1 :]])  # noqa: E731
        assert to_inputs[k].shape == array.shape
        assert agrees(changed, array, to_inputs[k], seed)
    assert to_parameters.keys() == weights.keys()
    for name, array in weights.items():
        changed = lambda moved, name=name: value({**weights, name: moved}, inputs)  # noqa: E731
        assert agrees(changed, array, to_parameters[name], seed)


@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES, examples=st.integers(1, 4), count=st.integers(1, 9), smoothing=st.sampled_from([0.0, 0.1]), seed=SEEDS
)
def test_loss_gradients(shape, examples, count, smoothing, seed):
    outputs = draw(seed, (examples, *shape))
    classes = np.random.default_rng(seed).integers(0, shape[-1], outputs.shape[:-1])
    for loss, targets in (
        (CrossEntropy(label_smoothing=smoothing), classes),
        (MeanSquaredError(), draw([seed, 1], outputs.shape)),
    ):
        gradient = loss_gradient(loss, outputs, targets, count)
        assert gradient.shape == outputs.shape
        assert agrees(lambda moved: loss_value(loss, moved, targets, count), outputs, gradient, seed)  # noqa: B023


def network(precision="float64"):
    """Branches, a node used three times, every operation, and an inner axis."""
    layers = [
        Dense(5, activation=FUNCTIONS["gelu"], name="a"),
        Dropout(0.3, name="d"),
        Dense(5, activation=FUNCTIONS["elu 0.3"], inputs="a", name="b"),
        Add(inputs=["d", "b", "d"], name="s"),
        Concat(inputs=["s", "a"], name="c"),
        Flatten(),
        Dense(6, activation=FUNCTIONS["softplus"]),
        Reshape((2, 3)),
        Activation(FUNCTIONS["softmax"]),
        Dense(4, bias=False, name="last"),
    ]
    graph = graph_of(layers, (3, 4), precision)
    random = np.random.default_rng(0)
    weights = {item.name: random.standard_normal(item.shape).astype(precision) for item in graph.parameters}
    batch = Batch(random.standard_normal((7, 3, 4)).astype(precision), random.integers(0, 4, (7, 2)))
    masks = {"d": random.random((7, 3, 5)) > 0.3}
    return graph, weights, batch, masks


def test_network_gradients():
    graph, weights, batch, masks = network()
    loss = CrossEntropy(label_smoothing=0.1)
    recorded = gradients(graph, weights, batch, loss, masks=masks, count=9)

    def value(weights, inputs):
        outputs = forward(graph, weights, inputs, training=True, masks=masks)[graph.output]
        return loss_value(loss, outputs, batch.targets, 9)

    assert recorded.loss == pytest.approx(value(weights, batch.inputs), rel=1e-15)
    assert recorded.loss == pytest.approx(recorded.example_losses.sum() / 9, rel=1e-15)
    assert list(recorded.parameters) == [item.name for item in graph.parameters]
    names = {"input", *graph.by_name}
    assert recorded.values.keys() == recorded.values_gradients.keys() == names
    for name, array in weights.items():
        changed = lambda moved, name=name: value({**weights, name: moved}, batch.inputs)  # noqa: E731
        assert agrees(changed, array, recorded.parameters[name], 1)
    changed = lambda moved: value(weights, moved)  # noqa: E731
    assert agrees(changed, batch.inputs, recorded.values_gradients["input"], 2)


def test_inference_ignores_dropout():
    graph, weights, batch, masks = network()
    values = forward(graph, weights, batch.inputs)
    assert (values["d"] == values["a_gelu"]).all()
    kept = forward(graph, weights, batch.inputs, training=True, masks=masks)["d"]
    assert kept == pytest.approx(np.where(masks["d"], values["a_gelu"] / 0.7, 0.0), rel=1e-15)


def rounded_pass(graph, weights, batch, loss, masks, fault=None):
    """A pass in training mode, every result rounded to float32; ``fault`` scales what one node passes on."""
    values = {"input": batch.inputs}
    for node in graph.nodes:
        sources = [values[name] for name in node.inputs]
        output = node_forward(node, weights, sources, training=True, mask=masks.get(node.name))
        values[node.name] = output.astype(np.float32)
    of_values = {name: np.zeros_like(array) for name, array in values.items()}
    of_values[graph.output] = loss_gradient(loss, values[graph.output], batch.targets).astype(np.float32)
    of_parameters = {}
    for node in reversed(graph.nodes):
        sources = [values[name] for name in node.inputs]
        given = of_values[node.name]
        to_inputs, to_parameters = node_backward(
            node, weights, sources, given, training=True, mask=masks.get(node.name)
        )
        scale = np.float32(1.001 if node.name == fault else 1)
        for name, array in zip(node.inputs, to_inputs, strict=True):
            of_values[name] = of_values[name] + scale * array.astype(np.float32)
        of_parameters |= {name: array.astype(np.float32) for name, array in to_parameters.items()}
    losses = example_losses(loss, values[graph.output], batch.targets)
    return Gradients(float(losses.mean()), losses, of_parameters, values, of_values)


def test_local_gradients_judge_each_node_by_itself():
    """A float32 pass stays within the bounds; a fault is found in what its node passed on, and nowhere else."""
    graph, weights, batch, masks = network("float32")
    loss, unit = CrossEntropy(), unit_roundoff("float32")

    def beyond(recorded):
        local = local_gradients(graph, weights, batch, loss, recorded, masks=masks, unit=unit)
        assert local.values.keys() == local.value_bounds.keys() == recorded.values_gradients.keys()
        assert local.parameters.keys() == local.parameter_bounds.keys() == recorded.parameters.keys()
        return {
            name
            for theirs, ours, bounds in (
                (recorded.values_gradients, local.values, local.value_bounds),
                (recorded.parameters, local.parameters, local.parameter_bounds),
            )
            for name in ours
            if not (np.abs(theirs[name] - ours[name]) <= bounds[name]).all()
        }

    assert beyond(rounded_pass(graph, weights, batch, loss, masks)) == set()
    for node in graph.nodes:
        found = beyond(rounded_pass(graph, weights, batch, loss, masks, fault=node.name))
        assert found == set(node.inputs), node.name
    recorded = rounded_pass(graph, weights, batch, loss, masks)
    recorded.parameters["b.kernel"] *= np.float32(1.001)
    assert beyond(recorded) == {"b.kernel"}


def test_arguments_of_float32_are_taken_exactly():
    graph, weights, batch, masks = network("float32")
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    exact = gradients(graph, wide, Batch(batch.inputs.astype(np.float64), batch.targets), CrossEntropy(), masks=masks)
    given = gradients(graph, weights, batch, CrossEntropy(), masks=masks)
    assert given.loss == exact.loss
    for name, array in given.parameters.items():
        assert array.dtype == np.float64
        assert (array == exact.parameters[name]).all()


def test_clipping_takes_the_norm_over_all_parameters():
    random = np.random.default_rng(3)
    arrays = {"a": random.standard_normal((3, 4)), "b": random.standard_normal(5)}
    clipped = clip(GlobalNorm(0.7, epsilon=0.0), arrays)
    assert np.sqrt(sum((array**2).sum() for array in clipped.values())) == pytest.approx(0.7, rel=1e-14)
    assert clipped["a"] / arrays["a"] == pytest.approx(np.full((3, 4), (clipped["b"] / arrays["b"])[0]), rel=1e-14)
