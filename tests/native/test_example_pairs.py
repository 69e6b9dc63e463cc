"""The pairs of ``examples/diff``: equal once defaults are made equal; every default that differs is found and named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("keras")

import dualml

PAIRS = Path(__file__).parents[2] / "examples" / "diff"
ROWS = 12

BATCH_NORM = {"norm.epsilon", "norm.momentum", "norm.unbiased_variance"}
ADAM = {"optimizer.epsilon", "optimizer.epsilon_placement"}
DIFFERENT_DEFAULTS = {
    "mlp": {"activation.slope", "optimizer.lr", "optimizer.betas", *ADAM},  # RMSprop
    "lenet": {*BATCH_NORM, "optimizer.lr"},
    "residual": {*BATCH_NORM, "padding.same_stride", "optimizer.weight_decay", *ADAM},
    "lstm": {"layout.rnn_bias", "optimizer.lr"},
    "gru": {"optimizer.lr", "optimizer.initial_accumulator", *ADAM},
    "transformer": {"norm.epsilon", "activation.gelu_approximation", *ADAM},
}
"""What the two frameworks choose differently in each pair where nothing is said."""


def batch(family):
    generator = np.random.default_rng(1)
    images = {"lenet": (1, 28, 28), "residual": (3, 16, 16)}
    series = {"mlp": (20,), "gru": (10, 6), "transformer": (9, 12)}
    classes = {"lstm": 4, "gru": 3}.get(family, 10)
    if family == "lstm":
        inputs = generator.integers(0, 50, (ROWS, 9))
    else:
        inputs = generator.normal(size=(ROWS, *{**images, **series}[family])).astype(np.float32)
    return inputs, generator.integers(0, classes, ROWS)


def load(name, function):
    spec = importlib.util.spec_from_file_location(f"pair_{name}", PAIRS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)()


def compared(family, function):
    inputs, targets = batch(family)
    return dualml.diff(load(f"{family}_torch", function), load(f"{family}_keras", function), inputs, targets)


@pytest.mark.parametrize("family", sorted(DIFFERENT_DEFAULTS))
def test_equal_once_the_defaults_are(family):
    report = compared(family, "matched")
    assert [(item.cause.id, item.phase, item.names) for item in report.native.findings] == []
    assert report.verdict == "equal", report.reasons


@pytest.mark.parametrize("family", sorted(DIFFERENT_DEFAULTS))
def test_every_default_that_differs_is_named(family):
    report = compared(family, "training")
    assert report.verdict == "different"
    found = {item.cause.id for item in report.native.findings}
    assert found == DIFFERENT_DEFAULTS[family]


def test_every_pair_is_here():
    assert {path.stem.rsplit("_", 1)[0] for path in PAIRS.glob("*.py")} == set(DIFFERENT_DEFAULTS)
