"""The formula engine: its gradients are those of the formula, and nothing correct exceeds its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from formula_cases import CASES, COMPOSED, Case, call_of
from hypothesis import given, settings, strategies as st
from reference_cases import graph_of, ratio, run_tensorflow, run_torch

from dualml.reference import (
    arithmetic,
    backward_bound as handwritten_backward_bound,
    elementary,
    forward_bound as handwritten_forward_bound,
    node_backward,
    node_forward,
    ops,
    unit_roundoff,
)
from dualml.reference.contraction import Contraction
from dualml.reference.layers.base import Call
from dualml.reference.layers.formula import Formula
from dualml.reference.rounding import Rounded
from dualml.reference.softmax import SOFTMAX
from dualml.reference.trace import Traced, gradients, source
from dualml.spec.layers import Dense

SINGLE = unit_roundoff("float32")
DOUBLE = unit_roundoff("float64")
ALL = {**CASES, **COMPOSED}


def arrays_for(case: Case, seed: int, dtype=np.float64, spread: float = 1.0) -> list[np.ndarray]:
    """Inputs in the case's domain, and small enough for central differences."""
    random = np.random.default_rng(seed)
    arrays = [case.draw(random, shape) * (spread if case.scales else 1.0) for shape in case.shapes]
    return [array.astype(dtype) for array in arrays]


def output_gradient_for(shape, seed: int, dtype=np.float64) -> np.ndarray:
    return np.random.default_rng(seed + 1).standard_normal(shape).astype(dtype)


def judged(case: Case, arrays, gradient):
    """The formula's value and gradients, and their bounds for the precision of the arrays."""
    formula = Formula(lambda _, *inputs: case.formula(*inputs))
    unit = unit_roundoff(arrays[0].dtype.name)
    call = call_of(arrays)
    inputs, parameters = formula.backward(call, gradient.astype(np.float64))
    bounds, _ = formula.backward_bound(call, gradient.astype(np.float64), unit)
    assert parameters == {}
    return formula.forward(call), formula.forward_bound(call, unit), inputs, bounds


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("name", ALL)
def test_vector_jacobian_products_equal_central_differences(name):
    case = ALL[name]
    arrays = arrays_for(case, 0)
    traced = [source(array) for array in arrays]
    result = case.formula(*traced)
    gradient = output_gradient_for(result.shape, 0)
    found = gradients(result, gradient, traced)
    random = np.random.default_rng(7)
    for place, (array, product) in enumerate(zip(arrays, found, strict=True)):
        direction = random.standard_normal(array.shape)
        step = 1e-5
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[place] = array + sign * step * direction
            ends.append(float((case.formula(*[source(item) for item in moved]).value * gradient).sum()))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert product.shape == array.shape
        assert float((product * direction).sum()) == pytest.approx(slope, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_equal_torch_in_float64(name):
    case = ALL[name]
    arrays = arrays_for(case, 1)
    gradient = output_gradient_for(case.formula(*[source(array) for array in arrays]).shape, 1)
    value, products = run_torch(case.theirs, arrays, gradient)
    ours, bound, inputs, bounds = judged(case, arrays, gradient)
    assert ratio(value, ours, bound) <= 1
    assert max(ratio(*three) for three in zip(products, inputs, bounds, strict=True)) <= 1


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.sampled_from([1e-3, 0.1, 1.0, 3.0, 30.0]))
def test_float32_stays_within_the_bounds(name, seed, spread):
    case = ALL[name]
    arrays = arrays_for(case, seed, np.float32, spread)
    shape = case.formula(*[source(array) for array in arrays]).shape
    gradient = output_gradient_for(shape, seed, np.float32)
    value, products = run_torch(case.theirs, arrays, gradient)
    ours, bound, inputs, bounds = judged(case, arrays, gradient)
    assert all(np.isfinite(array).all() and (array > 0).all() for array in (bound, *bounds))
    assert ratio(value, ours, bound) <= 1
    assert max(ratio(*three) for three in zip(products, inputs, bounds, strict=True)) <= 1


