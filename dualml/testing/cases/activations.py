"""Each activation with its settings, and with what each convention fills in."""

from __future__ import annotations

import numpy as np

from dualml.spec.activations import (
    Celu,
    ClippedRelu,
    Elu,
    Exponential,
    Gelu,
    HardShrink,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyRelu,
    Linear,
    LogSigmoid,
    LogSoftmax,
    Mish,
    Relu,
    Relu6,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    SoftShrink,
    Softsign,
    SparsePlus,
    SparseSigmoid,
    Squareplus,
    Swish,
    Tanh,
    TanhShrink,
    Threshold,
)
from dualml.spec.base import Keyed
from dualml.spec.config import Conventions
from dualml.spec.layers import Activation, Dense
from dualml.testing.cases.base import Case, values


def activation_case(name: str, function: Keyed, conventions: Conventions = "torch") -> Case:
    """A network with one activation inside."""
    return Case(name, (4,), [Dense(units=4, activation=function), Dense(units=3)], conventions=conventions)


CASES: tuple[Case, ...] = (
    activation_case("relu", Relu()),
    activation_case("tanh", Tanh()),
    activation_case("sigmoid", Sigmoid()),
    activation_case("gelu-exact", Gelu(approximate="none")),
    activation_case("gelu-tanh", Gelu(approximate="tanh")),
    activation_case("leaky-relu", LeakyRelu(negative_slope=0.1)),
    activation_case("leaky-relu-negative", LeakyRelu(negative_slope=-0.3)),
    activation_case("leaky-relu-torch", LeakyRelu()),
    activation_case("leaky-relu-keras", LeakyRelu(), "keras"),
    activation_case("elu", Elu(alpha=0.7)),
    activation_case("elu-torch", Elu()),
    activation_case("elu-keras", Elu(), "keras"),
    activation_case("silu", Silu()),
    activation_case("softplus", Softplus(beta=1.7, threshold="none")),
    activation_case("softplus-threshold", Softplus(beta=1.7, threshold=0.6)),
    activation_case("softplus-torch", Softplus()),
    activation_case("softplus-keras", Softplus(), "keras"),
    activation_case("gelu-torch", Gelu()),
    activation_case("gelu-keras", Gelu(), "keras"),
    activation_case("softmax", Softmax()),
    activation_case("relu6", Relu6()),
    activation_case("clipped-relu-max", ClippedRelu(0.8)),
    activation_case("clipped-relu", ClippedRelu(1.1, negative_slope=0.2, threshold=0.3)),
    activation_case("clipped-relu-no-max", ClippedRelu(negative_slope=0.2, threshold=0.3)),
    activation_case("selu", Selu()),
    activation_case("celu", Celu(alpha=0.3)),
    activation_case("celu-alpha-torch", Celu()),
    activation_case("celu-alpha-keras", Celu(), "keras"),
    activation_case("swish", Swish(1.702)),
    activation_case("mish", Mish()),
    activation_case("hard-swish", HardSwish()),
    activation_case("hard-sigmoid", HardSigmoid()),
    activation_case("log-sigmoid", LogSigmoid()),
    activation_case("sparse-sigmoid", SparseSigmoid()),
    activation_case("hard-tanh", HardTanh()),
    activation_case("hard-tanh-uneven", HardTanh(minimum=-0.3, maximum=0.7)),
    activation_case("tanh-shrink", TanhShrink()),
    activation_case("hard-shrink", HardShrink(0.3)),
    activation_case("soft-shrink", SoftShrink(0.4)),
    activation_case("softsign", Softsign()),
    activation_case("squareplus", Squareplus(0.3)),
    activation_case("sparse-plus", SparsePlus()),
    activation_case("threshold", Threshold(at=0.2, value=-0.7)),
    activation_case("exponential", Exponential()),
    activation_case("linear", Linear()),
    activation_case("log-softmax", LogSoftmax()),
    Case("softmax-over-first-axis", (2, 3), [Activation(function=Softmax(axis=0)), Dense(units=2)], **values()),
    Case("log-softmax-over-middle-axis", (2, 3, 2), [Activation(function=LogSoftmax(axis=-2))], **values()),
    Case("softmax-over-last-axis", (2, 3), [Activation(function=Softmax()), Dense(units=2)], **values()),
)
"""Each activation with its settings, and with what each convention fills in."""


EDGE_INPUTS = np.array(
    [[-100.0, -20.5, -5.0, -1.0], [-0.3, -1e-3, 0.0, 1e-3], [0.3, 1.0, 5.0, 11.0], [12.5, 19.5, 20.5, 100.0]]
)
"""Inputs of an activation where it saturates, changes its formula or would overflow; shape ``(4, 4)``."""
