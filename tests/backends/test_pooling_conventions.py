"""Pooling: each adapter equals its framework's own layers, and the traps between them stay shut."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from single_layer_support import BACKENDS, keras_layer, passed, torch_layer  # noqa: E402
from torch import nn  # noqa: E402

from dualml.errors import SpecError  # noqa: E402
from dualml.spec.layers import Dense  # noqa: E402
from dualml.spec.layers.pooling import (  # noqa: E402
    AdaptiveAveragePool1d,
    AdaptiveAveragePool2d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AveragePool1d,
    AveragePool2d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from dualml.testing.cases import Case  # noqa: E402

KL: Any = keras.layers


# ------------------------------------------------------------------ ties


def tied(shape: tuple[int, ...]) -> np.ndarray:
    """Small whole numbers, so that every window has ties."""
    return np.random.default_rng(0).integers(0, 2, (2, *shape)).astype(float)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (MaxPool1d(3, stride=1), (7, 2)),
        (MaxPool2d(2), (6, 6, 2)),
        (MaxPool2d(3, stride=2, padding="symmetric"), (6, 6, 2)),
        (MaxPool2d((3, 2), stride=1, dilation=2), (7, 6, 2)),
        (MaxPool3d(2, stride=1), (3, 4, 3, 2)),
        (AdaptiveMaxPool2d((2, 3)), (5, 7, 2)),
        (AdaptiveMaxPool3d(2), (3, 4, 5, 2)),
        (GlobalMaxPool(), (3, 4, 2)),
        (GlobalMaxPool(), (2, 2, 3, 2, 2)),
    ],
    ids=str,
)
def test_the_first_of_equal_values_gets_the_gradient(layer: Any, shape: tuple[int, ...]) -> None:
    inputs = tied(shape)
    sides = [passed(side, layer, shape, "torch", inputs) for side in BACKENDS]
    assert np.array_equal(sides[0].output, sides[1].output)
    assert np.abs(sides[0].gradient - sides[1].gradient).max() <= 1e-15
    moved = sides[0].gradient != 0  # an earlier equal value in the same window would have got it
    assert 0 < moved.sum() <= sides[0].output.size


def test_ties_of_a_global_maximum_follow_the_convention() -> None:
    inputs = np.array([1.0, 3.0, 3.0, 3.0]).reshape(1, 4, 1)
    for side in BACKENDS:
        first = passed(side, GlobalMaxPool(), (4, 1), "torch", inputs)
        assert np.array_equal(first.gradient[0, :, 0], [0.0, first.upstream.item(), 0.0, 0.0])
        even = passed(side, GlobalMaxPool(), (4, 1), "keras", inputs)
        third = even.upstream.item() / 3
        assert even.gradient[0, :, 0] == pytest.approx([0.0, third, third, third], rel=1e-15)


def test_stock_adaptive_max_takes_columns_first() -> None:
    """Why ``WindowMax`` stands in for it."""
    inputs = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 3, 3, 1)
    upstream = np.array([[1.0, 0.0], [0.0, 0.0]]).reshape(1, 2, 2, 1)
    _, stock = keras_layer(KL.AdaptiveMaxPooling2D(2, dtype="float64"), inputs, upstream)
    assert stock[0, 1, 0, 0] == 1.0, "the stock one has become row-major: it may do"
    for side in BACKENDS:
        got = passed(side, AdaptiveMaxPool2d(2), (3, 3, 1), "torch", inputs)
        above = got.upstream[0, :, :, 0]
        assert got.gradient[0, 0, 1, 0] == pytest.approx(above[0, 0] + above[0, 1], rel=1e-15)
        assert got.gradient[0, 1, 0, 0] == above[1, 0]


def test_max_pooling_to_one_value_has_a_gradient_that_was_written() -> None:
    """The stock Keras layer's is uninitialised memory in some calls; many calls, so that one of them would show it."""
    inputs = np.random.default_rng(0).standard_normal((1, 2, 2, 1))
    layer = AdaptiveMaxPool2d(1)
    wanted = passed("torch", layer, (2, 2, 1), "torch", inputs).gradient
    for _ in range(40):
        assert np.abs(passed("tensorflow", layer, (2, 2, 1), "keras", inputs).gradient - wanted).max() <= 1e-15


# ------------------------------------------------------------------ padding and counting


@pytest.mark.parametrize("side", BACKENDS)
@pytest.mark.parametrize(
    "padding", ["same", "symmetric", 1, ((2, 0), (0, 1))], ids=["same", "symmetric", "amounts", "sides"]
)
def test_padding_never_wins(side: str, padding: Any) -> None:
    inputs = -1.0 - np.random.default_rng(0).random((2, 4, 4, 1))
    for layer in (MaxPool2d(3, stride=2, padding=padding), MaxPool2d(3, stride=2, padding=padding, dilation=1)):
        assert passed(side, layer, (4, 4, 1), "torch", inputs).output.max() <= -1.0


