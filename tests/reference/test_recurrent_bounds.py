"""Bounds of recurrent layers: sound at every step, and useful after many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dualml import reference
from dualml.reference.layers import recurrent
from dualml.reference.layers.steps import advance, start
from dualml.reference.rounding import Rounded
from dualml.reference.trace import Traced, gradients, source
from dualml.spec.config import Spec
from dualml.weights import initial_weights

UNIT = 2.0**-53
STEPS: list[tuple[str, dict[str, Any], Any]] = [
    ("simple_rnn", {}, recurrent._SimpleRnnStep),
    ("simple_rnn", {"nonlinearity": "relu"}, recurrent._SimpleRnnStep),
    ("lstm", {}, recurrent._LstmStep),
    ("gru", {}, recurrent._GruStep),
    ("gru", {"reset_after": False}, recurrent._GruStep),
]


def node_of(kind: str, time: int, units: int, **settings: Any) -> tuple[Any, dict[str, Any]]:
    layer = {kind: {"units": units, "return_sequences": True, **settings}}
    model = {"input": [time, 5], "layers": [layer]}
    graph = Spec(model=model, loss="mse", optimizer="sgd", precision="float64").resolved.graph
    return graph.nodes[0], initial_weights(graph, 0)


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("scale", [0.2, 4.0])
@pytest.mark.parametrize(("kind", "settings", "make"), STEPS)
def test_no_step_stretches_an_error_by_more_than_its_gains(kind: str, settings: Any, make: Any, scale: float) -> None:
    """The spectral norms of each block of the Jacobian, within a neighbourhood of the states."""
    units, examples, reach = 6, 3, 0.05
    node, drawn = node_of(kind, 3, units, **settings)
    weights = {item.role: source(scale * drawn[item.name]) for item in node.parameters}
    step = make(node.settings, weights)
    count = 2 if kind == "lstm" else 1
    x, states = numbers(examples, 5), 0.8 * np.tanh(numbers(count, examples, units, seed=1))
    rounded = {role: source(value.value, UNIT) for role, value in weights.items()}
    gains = step.gains(source(x, UNIT), Traced(Rounded(states, reach, UNIT), differentiated=True), rounded)
    tightest = np.inf
    for seed in range(8):
        near = states + reach * np.sign(numbers(*states.shape, seed=seed)) * (seed > 0)
        at = source(near)
        after = step(source(x), at, weights)
        jacobian = np.zeros((count, units, *states.shape))
        for block in range(count):
            for unit in range(units):
                one = np.zeros(states.shape)
                one[block, :, unit] = 1.0
                (jacobian[block, unit],) = gradients(after, one, [at])
        for into in range(count):
            for out in range(count):
                norms = np.linalg.norm(jacobian[into, :, out].transpose(1, 0, 2), 2, axis=(1, 2))
                assert (norms <= gains[into, out]).all()
                tightest = min(tightest, (gains[into, out] / np.maximum(norms, 1e-300)).min())
    assert tightest < 4.0


@pytest.mark.parametrize(("kind", "settings", "make"), STEPS)
def test_disturbed_steps_stay_within_the_bounds(kind: str, settings: Any, make: Any) -> None:
    """Each step's result off by as much as a step from exact states may be, in random directions."""
    units, examples, time = 8, 4, 40
    node, drawn = node_of(kind, time, units, **settings)
    weights = {item.role: source(drawn[item.name]) for item in node.parameters}
    rounded = {role: source(value.value, UNIT) for role, value in weights.items()}
    step, x = make(node.settings, weights), numbers(examples, time, 5)
    count = 2 if kind == "lstm" else 1
    bounded, plain = start(count, examples, units), start(count, examples, units)
    disturbed = np.zeros((count, examples, units))
    random = np.random.default_rng(2)
    for place in range(time):
        exact = Traced(Rounded(plain.states.value, 0.0, UNIT), differentiated=True)
        own = step(source(x[:, place], UNIT), exact, rounded).number.error
        bounded = advance(step, source(x[:, place], UNIT), bounded, rounded)
        plain = advance(step, source(x[:, place]), plain, weights)
        disturbed = step(source(x[:, place]), source(disturbed), weights).value
        disturbed = disturbed + 0.9 * own * random.choice([-1.0, 1.0], own.shape)
        off = np.abs(disturbed - plain.states.value)
        assert (off <= bounded.states.number.error + 1e-15 * UNIT).all()
        assert (np.sqrt((off**2).sum(-1)) <= bounded.norms).all()


@pytest.mark.parametrize("kind", ["simple_rnn", "lstm", "gru"])
def test_bounds_say_something_after_fifty_steps(kind: str) -> None:
    node, weights = node_of(kind, 50, 32)
    x, gradient = numbers(2, 50, 5), numbers(2, 50, 32, seed=1)
    assert reference.forward_bound(node, weights, [x], training=True, unit=UNIT).max() < 1e-6
    _, values = reference.node_backward(node, weights, [x], gradient, training=True)
    _, bounds = reference.backward_bound(node, weights, [x], gradient, training=True, unit=UNIT)
    for name, value in values.items():
        assert bounds[name].max() < 1e-3 * np.abs(value).max(), name
