"""The bounds: both frameworks' own operations stay within them, and real faults do not."""

from __future__ import annotations

import numpy as np
import pytest
from reference_cases import FUNCTIONS, SIDES, activation_node, graph_of, ratio, run_tensorflow, run_torch

from dualml.reference import (
    backward_bound,
    example_losses,
    example_losses_bound,
    forward_bound,
    gamma,
    loss_gradient,
    loss_gradient_bound,
    loss_value,
    loss_value_bound,
    node_backward,
    node_forward,
    predictions,
    predictions_bound,
    underflow_unit,
    unit_roundoff,
)
from dualml.reference.rounding import Rounded
from dualml.spec.layers import Activation, Add, Concat, Dense, Dropout, Flatten
from dualml.spec.losses import CrossEntropy, MeanSquaredError

DTYPES = [np.float32, np.float64]


def unit_of(dtype):
    return unit_roundoff(np.dtype(dtype).name)


def nasty(dtype, shape, seed=0):
    """Ordinary, large and tiny values, zeros of both signs, denormals, and the points where branches meet."""
    random = np.random.default_rng(seed)
    smallest = float(np.finfo(dtype).tiny)
    special = [0.0, -0.0, smallest, -smallest, smallest / 8, -smallest / 8, 1.0, -1.0, 20.0, 20.0 / 2.3, 1e-8, -1e-8]
    special += [87.3, -87.3, 88.8, -88.8, 60.0, -60.0, 110.0, -110.0, 745.0, -745.0, 1e6, -1e6, 1e15, -1e15]
    parts = [
        random.standard_normal(4000),
        random.uniform(-60, 60, 4000),
        random.uniform(-10, 10, 4000),
        random.standard_normal(2000) * 10.0 ** random.uniform(np.log10(smallest) - 2, 2, 2000),
        np.repeat(special, 8),
    ]
    values = np.concatenate(parts).astype(dtype)
    random.shuffle(values)
    return np.resize(values, shape)


def judge(node, weights, inputs, output_gradient, value, input_gradients, parameter_gradients, mask=None):
    """Worst ratio of a recorded forward value, and of the recorded gradients."""
    unit = unit_of(inputs[0].dtype)
    modes = {"training": True, "mask": mask}
    forward = ratio(
        value,
        node_forward(node, weights, inputs, **modes),
        forward_bound(node, weights, inputs, **modes, unit=unit),
    )
    to_inputs, to_parameters = node_backward(node, weights, inputs, output_gradient, **modes)
    input_bounds, bounds = backward_bound(node, weights, inputs, output_gradient, **modes, unit=unit)
    backward = [ratio(*three) for three in zip(input_gradients, to_inputs, input_bounds, strict=True)]
    assert parameter_gradients.keys() == to_parameters.keys() == bounds.keys()
    backward += [ratio(parameter_gradients[name], to_parameters[name], bounds[name]) for name in bounds]
    return forward, max(backward)


def judge_activation(function, side, name, dtype, inputs, output_gradient):
    run, functions = SIDES[side]
    value, gradients = run(functions()[name], [inputs], output_gradient)
    return judge(activation_node(function, inputs.shape[1:]), {}, [inputs], output_gradient, value, gradients, {})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_within_bounds(name, side, dtype):
    inputs = nasty(dtype, (1780, 8)) if name != "softmax" else np.clip(nasty(dtype, (1780, 8)), -1e3, 1e3)
    output_gradient = np.random.default_rng(1).standard_normal(inputs.shape).astype(dtype)
    forward, backward = judge_activation(FUNCTIONS[name], side, name, dtype, inputs, output_gradient)
    assert forward <= 1
    assert backward <= 1


ORDINARY = [name for name in FUNCTIONS if name not in ("relu", "leaky_relu", "leaky_relu 0.3")]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ORDINARY)
def test_activation_bounds_are_tight(name, side):
    """Fifty times the ordinary rounding of ordinary values does not fit in the bound."""
    inputs = np.random.default_rng(2).standard_normal((500, 8)).astype(np.float32)
    output_gradient = np.random.default_rng(3).standard_normal(inputs.shape).astype(np.float32)
    forward, backward = judge_activation(FUNCTIONS[name], side, name, np.float32, inputs, output_gradient)
    assert 0.02 < forward <= 0.5
    assert 0.02 < backward <= 0.5


