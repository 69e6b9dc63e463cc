"""Every activation of both adapters: within the reference's bounds, one derivative at kinks, equal to stock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from dualml_tensorflow.activations import ACTIVATIONS as KERAS_LAYERS  # noqa: E402
from dualml_torch.activations import ACTIVATIONS as TORCH_MODULES  # noqa: E402
from pydantic import ValidationError  # noqa: E402
from torch.nn import functional  # noqa: E402

from dualml.reference import unit_roundoff  # noqa: E402
from dualml.reference.activations import ACTIVATIONS  # noqa: E402
from dualml.spec import activations as spec  # noqa: E402

FUNCTIONS = [
    spec.Relu6(),
    spec.ClippedRelu(2.0),
    spec.ClippedRelu(1.1, negative_slope=0.2, threshold=0.7),
    spec.ClippedRelu(negative_slope=0.3, threshold=0.2),
    spec.ClippedRelu(6.0, negative_slope=0.3),
    spec.Selu(),
    spec.Celu(1.0),
    spec.Celu(0.3),
    spec.HardSigmoid(),
    spec.HardSwish(),
    spec.HardTanh(),
    spec.HardTanh(minimum=-0.3, maximum=0.7),
    spec.HardShrink(),
    spec.HardShrink(0.3),
    spec.SoftShrink(),
    spec.SoftShrink(0.3),
    spec.TanhShrink(),
    spec.Softsign(),
    spec.LogSigmoid(),
    spec.Mish(),
    spec.Swish(1.702),
    spec.Swish(0.3),
    spec.Squareplus(),
    spec.Squareplus(0.3),
    spec.SparsePlus(),
    spec.SparseSigmoid(),
    spec.Exponential(),
    spec.Linear(),
    spec.Threshold(at=0.3, value=-0.7),
    spec.Softmax(0),
    spec.LogSoftmax(),
    spec.LogSoftmax(0),
]
KNOTS = (0.0, -0.0, 0.2, 0.3, -0.3, 0.5, -0.5, 0.7, 1.0, -1.0, 1.1, 2.0, 3.0, -3.0, 6.0)


def identify(function: Any) -> str:
    return "-".join([function.kind, *map(str, dict(function).values())])


def points(dtype: str) -> np.ndarray:
    """Ordinary, large and tiny values, denormals, and what lies within some units of every knot."""
    random = np.random.default_rng(0)
    information = np.finfo(dtype)
    smallest = float(information.tiny)
    knots = np.concatenate([np.array(KNOTS) * (1.0 + k * information.eps / 2) for k in range(-6, 7)])
    tiny = random.standard_normal(800) * 10.0 ** random.uniform(np.log10(smallest) - 2, 2, 800)
    special = [smallest, -smallest, smallest / 8, -smallest / 8, 20.0, 87.3, -87.3, 60.0, -60.0]
    parts = (random.standard_normal(2000), random.uniform(-60, 60, 2000), random.uniform(-9, 9, 2000))
    values = np.concatenate([*parts, tiny, knots, special])
    return np.clip(values[: len(values) // 8 * 8], -100.0, 80.0).astype(dtype).reshape(-1, 8)


def run_torch(function: Any, x: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = torch.tensor(x, requires_grad=True)
    value = function(inputs)
    (found,) = torch.autograd.grad(value, inputs, torch.tensor(gradient))
    return value.detach().numpy(), found.numpy()


def run_keras(function: Any, x: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(inputs)
    return value.numpy(), tape.gradient(value, inputs, output_gradients=tf.constant(gradient)).numpy()


def run(side: str, settings: Any, x: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and vector-Jacobian product of an adapter's activation."""
    if side == "torch":
        return run_torch(TORCH_MODULES[settings.kind](settings), x, gradient)
    return run_keras(KERAS_LAYERS[settings.kind](settings, str(x.dtype), "f"), x, gradient)


def ratios(settings: Any, x: np.ndarray, gradient: np.ndarray, value: np.ndarray, found: np.ndarray) -> list[float]:
    """Worst distances from the reference, over the bounds; float64 ones are doubled for the reference's own."""
    unit, doubled = unit_roundoff(str(x.dtype)), 2.0 if x.dtype == np.float64 else 1.0
    x, gradient = x.astype(np.float64), gradient.astype(np.float64)
    one = ACTIVATIONS[settings.kind]
    pairs = (
        (value, one.value(settings, x), one.value_bound(settings, x, unit)),
        (
            found,
            one.vector_jacobian(settings, x, gradient),
            one.vector_jacobian_bound(settings, x, gradient, unit),
        ),
    )
    worst = [np.abs(theirs - right) / (doubled * bound) for theirs, right, bound in pairs]
    return [float(np.where(np.isnan(ratio), np.inf, ratio).max()) for ratio in worst]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("side", ["torch", "keras"])
@pytest.mark.parametrize("settings", FUNCTIONS, ids=identify)
def test_within_bounds(settings: Any, side: str, dtype: str) -> None:
    x = points(dtype)
    gradient = np.random.default_rng(1).standard_normal(x.shape).astype(dtype)
    value, found = run(side, settings, x, gradient)
    assert value.dtype == found.dtype == dtype
    assert max(ratios(settings, x, gradient, value, found)) <= 1.0


@pytest.mark.parametrize("settings", FUNCTIONS, ids=identify)
def test_bounds_are_not_loose(settings: Any) -> None:
    """Off by 2^-20 of its size, a float64 value or derivative is far out of its bound."""
    x = np.random.default_rng(2).uniform(0.31, 0.45, (50, 8))  # no knot, and no function is 0 here but the shrinks
    x = x + 0.6 if settings.kind in ("hard_shrink", "soft_shrink", "clipped_relu") else x
    gradient = np.ones_like(x)
    value, found = run("torch", settings, x, gradient)
    changed = (value * (1 + 2.0**-20), found + 2.0**-20)
    assert min(ratios(settings, x, gradient, *changed)) > 1e4


