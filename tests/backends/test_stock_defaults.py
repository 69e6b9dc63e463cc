"""Where a spec leaves everything unsaid, each adapter's object is its framework's own with its defaults.

The rows are read off the registries: a layer, activation, loss or optimizer that is neither compared nor listed with
the reason why it has no counterpart fails here. Layers made of layers consist of what is compared.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from dualml_torch.formulas.muon import newton_schulz  # noqa: E402
from scipy import stats  # noqa: E402
from stock_layers import LAYERS, WITHOUT, WITHOUT_ACTIVATION, activation_rows  # noqa: E402
from stock_support import BACKENDS, Comparison, Row, required_only  # noqa: E402
from stock_training import (  # noqa: E402
    CLASSES,
    LOSSES,
    OPTIMIZERS,
    ROUNDED_LOSSES,
    WITHOUT_LOSS,
    WITHOUT_OPTIMIZER,
    StockOptimizer,
    exact,
)
from torch import nn  # noqa: E402

from dualml.protocol import Batch  # noqa: E402
from dualml.spec.activations import ACTIVATIONS, Linear  # noqa: E402
from dualml.spec.layers import LAYERS as LAYER_KINDS, Activation, Dense  # noqa: E402
from dualml.spec.losses import LOSSES as LOSS_KINDS, MeanSquaredError  # noqa: E402
from dualml.spec.optimizers import OPTIMIZERS as OPTIMIZER_KINDS  # noqa: E402
from dualml.testing.cases import Case  # noqa: E402
from dualml.testing.cases.base import gradients  # noqa: E402

SIDES = ("torch", "keras")
ONE_OF = {"resize", "slice"}
"""Layers that need one of several settings, or do nothing."""


def rows(table: dict[str, list[Row]]) -> list[Any]:
    return [
        pytest.param(side, row, precision, id=f"{side}-{row.name}-{precision}")
        for side in SIDES
        for row in table[side]
        for precision in row.precisions
    ]


# ---------------------------------------------------------------- nothing is left out


@pytest.mark.parametrize("side", SIDES)
def test_every_layer_is_compared_or_says_why_not(side: str) -> None:
    compared = {row.layer.kind for row in LAYERS[side] if required_only(row.layer) or row.layer.kind in ONE_OF}
    assert compared | set(WITHOUT[side]) == {kind.kind for kind in LAYER_KINDS}
    assert not compared & set(WITHOUT[side])
    assert set(WITHOUT_ACTIVATION[side]) <= {kind.kind for kind in ACTIVATIONS}


# ---------------------------------------------------------------- layers and activations


def compare(side: str, row: Row, precision: str) -> None:
    comparison = Comparison(side, row, precision)
    ours, theirs = comparison.ours(), comparison.theirs()
    assert row.own or comparison.native is None or type(comparison.native) is type(comparison.stock)
    assert len(theirs.weights) == len(comparison.graph.parameters) or row.pack
    close = row.close if precision == "float64" or row.precisions == ("float32",) else row.close * 2.0**29
    found = dict(ours.arrays())
    largest = max(np.abs(array).max() for _, array in theirs.arrays())  # some gradients are 0 but for rounding
    for name, wanted in theirs.arrays():
        got = found[name]
        assert got.shape == wanted.shape, name
        if close:
            np.testing.assert_allclose(got, wanted, rtol=close, atol=close * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(got, wanted, err_msg=name)


@pytest.mark.parametrize(("side", "row", "precision"), rows(LAYERS))
def test_layer_is_stock(side: str, row: Row, precision: str) -> None:
    """Output, gradients for inputs and weights, and running values, in training."""
    compare(side, row, precision)


@pytest.mark.parametrize(("side", "row", "precision"), rows({side: activation_rows(side) for side in SIDES}))
def test_activation_is_stock(side: str, row: Row, precision: str) -> None:
    compare(side, row, precision)


def weighted() -> list[Any]:
    return [
        pytest.param(side, row, id=f"{side}-{row.name}")
        for side in SIDES
        for row in LAYERS[side]
        if required_only(row.layer) and row.case(side).graph().weights
    ]


@pytest.mark.parametrize(("side", "row"), weighted())
def test_first_weights_are_drawn_as_stock_draws_them(side: str, row: Row) -> None:
    """Two samples of one distribution (Kolmogorov and Smirnov), or the same constant."""
    keras.utils.set_random_seed(1)
    mine, stock = Comparison(side, row, "float32").first_weights(60)
    assert mine.keys() == stock.keys()
    for name, drawn in stock.items():
        ours, theirs = (np.stack(arrays).ravel() for arrays in (mine[name], drawn))
        constant = np.ptp(np.stack(drawn), axis=0) == 0
        if constant.all():
            np.testing.assert_array_equal(mine[name][0], drawn[0], err_msg=name)
        else:
            assert stats.ks_2samp(ours, theirs).pvalue > 1e-4, name


# ---------------------------------------------------------------- losses


def kinds_of(table: dict[str, dict[str, Any]]) -> list[Any]:
    return [pytest.param(side, kind, id=f"{side}-{kind}") for side in SIDES for kind in table[side]]


@pytest.mark.parametrize("side", SIDES)
def test_every_loss_and_optimizer_is_compared_or_says_why_not(side: str) -> None:
    for stock, without, registry in (
        (LOSSES, WITHOUT_LOSS, LOSS_KINDS),
        (OPTIMIZERS, WITHOUT_OPTIMIZER, OPTIMIZER_KINDS),
    ):
        assert set(stock[side]) | set(without[side]) == {kind.kind for kind in registry}
        assert not set(stock[side]) & set(without[side])


def stock_loss(side: str, kind: str, outputs: Any, targets: Any) -> tuple[float, Any]:
    """Value of the stock loss, and its gradient for the outputs."""
    stock = LOSSES[side][kind]
    if side == "torch":
        given = torch.tensor(outputs, requires_grad=True)
        value = stock(given, torch.tensor(targets))
        value.backward()
        return value.item(), given.grad.numpy()
    given = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = stock(given, tf.constant(targets))
    return float(value), tape.gradient(value, given).numpy()


@pytest.mark.parametrize(("side", "kind"), kinds_of(LOSSES))
def test_loss_is_stock(side: str, kind: str) -> None:
    """Value and gradient in float64, where Keras' clipping of probabilities at 1e-7 changes nothing."""
    (loss,) = (item() for item in LOSS_KINDS if item.kind == kind)
    case = Case("stock", (CLASSES,), [Activation(function=Linear(), name="out")], loss, side, examples=30, scale=4.0)
    batch = case.batch()
    targets = batch.targets
    if loss.target != "class":
        targets = (targets + 1.0) / 2.0  # probabilities, counts and values alike
        targets = targets / targets.sum(-1, keepdims=True) if loss.prediction == "softmax" else targets
    inputs = batch.inputs
    if (side, kind) == ("keras", "poisson"):  # of means, not of their logarithms
        inputs = np.abs(inputs) + 0.1
    network = BACKENDS[side].build(case.graph(), {})
    found = network.gradients(Batch(inputs, targets), case.objective, taps=["out"])
    value, gradient = stock_loss(side, kind, found.values["out"], targets)
    close = ROUNDED_LOSSES.get((side, kind), 1e-13)
    assert found.loss == pytest.approx(value, rel=close)
    slope = found.values_gradients["out"]
    np.testing.assert_allclose(slope, gradient, rtol=0, atol=close * np.abs(gradient).max())