@pytest.mark.parametrize(
    ("name", "wrong", "dtype"),
    [
        ("gelu", "gelu tanh", np.float32),
        ("gelu tanh", "gelu", np.float32),
        ("leaky_relu", "leaky_relu 0.3", np.float32),
        ("elu", "elu 0.3", np.float32),
        ("relu", "leaky_relu", np.float32),
        ("silu", "gelu", np.float32),
        ("softplus 2.3", "softplus", np.float32),
        ("softplus", "softplus none", np.float64),  # 2e-9 at x = 20: only float64 sees it
        ("softplus none", "softplus", np.float64),
    ],
)
@pytest.mark.parametrize("side", SIDES)
def test_another_function_exceeds_the_bounds(name, wrong, dtype, side):
    inputs = np.random.default_rng(4).uniform(-24, 24, (200, 8)).astype(dtype)
    output_gradient = np.ones_like(inputs)
    forward, backward = judge_activation(FUNCTIONS[wrong], side, name, dtype, inputs, output_gradient)
    assert forward > 100
    assert backward > 100


def test_float32_constants_inside_tensorflow_are_caught_in_float64():
    """``tf.nn.gelu`` has float32 constants and ``tf.nn.leaky_relu`` a float32 slope."""
    import tensorflow as tf

    inputs = np.random.default_rng(5).standard_normal((50, 8))
    for name, function in (
        ("gelu", tf.nn.gelu),
        ("gelu tanh", lambda x: tf.nn.gelu(x, approximate=True)),
        ("leaky_relu", lambda x: tf.nn.leaky_relu(x, 0.01)),
    ):
        if name == "gelu":
            function = lambda x: tf.nn.gelu(x, approximate=False)  # noqa: E731
        value, gradients = run_tensorflow(function, [inputs], np.ones_like(inputs))
        forward, backward = judge(
            activation_node(FUNCTIONS[name]), {}, [inputs], np.ones_like(inputs), value, gradients, {}
        )
        assert forward > 1e4
        assert backward > 1e4


def test_rounding_is_not_charged_at_the_threshold_of_softplus():
    """With ``beta x`` within rounding of the threshold either branch is right."""
    function = FUNCTIONS["softplus 2.3"]
    inputs = (20.0 / 2.3 * (1 + np.arange(-4, 4) * 2.0**-53))[None, :]
    for side in SIDES:
        forward, backward = judge_activation(function, side, "softplus 2.3", np.float64, inputs, np.ones_like(inputs))
        assert forward <= 1
        assert backward <= 1
    away = np.array([[20.1 / 2.3] * 8])
    unit = unit_of(np.float64)
    node = activation_node(function)
    assert forward_bound(node, {}, [inputs], training=False, unit=unit).max() > 1e-10
    assert forward_bound(node, {}, [away], training=False, unit=unit).max() < 1e-13


# ------------------------------------------------------------------ layers with parameters


def dense_in(side):
    if side == "torch":
        return run_torch, lambda x, kernel, bias: x @ kernel + bias
    import tensorflow as tf

    return run_tensorflow, lambda x, kernel, bias: tf.tensordot(x, kernel, 1) + bias


def dense_case(dtype, shape, units, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    node = graph_of([Dense(units, name="dense")], shape[1:]).nodes[0]
    fan_in = shape[-1]
    weights = {
        "dense.kernel": (random.standard_normal((fan_in, units)) * scale).astype(dtype),
        "dense.bias": random.standard_normal(units).astype(dtype),
    }
    inputs = (random.standard_normal(shape) * scale).astype(dtype)
    return node, weights, inputs, (random.standard_normal((*shape[:-1], units)) * scale).astype(dtype)


def judge_dense(side, node, weights, inputs, output_gradient):
    run, function = dense_in(side)
    value, (to_input, to_kernel, to_bias) = run(
        function, [inputs, weights["dense.kernel"], weights["dense.bias"]], output_gradient
    )
    gradients = {"dense.kernel": to_kernel, "dense.bias": to_bias}
    return judge(node, weights, [inputs], output_gradient, value, [to_input], gradients)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("shape", "units"), [((64, 784), 128), ((3, 1), 1), ((1, 7), 5), ((5, 6, 4), 3)])
@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_dense_within_bounds(shape, units, scale, side, dtype):
    """With a scale of 1e-20 every float32 product underflows."""
    forward, backward = judge_dense(side, *dense_case(dtype, shape, units, scale))
    assert forward <= 1
    assert backward <= 1