KINKS = {  # what counts as the derivative exactly where it jumps
    "relu6": (spec.Relu6(), {0.0: 0.0, 6.0: 0.0}),
    "clipped_relu": (spec.ClippedRelu(1.0, negative_slope=0.25, threshold=0.5), {0.5: 0.25, 1.0: 0.0}),
    "clipped_relu at 0": (spec.ClippedRelu(1.0), {0.0: 0.0, 1.0: 0.0}),
    "selu": (spec.Selu(), {0.0: 1.0507009873554805 * 1.6732632423543772}),
    "celu": (spec.Celu(0.25), {0.0: 1.0}),
    "celu, not of float32": (spec.Celu(0.3), {0.0: 1.0}),
    "hard_sigmoid": (spec.HardSigmoid(), {-3.0: 0.0, 3.0: 0.0}),
    "hard_swish": (spec.HardSwish(), {-3.0: 0.0, 3.0: 1.0}),
    "hard_tanh": (spec.HardTanh(minimum=-0.5, maximum=2.0), {-0.5: 0.0, 2.0: 0.0}),
    "hard_shrink": (spec.HardShrink(0.5), {-0.5: 0.0, 0.5: 0.0}),
    "soft_shrink": (spec.SoftShrink(0.5), {-0.5: 0.0, 0.5: 0.0}),
    "sparse_plus": (spec.SparsePlus(), {-1.0: 0.0, 1.0: 1.0}),
    "sparse_sigmoid": (spec.SparseSigmoid(), {-1.0: 0.0, 1.0: 0.0}),
    "threshold": (spec.Threshold(at=0.5, value=2.0), {0.5: 0.0}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", KINKS)
def test_derivatives_at_kinks(name: str, dtype: str) -> None:
    settings, wanted = KINKS[name]
    x, slopes = np.array([list(wanted)]), np.array([list(wanted.values())])
    one = ACTIVATIONS[settings.kind]
    assert one.vector_jacobian(settings, x, np.ones_like(x)) == pytest.approx(slopes, rel=1e-15)
    smooth = {"celu": False, "sparse_plus": False}.get(settings.kind, True)
    assert one.kinks(settings, x).all() == smooth
    assert not one.kinks(settings, x + 0.125).any()
    for side in ("torch", "keras"):
        _, found = run(side, settings, x.astype(dtype), np.ones(x.shape, dtype))
        assert found == pytest.approx(slopes, rel=4 * float(np.finfo(dtype).eps)), side


def test_every_activation_is_everywhere() -> None:
    assert (
        {function.kind for function in spec.ACTIVATIONS} == set(ACTIVATIONS) == set(TORCH_MODULES) == set(KERAS_LAYERS)
    )


def test_torch_takes_constants_of_backward_passes_in_float32() -> None:
    """What the formulas are for; once these fail, the stock modules will do."""
    x = np.random.default_rng(5).uniform(-2.9, -0.1, (50, 8))
    gradient = np.ones_like(x)
    for settings, stock in (
        (spec.HardSigmoid(), functional.hardsigmoid),
        (spec.Celu(0.3), lambda x: functional.celu(x, 0.3)),
    ):
        assert ratios(settings, x, gradient, *run_torch(stock, x, gradient))[1] > 1e5
        assert ratios(settings, x, gradient, *run("torch", settings, x, gradient))[1] <= 1


def test_over_an_axis_of_the_example() -> None:
    x = np.random.default_rng(6).standard_normal((2, 3, 4))
    for axis, batch_axis in ((0, 1), (1, 2), (-1, 2), (-2, 1)):
        powers = np.exp(x) / np.exp(x).sum(batch_axis, keepdims=True)
        for side in ("torch", "keras"):
            assert run(side, spec.Softmax(axis), x, x)[0] == pytest.approx(powers, rel=1e-14)
            assert run(side, spec.LogSoftmax(axis), x, x)[0] == pytest.approx(np.log(powers), rel=1e-13)


def test_an_axis_that_is_not_there_is_refused() -> None:
    spec.Softmax(-2).check((3, 4))
    with pytest.raises(ValueError, match=r"axis must be in \[-2, 1\] for an input of shape \[3, 4\], got 2"):
        spec.LogSoftmax(2).check((3, 4))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (spec.ClippedRelu, {"max_value": 0.5, "threshold": 0.5}, "max_value must be above threshold, got 0.5 and 0.5"),
        (spec.ClippedRelu, {"negative_slope": -0.1}, "greater than or equal to 0"),
        (spec.HardTanh, {"minimum": 2.0, "maximum": 1.0}, "minimum must be below maximum, got 2.0 and 1.0"),
        (spec.SoftShrink, {"threshold": -1.0}, "greater than or equal to 0"),
        (spec.Squareplus, {"b": 0.0}, "greater than 0"),
        (spec.Swish, {}, "Field required"),
        (spec.Threshold, {"at": 0.5}, "Field required"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**settings)


def test_a_saved_keras_model_keeps_its_formulas(tmp_path: Any) -> None:
    settings = (spec.Celu(0.3), spec.ClippedRelu(1.5, negative_slope=0.1), spec.LogSoftmax(0), spec.Swish(1.702))
    inputs = keras.Input((3, 4), dtype="float64")
    value = inputs
    for number, function in enumerate(settings):
        value = KERAS_LAYERS[function.kind](function, "float64", f"f{number}")(value)
    model = keras.Model(inputs, value)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(7).standard_normal((2, 3, 4))
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