# ---------------------------------------------------------------- optimizers

UPDATES = 6


def newton_schulz_as_torch(gradient: Any, coefficients: Any, steps: int, eps: float) -> Any:
    """What ``torch.optim.Muon`` iterates, in full precision."""
    return newton_schulz(gradient / gradient.norm().clamp(min=eps), coefficients, steps)


class StockTraining:
    """A stock optimizer beside the adapter's, over the same parameters."""

    def __init__(self, side: str, stock: StockOptimizer, parameters: dict[str, Any]) -> None:
        self.side, names = side, list(parameters)
        if side == "torch":
            self.parameters = {name: nn.Parameter(torch.tensor(parameters[name])) for name in names}
            self.optimizer = stock.make(list(self.parameters.values()))
            self.lr = self.optimizer.param_groups[0]["lr"]
            return
        before = keras.config.floatx()
        keras.config.set_floatx(stock.precision)  # in which Keras keeps the rate
        try:
            self.parameters = {name: keras.Variable(parameters[name], dtype=stock.precision) for name in names}
            made = stock.make()
            self.lr = made.get_config()["learning_rate"]
            self.optimizer = exact(made) if stock.precision == "float64" else made
            self.optimizer.build(list(self.parameters.values()))
        finally:
            keras.config.set_floatx(before)

    def apply(self, gradients: dict[str, Any], lr: float) -> None:
        if self.side == "torch":
            self.optimizer.param_groups[0]["lr"] = lr
            for name, parameter in self.parameters.items():
                parameter.grad = torch.tensor(gradients[name])
            self.optimizer.step()
        else:
            self.optimizer.learning_rate = lr
            self.optimizer.apply([tf.constant(gradients[name]) for name in self.parameters])

    def values(self) -> dict[str, Any]:
        if self.side == "torch":
            return {name: item.detach().numpy() for name, item in self.parameters.items()}
        return {name: item.value.numpy() for name, item in self.parameters.items()}