@pytest.mark.parametrize("side", SIDES)
def test_dense_bound_holds_under_cancellation_and_catches_low_precision(side):
    node, weights, inputs, output_gradient = dense_case(np.float32, (16, 64), 32)
    inputs[:, 32:] = -inputs[:, :32]
    weights["dense.kernel"][32:] = weights["dense.kernel"][:32]  # the products cancel exactly but for rounding
    assert max(judge_dense(side, node, weights, inputs, output_gradient)) <= 1
    node, weights, inputs, output_gradient = dense_case(np.float32, (16, 64), 32)
    run, function = dense_in(side)
    short = inputs.astype(np.float16).astype(np.float32)  # 11 bits, as TF32 keeps
    value, _ = run(function, [short, weights["dense.kernel"], weights["dense.bias"]], output_gradient)
    reference = node_forward(node, weights, [inputs], training=False)
    assert ratio(value, reference, forward_bound(node, weights, [inputs], training=False, unit=2.0**-24)) > 3


def test_dense_without_bias_has_no_bias_gradient():
    node = graph_of([Dense(2, bias=False, name="dense")], (3,)).nodes[0]
    weights = {"dense.kernel": np.ones((3, 2))}
    _, parameters = node_backward(node, weights, [np.ones((4, 3))], np.ones((4, 2)), training=False)
    _, bounds = backward_bound(node, weights, [np.ones((4, 3))], np.ones((4, 2)), training=False, unit=2.0**-53)
    assert list(parameters) == list(bounds) == ["dense.kernel"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.9, 0.999])
def test_dropout_within_bounds(rate, side, dtype):
    """Both ways to scale, in working precision: divided by ``1 - rate``, and times its reciprocal."""
    inputs, mask = nasty(dtype, (100, 8)), np.random.default_rng(0).random((100, 8)) >= rate
    output_gradient = np.random.default_rng(1).standard_normal(inputs.shape).astype(dtype)
    node = graph_of([Dropout(rate, name="dropout")], (8,)).nodes[0]
    keep = dtype(1) - dtype(rate)
    run = SIDES[side][0]
    for scale in (mask.astype(dtype) / keep, mask.astype(dtype) * (dtype(1) / keep)):
        value, gradients = run(multiply_by(side, scale), [inputs], output_gradient)
        assert max(judge(node, {}, [inputs], output_gradient, value, gradients, {}, mask)) <= 1
    if rate:
        value, gradients = run(multiply_by(side, mask.astype(dtype)), [inputs], output_gradient)  # unscaled
        assert min(judge(node, {}, [inputs], output_gradient, value, gradients, {}, mask)) > 1e3


def multiply_by(side, scale):
    if side == "torch":
        import torch

        scale = torch.tensor(scale)
    return lambda x: x * scale


def test_dropout_needs_a_mask_of_the_right_shape_in_training_only():
    node = graph_of([Dropout(0.5, name="dropout")], (8,)).nodes[0]
    inputs = np.ones((2, 8))
    assert (node_forward(node, {}, [inputs], training=False) == inputs).all()
    with pytest.raises(ValueError, match="needs a mask"):
        node_forward(node, {}, [inputs], training=True)
    with pytest.raises(ValueError, match="the mask must have shape"):
        node_forward(node, {}, [inputs], training=True, mask=np.ones(8, dtype=bool))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
def test_add_concat_and_flatten_within_bounds(side, dtype):
    import tensorflow as tf
    import torch

    first, second, third = (nasty(dtype, (100, 2, 4), seed) for seed in range(3))
    random = np.random.default_rng(9)
    layers = [
        Activation("relu", name="a"),
        Activation("relu", name="b", inputs="input"),
        Add(inputs=["a", "b", "input"], name="add"),
        Concat(inputs=["a", "b", "add"], axis=-2, name="concat"),
        Flatten(name="flatten"),
    ]
    nodes = graph_of(layers, (2, 4)).by_name
    joined = torch.cat if side == "torch" else tf.concat
    functions = {
        "add": (lambda a, b, c: a + b + c, [first, second, third]),
        "concat": (lambda a, b, c: joined([a, b, c], 1), [first, second, third]),
        "flatten": (lambda a: a.reshape(100, -1) if side == "torch" else tf.reshape(a, (100, -1)), [first]),
    }
    for name, (function, inputs) in functions.items():
        output_gradient = random.standard_normal((100, *(nodes[name].shape if name != "flatten" else (8,)))).astype(
            dtype
        )
        node = nodes[name] if name != "flatten" else graph_of([Flatten(name="flatten")], (2, 4)).nodes[0]
        value, gradients = SIDES[side][0](function, inputs, output_gradient)
        worst = judge(node, {}, inputs, output_gradient, value, gradients, {})
        assert max(worst) <= 1
    swapped = judge(
        nodes["concat"],
        {},
        [first, second, third],
        np.ones((100, 6, 4), dtype),
        np.concatenate([second, first, third], 1),
        [first, first, first],
        {},
    )
    assert min(swapped) > 1e3