FUNCTIONS = {
    "exp": (elementary.EXP, -20, 20),
    "expm1": (elementary.EXPM1, -20, 20),
    "log": (elementary.LOG, 0.01, 50),
    "log1p": (elementary.LOG1P, -0.9, 50),
    "square": (elementary.SQUARE, -20, 20),
    "sqrt": (elementary.SQRT, 1e-3, 50),
    "rsqrt": (elementary.RSQRT, 1e-3, 50),
    "power 3": (elementary.power(3.0), -5, 5),
    "power -0.75": (elementary.power(-0.75), 0.01, 5),
    "power 1/3": (elementary.power(1 / 3), 0.01, 5),
    "tanh": (elementary.TANH, -12, 12),
    "sigmoid": (elementary.SIGMOID, -30, 30),
    "softplus": (elementary.SOFTPLUS, -30, 30),
    "erf": (elementary.ERF, -5, 5),
    "sin": (elementary.SIN, -20, 20),
    "cos": (elementary.COS, -20, 20),
    "absolute": (elementary.ABSOLUTE, -2, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_error_of_the_argument_reaches_value_and_derivative(name):
    """Any argument within its error gives a value, and a derivative, within theirs."""
    function, low, high = FUNCTIONS[name]
    random = np.random.default_rng(3)
    x = random.uniform(low, high, 20_000)
    error = np.abs(x) * 10.0 ** random.uniform(-9, 0, x.shape)
    lowest = 0.0 if low > 0 else -1.0 if name == "log1p" else -np.inf
    error = np.where(x - error > lowest, error, 0.5 * (x - lowest))
    for side in (-1.0, 1.0, random.uniform(-1, 1, x.shape)):
        near = x + side * error
        given_x = Rounded(x, error, SINGLE)
        y = function(given_x)
        slack = 1 + 1e-6  # the sums and differences here are rounded too
        assert np.all(np.abs(function(near) - y.value) <= slack * y.error)
        slope = function.derivative(given_x, y)
        assert np.all(np.abs(function.derivative(near, function(near)) - slope.value) <= slack * slope.error)


def framework_functions():
    """Each of ``FUNCTIONS`` in PyTorch and in TensorFlow, and where their results are normal numbers of float32."""
    import tensorflow as tf
    import torch

    def powers(exponent):
        return lambda x: x**exponent, lambda x: tf.pow(x, tf.constant(exponent, x.dtype))

    return {
        "exp": (torch.exp, tf.exp, -85, 85),
        "expm1": (torch.expm1, tf.math.expm1, -85, 85),
        "log": (torch.log, tf.math.log, 1e-30, 100),
        "log1p": (torch.log1p, tf.math.log1p, -0.999, 100),
        "square": (torch.square, tf.square, -100, 100),
        "sqrt": (torch.sqrt, tf.sqrt, 1e-30, 100),
        "rsqrt": (torch.rsqrt, tf.math.rsqrt, 1e-20, 100),
        "power 3": (*powers(3.0), -100, 100),
        "power -0.75": (*powers(-0.75), 1e-10, 100),
        "power 1/3": (*powers(1 / 3), 1e-10, 100),
        "tanh": (torch.tanh, tf.tanh, -100, 100),
        "sigmoid": (torch.sigmoid, tf.sigmoid, -85, 85),
        "softplus": (lambda x: torch.nn.functional.softplus(x, threshold=85.0), tf.nn.softplus, -85, 85),
        "erf": (torch.erf, tf.math.erf, -100, 100),
        "sin": (torch.sin, tf.sin, -100, 100),
        "cos": (torch.cos, tf.cos, -100, 100),
        "absolute": (torch.abs, tf.abs, -100, 100),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_frameworks_compute_the_functions_within_the_bounds(name, dtype):
    *sides, low, high = framework_functions()[name]
    random = np.random.default_rng(4)
    parts = [
        random.uniform(low, high, 20_000),
        random.uniform(max(low, -10), min(high, 10), 20_000),
        random.standard_normal(20_000) * 10.0 ** random.uniform(-30, 2, 20_000),
        1 + random.standard_normal(20_000) * 10.0 ** random.uniform(-8, 0, 20_000),
    ]
    x = np.concatenate(parts).astype(dtype)
    x = x[(x > low) & (x < high)]
    formula, call, unit = Formula(lambda _, x: FORMULAS[name](x)), call_of([x]), unit_roundoff(np.dtype(dtype).name)
    (gradient,), _ = formula.backward(call, np.ones(x.shape))
    (gradient_bound,), _ = formula.backward_bound(call, np.ones(x.shape), unit)
    for run, theirs in zip((run_torch, run_tensorflow), sides, strict=True):
        value, (found,) = run(theirs, [x], np.ones_like(x))
        assert ratio(value, formula.forward(call), formula.forward_bound(call, unit)) <= 1
        assert ratio(found, gradient, gradient_bound) <= 1


FORMULAS = {
    **{name: getattr(ops, name) for name in FUNCTIONS if "power" not in name},
    "power 3": lambda x: x**3.0,
    "power -0.75": lambda x: x**-0.75,
    "power 1/3": lambda x: x ** (1 / 3),
}


def test_a_missing_argument_error_would_be_seen():
    """The test above fails for a function whose spread is too small by half."""
    honest = elementary.TANH
    x, error = np.full(4, 0.1), np.full(4, 0.01)
    small = elementary.Elementary(
        honest.function, lambda x, e: 0.5 * honest.spread(x, e), honest.derivative, honest.constant
    )
    y = small(Rounded(x, error, SINGLE))
    assert np.all(np.abs(np.tanh(x + error) - y.value) > y.error)


def serial(terms: np.ndarray) -> np.float32:
    """Added one after the other in float32."""
    result = np.float32(0)
    for term in terms.ravel():
        result = np.float32(result + term)
    return result


@given(seed=st.integers(0, 2**31), order=st.sampled_from(["given", "sorted", "reversed", "interleaved"]))
@settings(max_examples=30, deadline=None)
def test_sums_of_sums_hold_in_any_order_of_all_their_terms(seed, order):
    """``x k + h r + b`` may be one sum of all its products; and rounding errors all of one sign add up."""
    random = np.random.default_rng(seed)
    x, h = (random.uniform(0.5, 1, 40).astype(np.float32) * 10.0 ** random.integers(0, 4, 40) for _ in range(2))
    x, h = x.astype(np.float32), h.astype(np.float32)
    k, r = (random.choice([-1.0, 1.0, 1.37], 40).astype(np.float32) for _ in range(2))
    b = np.float32(random.uniform(1e3, 1e5))
    products = np.concatenate([x * k, h * r, [b]]).astype(np.float32)
    if order == "sorted":
        products = np.sort(products)
    elif order == "reversed":
        products = products[::-1]
    elif order == "interleaved":
        products = products[np.argsort(np.arange(81) % 40)]
    terms = [source(array, SINGLE) for array in (x[None], k[:, None], h[None], r[:, None], np.float64(b))]
    y = terms[0] @ terms[1] + terms[2] @ terms[3] + terms[4]
    assert np.abs(serial(products) - y.value[0, 0]) <= y.number.error[0, 0]


def test_the_worst_order_needs_the_whole_sum():
    """A bias that comes first is rounded with every product: ``u |result|`` for its addition is not enough."""
    size = 300
    x, k, bias = np.full(size, 3 * 2.0**-26), np.ones(size), 1.0
    given_x, given_k = (Rounded.given(array, SINGLE) for array in (x[None], k[:, None]))
    product = arithmetic.contract("ij,jk->ik", given_x, given_k)
    whole = arithmetic.add(product, Rounded.given(bias, SINGLE))
    worst = serial(np.concatenate([[bias], x]).astype(np.float32))
    apart = product + Rounded.given(bias, SINGLE)
    assert np.abs(worst - whole.value[0, 0]) <= whole.error[0, 0]
    assert np.abs(worst - apart.value[0, 0]) > apart.error[0, 0]


@pytest.mark.parametrize("name", [name for name in ALL if not ALL[name].exact])
def test_a_relative_error_of_a_thousandth_exceeds_the_bounds(name):
    case = ALL[name]
    arrays = arrays_for(case, 5, np.float32)
    shape = case.formula(*[source(array) for array in arrays]).shape
    gradient = output_gradient_for(shape, 5, np.float32)
    ours, bound, inputs, bounds = judged(case, arrays, gradient)
    assert ratio(1.001 * ours, ours, bound) > 1
    for product, limit in zip(inputs, bounds, strict=True):
        assert ratio(1.001 * product, product, limit) > 1


# ------------------------------------------------------------------ against the operations written by hand


def dense(call, x, *, kernel, bias):
    return x @ kernel + bias


@pytest.mark.parametrize("shape", [(24, 50), (24, 3, 50)])
def test_dense_as_a_formula_is_the_dense_written_by_hand(shape):
    node = graph_of([Dense(30)], shape[1:], precision="float32").nodes[0]
    random = np.random.default_rng(0)
    weights = {item.name: random.standard_normal(item.shape).astype(np.float32) for item in node.parameters}
    x = random.standard_normal(shape).astype(np.float32)
    call = Call(node, weights, (x.astype(np.float64),), True, None)
    gradient = random.standard_normal((*shape[:-1], 30)).astype(np.float32).astype(np.float64)
    formula, modes = Formula(dense), {"training": True}
    np.testing.assert_allclose(formula.forward(call), node_forward(node, weights, [x], **modes), rtol=1e-12)
    inputs, parameters = formula.backward(call, gradient)
    by_hand_inputs, by_hand = node_backward(node, weights, [x], gradient, **modes)
    np.testing.assert_allclose(inputs[0], by_hand_inputs[0], rtol=1e-11, atol=1e-13)
    assert parameters.keys() == by_hand.keys()
    for name in by_hand:
        np.testing.assert_allclose(parameters[name], by_hand[name], rtol=1e-11, atol=1e-13)
    forward = formula.forward_bound(call, SINGLE) / handwritten_forward_bound(node, weights, [x], **modes, unit=SINGLE)
    input_bounds, bounds = formula.backward_bound(call, gradient, SINGLE)
    hand_inputs, hand = handwritten_backward_bound(node, weights, [x], gradient, **modes, unit=SINGLE)
    ratios = [forward, input_bounds[0] / hand_inputs[0], *(bounds[name] / hand[name] for name in hand)]
    for item in ratios:
        assert item.min() > 1 / 3
        assert item.max() < 3


def test_softmax_as_a_formula_is_as_tight_as_the_one_written_by_hand():
    random = np.random.default_rng(0)
    x, gradient = random.standard_normal((50, 20)), random.standard_normal((50, 20))
    x, gradient = (array.astype(np.float32).astype(np.float64) for array in (x, gradient))
    formula, call = Formula(lambda _, x: ops.softmax(x)), call_of([x])
    forward = formula.forward_bound(call, SINGLE) / SOFTMAX.value_bound(None, x, SINGLE)
    (backward,), _ = formula.backward_bound(call, gradient, SINGLE)
    backward = backward / SOFTMAX.vector_jacobian_bound(None, x, gradient, SINGLE)
    assert forward.min() > 1 / 3
    assert forward.max() < 3
    assert backward.min() > 1 / 3
    assert backward.max() < 3


def test_a_sum_is_bounded_by_gamma():
    x = np.random.default_rng(0).standard_normal((5, 1000))
    y = ops.sum(source(x, DOUBLE), -1)
    size = 999 * DOUBLE * np.abs(x).sum(-1)
    assert np.all(y.number.error >= size)
    assert np.all(y.number.error <= 1.001 * size)


# ------------------------------------------------------------------ faults


def test_a_wrong_vector_jacobian_product_is_caught():
    """What the gradient tests look for: here tanh with the derivative of sigmoid."""
    wrong = Traced(np.tanh(0.3), (x := source(0.3), lambda g: g * 0.24))
    (found,) = gradients(wrong, np.ones(()), [x])
    slope = (np.tanh(0.3 + 1e-5) - np.tanh(0.3 - 1e-5)) / 2e-5
    assert found != pytest.approx(slope, rel=1e-3)


def test_a_doubtful_comparison_admits_either_gradient():
    x = Traced(Rounded(np.array([1e-9, 1.0]), np.array([1e-8, 1e-8]), SINGLE), differentiated=True)
    (found,) = gradients(ops.relu(x), Rounded.given(np.full(2, 3.0), SINGLE), [x])
    assert found.error[0] >= 3.0
    assert found.error[1] < 1e-5
    pair = Traced(Rounded(np.array([1.0, 1.0 + 1e-9, 0.5]), np.full(3, 1e-8), SINGLE), differentiated=True)
    (found,) = gradients(ops.max(pair), Rounded.given(1.0, SINGLE), [pair])
    assert found.error[0] >= 1
    assert found.error[1] >= 1
    assert found.error[2] < 1e-5


def test_probabilities_may_be_taken_from_their_logarithms():
    """As PyTorch's ``logsumexp`` does: ``exp(x - y)`` then carries the rounding of a large ``y``."""
    x = (5000 + np.random.default_rng(0).standard_normal((20, 4))).astype(np.float32)
    gradient = np.ones(20, dtype=np.float32)
    _, (product,) = run_torch(lambda x: x.logsumexp(-1), [x], gradient)
    formula, call = Formula(lambda _, x: ops.logsumexp(x)), call_of([x])
    (reference,), _ = formula.backward(call, gradient)
    (bound,), _ = formula.backward_bound(call, gradient, SINGLE)
    assert ratio(product, reference, bound) <= 1
    assert np.abs(product - reference).max() > 100 * SINGLE


def test_exact_ties_go_where_the_formula_says():
    for ties, expected in (("first", [0, 2, 0, 0]), ("last", [0, 0, 2, 0]), ("even", [0, 1, 1, 0])):
        x = source(np.array([1.0, 3.0, 3.0, 0.0]), SINGLE)
        (found,) = gradients(ops.max(x, ties=ties), Rounded.given(2.0, SINGLE), [x])
        np.testing.assert_array_equal(found.value, expected)
        assert found.error.max() < 1e-6
    for ties, expected in (("first", (2, 0)), ("second", (0, 2)), ("even", (1, 1))):
        a, b = source(np.ones(1)), source(np.ones(1))
        found = gradients(ops.maximum(a, b, ties=ties), np.full(1, 2.0), [a, b])
        assert tuple(float(item[0]) for item in found) == expected


# ------------------------------------------------------------------ the operation


def test_variants_widen_the_bounds():
    """A variance as the mean of squares less the square of the mean cancels; the two-pass one does not."""

    def two_pass(call, x):
        return ops.mean(ops.square(x - ops.mean(x, -1, keepdims=True)), -1)

    def one_pass(call, x):
        return ops.mean(ops.square(x), -1) - ops.square(ops.mean(x, -1))

    x = (1000 + np.random.default_rng(0).standard_normal((4, 50))).astype(np.float32)
    call = call_of([x])
    theirs = (x * x).mean(-1, dtype=np.float32) - x.mean(-1, dtype=np.float32) ** 2
    strict, wide = Formula(two_pass), Formula(two_pass, variants=(one_pass,))
    assert ratio(theirs, strict.forward(call), strict.forward_bound(call, SINGLE)) > 1
    assert ratio(theirs, wide.forward(call), wide.forward_bound(call, SINGLE)) <= 1


def test_variants_widen_the_bounds_of_gradients():
    """``x^2`` as ``(x + 100) (x - 100) + 10000``, whose gradient cancels."""
    square, product = (lambda _, x: x * x), (lambda _, x: (x + 100.0) * (x - 100.0) + 10_000.0)
    call = call_of([np.linspace(-1, 1, 8).astype(np.float32)])
    (narrow,), _ = Formula(square).backward_bound(call, np.ones(8), SINGLE)
    (wide,), _ = Formula(square, variants=(product,)).backward_bound(call, np.ones(8), SINGLE)
    assert np.all(wide > 10 * narrow)


def test_what_has_no_influence_gets_a_gradient_of_zero():
    formula = Formula(lambda _, table, ids: ops.take(table, ids.value.astype(np.int64)))
    call = call_of([np.eye(3), np.array([2.0, 2.0, 0.0])])
    gradient = np.arange(1.0, 10.0).reshape(3, 3)
    (table, ids), _ = formula.backward(call, gradient)
    np.testing.assert_array_equal(table, [gradient[2], np.zeros(3), gradient[0] + gradient[1]])
    np.testing.assert_array_equal(ids, np.zeros(3))
    (_, bound), _ = formula.backward_bound(call, gradient, SINGLE)
    assert bound.min() > 0
    assert bound.max() < 1e-30


def test_buffers_and_kinks():
    formula = Formula(
        lambda _, x, *, moving_mean: x - moving_mean,
        kinks=lambda call: call.inputs[0] == 0,
        buffers=lambda _, x, *, moving_mean: {"moving_mean": 0.9 * moving_mean + 0.1 * ops.mean(x, 0)},
    )
    call = call_of([np.array([[0.0, 1.0], [2.0, 3.0]])], buffers={"moving_mean": np.array([1.0, 2.0])})
    np.testing.assert_allclose(formula.new_buffers(call)["node.moving_mean"], [1.0, 2.0])
    bound = formula.new_buffers_bound(call, SINGLE)["node.moving_mean"]
    assert bound.min() > 0
    assert bound.max() < 1e-6
    np.testing.assert_array_equal(formula.kinks(call), [[True, False], [False, False]])
    assert formula.backward(call, np.ones((2, 2)))[1] == {}
    assert Formula(lambda _, x: x).new_buffers(call) == {}


def test_results_belong_to_the_caller():
    x = np.ones((2, 3))
    call = call_of([x])
    formula = Formula(lambda _, x: ops.transpose(x, (1, 0)))
    formula.forward(call)[:] = 7
    formula.backward(call, gradient := np.ones((3, 2)))[0][0][:] = 7
    assert np.all(call.inputs[0] == 1)
    assert np.all(gradient == 1)


def test_a_denormal_operand_may_be_flushed():
    """TensorFlow reads 1e-39 as 0: times 1e3 that is far more than the smallest normal number."""
    formula = Formula(lambda _, x: x * 1000.0)
    assert formula.forward_bound(call_of([np.array([1e-39])]), SINGLE)[0] >= 1e-36


@pytest.mark.parametrize("subscripts", ["ij,jk", "iij,jk->ik", "ij,jk,kl->il", "ij,jk->iz", "ij,jk->iik"])
def test_a_contraction_that_does_not_read_is_refused(subscripts):
    with pytest.raises(ValueError, match="must read like"):
        Contraction.parse(subscripts, 2, 2)


def test_misfits_are_refused():
    with pytest.raises(ValueError, match="does not fit arrays of 3 and 2 axes"):
        Contraction.parse("ij,jk->ik", 3, 2)
    with pytest.raises(ValueError, match="axis 'j' differs"):
        ops.einsum("ij,jk->ik", np.ones((2, 3)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="do not fit axes"):
        ops.windows(np.ones((2, 3)), (1,), (4,), (1,))
    with pytest.raises(ValueError, match="axes must lie between -2 and 1"):
        ops.sum(np.ones((2, 3)), 2)
    with pytest.raises(ValueError, match="must have the result's shape"):
        gradients(source(np.ones(3)), np.ones(2), [])