@pytest.mark.parametrize(("side", "kind"), kinds_of(OPTIMIZERS))
def test_optimizer_is_stock(side: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six updates from gradients of 1 down to 1e-7 and 0, the rate the stock object's own and then a third of it."""
    stock = OPTIMIZERS[side][kind]
    if (side, kind) == ("torch", "muon"):  # PyTorch iterates in bfloat16, which no other framework repeats
        module = importlib.import_module("torch.optim._muon")
        monkeypatch.setattr(module, "_zeropower_via_newtonschulz", newton_schulz_as_torch)
    (optimizer,) = (item() for item in OPTIMIZER_KINDS if item.kind == kind)
    case = Case("stock", (5,), [Dense(6), Dense(4)], MeanSquaredError(), side)
    filled = case.spec(optimizer=optimizer).resolved.optimizer
    network = BACKENDS[side].build(case.graph(stock.precision), case.weights(stock.precision))
    trainer = network.trainer(case.objective, filled, batch_size=4)
    # The first of PyTorch's axes is the second of the neutral ones, which Muon and Adafactor look at.
    turned = (lambda array: array.T.copy()) if side == "torch" else (lambda array: array)
    start = {
        name: turned(array) for name, array in network.get_weights().items() if array.ndim == 2 or not stock.matrices
    }
    theirs = StockTraining(side, stock, start)
    assert theirs.lr == (filled.lr if stock.precision == "float64" else pytest.approx(filled.lr, rel=1e-7))
    for update in range(UPDATES):
        lr = theirs.lr * (1.0 if update < UPDATES // 2 else 1 / 3)
        drawn = gradients(case, update, stock.precision)
        trainer.apply(drawn, lr)
        theirs.apply({name: turned(drawn[name]) for name in start}, lr)
    ours, wanted = network.get_weights(), theirs.values()
    for name, before in start.items():
        moved = np.abs(wanted[name] - before)
        assert moved.max() > 0
        gap = np.abs(turned(ours[name]) - wanted[name])
        unit = np.finfo(stock.precision).eps * np.abs(before)  # the parameter's own rounding at each update
        assert (gap <= stock.close * moved + 2 * UPDATES * unit).all(), (name, (gap / (moved + 1e-300)).max())