# ------------------------------------------------------------------ losses


def cross_entropy_in(side, smoothing, count, targets, classes):
    """Example losses and their sum over ``count``, in a framework's own operations."""
    if side == "torch":
        import torch
        from torch.nn import functional

        def run(outputs):
            logits = torch.tensor(outputs, requires_grad=True)
            moved = logits.movedim(-1, 1)
            losses = functional.cross_entropy(moved, torch.tensor(targets), reduction="none", label_smoothing=smoothing)
            losses = losses.reshape(len(outputs), -1).mean(1)
            total = losses.sum() / count
            total.backward()
            return losses.detach().numpy(), total.detach().numpy(), logits.grad.numpy()

        return run
    import tensorflow as tf

    def run(outputs):
        logits = tf.constant(outputs)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            if smoothing:
                chosen = tf.one_hot(targets, classes, dtype=logits.dtype)
                share = tf.constant(smoothing, logits.dtype)
                soft = chosen * (1 - share) + share / tf.constant(classes, logits.dtype)
                losses = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
            else:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            losses = tf.reduce_mean(tf.reshape(losses, (len(outputs), -1)), 1)
            total = tf.reduce_sum(losses) / tf.constant(count, logits.dtype)
        return losses.numpy(), total.numpy(), tape.gradient(total, logits).numpy()

    return run


