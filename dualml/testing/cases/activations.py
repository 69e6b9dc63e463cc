"""Each activation with its settings, and with what each convention fills in."""

from __future__ import annotations

import numpy as np

from dualml.spec.activations import Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh
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
    Case("softmax-over-last-axis", (2, 3), [Activation(function=Softmax()), Dense(units=2)], **values()),
)
"""Each activation with its settings, and with what each convention fills in."""


EDGE_INPUTS = np.array(
    [[-100.0, -20.5, -5.0, -1.0], [-0.3, -1e-3, 0.0, 1e-3], [0.3, 1.0, 5.0, 11.0], [12.5, 19.5, 20.5, 100.0]]
)
"""Inputs of an activation where it saturates, changes its formula or would overflow; shape ``(4, 4)``."""