def test_same_is_not_symmetric() -> None:
    for side in BACKENDS:
        same = passed(side, MaxPool2d(3, stride=2, padding="same"), (6, 6, 1), "torch")
        symmetric = passed(side, MaxPool2d(3, stride=2, padding="symmetric"), (6, 6, 1), "torch")
        assert same.output.shape == symmetric.output.shape
        assert np.abs(same.output - symmetric.output).max() > 0.1


def test_counting_follows_the_convention() -> None:
    ones = np.ones((1, 3, 3, 1))
    for side in BACKENDS:
        layer = AveragePool2d(3, stride=1, padding=1)
        assert passed(side, layer, (3, 3, 1), "torch", ones).output[0, 0, 0, 0] == pytest.approx(4 / 9, rel=1e-15)
        assert np.array_equal(passed(side, layer, (3, 3, 1), "keras", ones).output, ones)


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_are_those_of_torch(ceil: bool) -> None:
    """Their number and what a mean divides by, over a grid of sizes."""
    tried = 0
    for n, size, stride, pad, counted in product(range(1, 9), (1, 2, 3, 4), (1, 2, 3, 5), (0, 1, 2), (False, True)):
        if 2 * pad > size or size > n + 2 * pad:
            continue
        pool = nn.AvgPool1d(size, stride, pad, ceil_mode=ceil, count_include_pad=counted)
        wanted = pool(torch.ones(1, 1, n, dtype=torch.float64)).numpy()[0, 0]
        layer = AveragePool1d(size, stride=stride, padding=pad, ceil_mode=ceil, count_padding=counted)
        windows = layer.windows((n, 1))
        assert windows.counts == wanted.shape, (n, size, stride, pad)
        assert windows.present / windows.divisors == pytest.approx(wanted, rel=1e-15), (n, size, stride, pad)
        tried += 1
    assert tried > 400


def test_same_windows_are_those_of_tensorflow() -> None:
    for n, size, stride in product(range(1, 9), (1, 2, 3, 4), (1, 2, 3, 5)):
        values = np.arange(1.0, n + 1).reshape(1, n, 1)
        wanted = tf.nn.avg_pool1d(values, size, stride, "SAME").numpy()[0, :, 0]
        axis = AveragePool1d(size, stride=stride, padding="same", count_padding=False).windows((n, 1)).axes[0]
        inside = axis.positions >= 0
        found = (np.where(inside, axis.positions + 1, 0)).sum(axis=1) / axis.divisors
        assert found == pytest.approx(wanted, rel=1e-14), (n, size, stride)


def test_adaptive_windows_are_those_of_both() -> None:
    values = np.random.default_rng(0).random((1, 24, 1))
    for n, o in product(range(1, 25, 3), range(1, 25, 2)):
        got = [passed(side, AdaptiveAveragePool1d(o), (n, 1), "torch", values[:, :n]).output for side in BACKENDS]
        wanted, _ = torch_layer(nn.AdaptiveAvgPool1d(o), values[:, :n], np.zeros((1, o, 1)))
        assert np.abs(got[0] - wanted).max() == 0, (n, o)
        assert np.abs(got[1] - wanted).max() <= 1e-15, (n, o)


def test_three_axes_in_float64_need_layers_of_our_own() -> None:
    with pytest.raises(Exception, match=r"double|DT_DOUBLE"):
        KL.MaxPooling3D(dtype="float64")(np.zeros((1, 2, 2, 2, 1)))


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (MaxPool2d(2), (4, 4), r"\[height, width, channels\], got \[4, 4\]"),
        (MaxPool2d(5), (4, 6, 1), "window spans 5 positions, but axis 0 has 4; use a smaller size"),
        (MaxPool2d(5, padding=((0, 0), (1, 0))), (5, 3, 1), "axis 1 has 3 and padding makes it 4"),
        (MaxPool2d((2, 2, 2)), (4, 4, 1), r"size must be one number or 2 of them.*got \[2, 2, 2\]"),
        (MaxPool2d(2, stride=(1,)), (4, 4, 1), r"stride must be one number or 2"),
        (MaxPool1d(2, dilation=(1, 2)), (4, 1), "dilation must be one number"),
        (MaxPool1d(2, padding=2), (4, 1), "leaves a window without any"),
        (AveragePool1d(2, padding="same", ceil_mode=True), (4, 1), "ceil_mode changes nothing there"),
        (AveragePool2d(2, padding=(1, 2, 3)), (4, 4, 1), "padding must be one number or a list of 2"),
        (AdaptiveAveragePool2d((2, 2, 2)), (4, 4, 1), "size must be one number or 2"),
        (GlobalAveragePool(), (4,), r"2 axes or more, got \[4\]"),
    ],
    ids=lambda item: str(item)[:40],
)
def test_mistakes_are_explained(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises((SpecError, ValueError), match=message):
        Case("wrong", shape, [layer, Dense(2)]).graph()
