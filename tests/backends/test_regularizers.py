"""Penalties of both adapters, against the reference, Keras' regularisers and PyTorch's weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from dualml_tensorflow import regularizers as keras_side  # noqa: E402
from dualml_torch import regularizers as torch_side  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from dualml.reference import unit_roundoff  # noqa: E402
from dualml.reference.regularizers import (  # noqa: E402
    penalty,
    penalty_bound,
    penalty_gradient_bounds,
    penalty_gradients,
)
from dualml.spec.regularizers import L1, L1L2, L2  # noqa: E402

SHAPES = {"a.kernel": (5, 4), "a.bias": (4,), "b.recurrent_kernel": (4, 4), "n.scale": (4,), "e.table": (3, 2)}
REGULARIZERS = [
    L1(0.1),
    L2(0.01),
    L1L2(l1=0.03, l2=0.7),
    L2(0.3, scope="all"),
    L1(0.3, scope="a.*"),
    L1L2(l2=0.1, scope="?.scale"),
]


def numbers(dtype: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape) for name, shape in SHAPES.items()}
    weights["a.kernel"][0] = [0.0, -0.0, 1e-30, -1e-30]
    return {name: array.astype(dtype) for name, array in weights.items()}


def run(side: str, regularizer: Any, weights: dict[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    if side == "torch":
        tensors = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
        value = torch_side.penalty(regularizer, tensors)
        value.backward()
        zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        found = {name: (zeros[name] if item.grad is None else item.grad).numpy() for name, item in tensors.items()}
        return value.detach().numpy(), found
    variables = {name: tf.Variable(array) for name, array in weights.items()}
    with tf.GradientTape() as tape:
        value = keras_side.penalty(regularizer, variables)
    gradients = tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return value.numpy(), {name: gradient.numpy() for name, gradient in gradients.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("side", ["torch", "keras"])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_within_bounds(regularizer: Any, side: str, dtype: str) -> None:
    weights, unit = numbers(dtype), unit_roundoff(dtype)
    doubled = 2.0 if dtype == "float64" else 1.0
    value, found = run(side, regularizer, weights)
    assert value.dtype == dtype
    must, bound = penalty(regularizer, weights), penalty_bound(regularizer, weights, unit=unit)
    assert abs(value - must) <= doubled * bound < 200 * unit * must
    bounds = penalty_gradient_bounds(regularizer, weights, unit=unit)
    for name, gradient in penalty_gradients(regularizer, weights).items():
        assert (np.abs(found[name] - gradient) <= doubled * bounds[name]).all(), name
        assert gradient.any() == regularizer.applies(name)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_gradients_of_the_reference(regularizer: Any) -> None:
    weights = numbers("float64")
    for name, gradient in penalty_gradients(regularizer, weights).items():
        for index in np.ndindex(gradient.shape):
            if abs(weights[name][index]) < 1e-3:
                continue
            moved = []
            for step in (1e-6, -1e-6):
                changed = {**weights, name: weights[name].copy()}
                changed[name][index] += step
                moved.append(penalty(regularizer, changed))
            assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-6, abs=1e-8)


def test_scopes() -> None:
    def scoped(scope: str) -> list[str]:
        return [name for name in SHAPES if L2(0.1, scope=scope).applies(name)]

    assert scoped("kernels") == ["a.kernel", "b.recurrent_kernel"]
    assert scoped("all") == list(SHAPES)
    assert scoped("a.*") == ["a.kernel", "a.bias"]
    assert scoped("*.scale") == ["n.scale"]
    with pytest.raises(ValueError, match=r"'conv_\*' matches none of a\.kernel, a\.bias"):
        L2(0.1, scope="conv_*").check(SHAPES)
    L2(0.1).check(SHAPES)


def test_keras_definition() -> None:
    weights = numbers("float32")
    for ours, stock in (
        (L1(0.25), keras.regularizers.L1(0.25)),
        (L2(0.25), keras.regularizers.L2(0.25)),
        (L1L2(l1=0.25, l2=0.5), keras.regularizers.L1L2(0.25, 0.5)),
    ):
        wanted = sum(float(stock(array)) for name, array in weights.items() if ours.applies(name))
        assert run("keras", ours, weights)[0] == pytest.approx(wanted, rel=1e-6)
    in_float64 = float(keras.regularizers.L2(0.1)(tf.constant([1.0], tf.float64)))
    assert abs(in_float64 - 0.1) > 1e-10, "the stock one has become exact: it will do"


def test_weight_decay_of_torch_is_twice_the_factor() -> None:
    weight = torch.tensor([1.5, -0.3, 0.0], dtype=torch.float64)
    decayed = weight.clone().requires_grad_()
    decayed.grad = torch.zeros_like(weight)
    torch.optim.SGD([decayed], lr=0.1, weight_decay=0.02).step()
    _, gradients = run("torch", L2(0.01), {"a.kernel": weight.numpy()})
    assert decayed.detach().numpy() == pytest.approx(weight.numpy() - 0.1 * gradients["a.kernel"], rel=1e-15)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (L1, {"factor": -0.1}, "greater than or equal to 0"),
        (L1L2, {}, "needs l1 or l2 above 0"),
        (L2, {"factor": 0.1, "scope": ""}, "at least 1 character"),
        (L2, {}, "Field required"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**settings)