def judge_loss(loss, outputs, targets, count, losses, total, gradient):
    unit = unit_of(outputs.dtype)
    return (
        ratio(losses, example_losses(loss, outputs, targets), example_losses_bound(loss, outputs, targets, unit)),
        ratio(
            total, loss_value(loss, outputs, targets, count), loss_value_bound(loss, outputs, targets, count, unit=unit)
        ),
        ratio(
            gradient,
            loss_gradient(loss, outputs, targets, count),
            loss_gradient_bound(loss, outputs, targets, count, unit=unit),
        ),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(
    ("shape", "scale"), [((64, 10), 1.0), ((50, 10), 30.0), ((8, 1000), 3.0), ((6, 4, 5, 3), 100.0)]
)
def test_cross_entropy_within_bounds(shape, scale, smoothing, side, dtype):
    random = np.random.default_rng(0)
    outputs = (random.standard_normal(shape) * scale + 7).astype(dtype)
    targets = random.integers(0, shape[-1], shape[:-1])
    count, loss = 77, CrossEntropy(label_smoothing=smoothing)
    results = cross_entropy_in(side, smoothing, count, targets, shape[-1])(outputs)
    worst = judge_loss(loss, outputs, targets, count, *results)
    assert max(worst) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
def test_cross_entropy_faults_exceed_the_bounds(side, dtype):
    random = np.random.default_rng(1)
    outputs, targets = random.standard_normal((32, 10)).astype(dtype), random.integers(0, 10, 32)
    right = cross_entropy_in(side, 0.1, 32, targets, 10)(outputs)
    assert min(judge_loss(CrossEntropy(), outputs, targets, 32, *right)) > 100  # smoothing forgotten
    losses, total, gradient = right
    loss = CrossEntropy(label_smoothing=0.1)
    assert judge_loss(loss, outputs, targets, 31, losses, total, gradient)[1] > 100  # another count
    assert judge_loss(loss, outputs, targets, 31, losses, total, gradient)[2] > 100
    wrong = cross_entropy_in(side, float(np.float32(0.1)), 32, targets, 10)(outputs)
    if dtype == np.float64:  # the smoothing through float32
        assert min(judge_loss(loss, outputs, targets, 32, *wrong)) > 1e3


def test_probabilities_clipped_at_1e_7_exceed_the_bounds():
    outputs, targets = np.array([[0.0, 40.0, 3.0]]), np.array([0])
    clipped = -np.log(np.maximum(predictions("softmax", outputs)[:, 0], 1e-7))
    bound = example_losses_bound(CrossEntropy(), outputs, targets, 2.0**-24)
    assert ratio(clipped, example_losses(CrossEntropy(), outputs, targets), bound) > 1e5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", [(64, 1), (20, 10), (7, 3, 4)])
def test_mean_squared_error_within_bounds(shape, side, dtype):
    random = np.random.default_rng(2)
    outputs, targets = ((random.standard_normal(shape) * scale).astype(dtype) for scale in (1.0, 1e3))
    count, loss = 5, MeanSquaredError()
    axes = tuple(range(1, len(shape)))
    if side == "torch":
        import torch

        logits = torch.tensor(outputs, requires_grad=True)
        losses = torch.nn.functional.mse_loss(logits, torch.tensor(targets), reduction="none").mean(axes)
        total = losses.sum() / count
        total.backward()
        results = losses.detach().numpy(), total.detach().numpy(), logits.grad.numpy()
    else:
        import tensorflow as tf

        logits = tf.constant(outputs)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = tf.reduce_mean(tf.math.squared_difference(logits, targets), axes)
            total = tf.reduce_sum(losses) / tf.constant(count, logits.dtype)
        results = losses.numpy(), total.numpy(), tape.gradient(total, logits).numpy()
    worst = judge_loss(loss, outputs, targets, count, *results)
    assert max(worst) <= 1
    assert judge_loss(loss, outputs, targets, count, results[0] / 2, results[1], results[2] / 2)[::2] > (1e3, 1e3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_within_bounds(dtype):
    import tensorflow as tf
    import torch

    outputs = (np.random.default_rng(3).standard_normal((40, 10)) * 40).astype(dtype)
    bound = predictions_bound("softmax", outputs, unit_of(dtype))
    for theirs in (torch.softmax(torch.tensor(outputs), -1).numpy(), tf.nn.softmax(outputs).numpy()):
        assert ratio(theirs, predictions("softmax", outputs), bound) <= 1
    assert (predictions("identity", outputs) == outputs).all()
    assert ratio(outputs, predictions("identity", outputs), predictions_bound("identity", outputs, unit_of(dtype))) == 0


# ------------------------------------------------------------------ the arithmetic itself


def test_units():
    assert unit_roundoff("float32") == np.finfo(np.float32).eps / 2
    assert unit_roundoff("float64") == np.finfo(np.float64).eps / 2
    assert underflow_unit(2.0**-24) == float(np.finfo(np.float32).tiny)
    assert underflow_unit(2.0**-53) == float(np.finfo(np.float64).tiny)
    assert gamma(10, 2.0**-24) == pytest.approx(10 * 2.0**-24, rel=1e-5)
    assert gamma(2**24, 2.0**-24) == np.inf
    with pytest.raises(ValueError, match="float16"):
        unit_roundoff("float16")
    with pytest.raises(ValueError, match="unit roundoff"):
        underflow_unit(1e-7)


def test_rounded_arithmetic_bounds_float32_arithmetic():
    """Every operation on perturbed float32 numbers stays within the error it carries."""
    random = np.random.default_rng(4)
    unit, count = 2.0**-24, 20000
    a, b, c = (random.standard_normal(count) * 10.0 ** random.uniform(-6, 3, count) for _ in range(3))
    given = [Rounded(value, unit * np.abs(value), unit) for value in (a, b, c)]
    short = [value.astype(np.float32) for value in (a, b, c)]
    formulas = {
        "sum": lambda x, y, z: x + y - z,
        "product": lambda x, y, z: x * y * z,
        "quotient": lambda x, y, z: x / y / z,
        "cancelling": lambda x, y, z: (x + y) - x * z / z,
        "constants": lambda x, y, z: 1.0 - (2.0 * x + (0.0 - y)) / (1.0 + z * z),
    }
    for name, formula in formulas.items():
        bound, actual = formula(*given), formula(*short)
        assert actual.dtype == np.float32
        exact = formula(a, b, c)
        worst = np.max(np.abs(actual - exact) / bound.error)
        assert 0.1 < worst <= 1, name
    root = Rounded(np.abs(a), unit * np.abs(a), unit).root()
    worst = np.max(np.abs(np.sqrt(np.abs(short[0])) - np.sqrt(np.abs(a))) / root.error)
    assert 0.1 < worst <= 1
    assert Rounded(0.0, 1e-10, unit).root().error >= 0
    assert (Rounded(1.0, 0.0, unit) / Rounded(1e-3, 2e-3, unit)).error == np.inf
