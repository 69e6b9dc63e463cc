"""Claims, weights and recorded arrays made with the reference, for tests of naming causes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dualml.conventions import PRESETS, fill
from dualml.native.protocol import ReadLoss, ReadOptimizer
from dualml.parity.hypotheses import LossCase, UpdateStep, Use
from dualml.parity.hypotheses.loss_forms import LossForm
from dualml.protocol import State
from dualml.reference import (
    clip,
    forward_bound,
    initial_state,
    new_buffers,
    node_backward,
    node_forward,
    update,
)
from dualml.spec.graph import Node
from dualml.spec.graph_builder import build_graph
from dualml.spec.model import Input, Model

UNIT = 2.0**-53

CASES: list[tuple[str, str, object]] = []
"""Cause id, a name, and a function that returns what was tried."""


def case(cause, name):
    """Adds a function to the cases."""

    def add(function):
        CASES.append((cause, name, function))
        return function

    return add


def numbers(*shape, seed=0, low=None):
    random = np.random.default_rng([seed, *shape])
    return random.uniform(low, low + 1.0, shape) if low is not None else random.normal(size=shape)


IMAGE = (6, 7, 3)
x_image, x_flat, x_steps = numbers(4, *IMAGE), numbers(5, 8), numbers(4, 6, 5)


def node(layer, *shapes, conventions="torch", integer=False, mask=None) -> Node:
    """The node of one layer with these inputs; the second and further inputs are named by it."""
    names = [f"x{place}" for place in range(len(shapes))]
    inputs = {
        name: Input(shape=shape, dtype="integer" if integer else "float")
        for name, shape in zip(names, shapes, strict=True)
    }
    if mask is not None:
        inputs["kept"] = Input(shape=mask)
        layer = layer.model_copy(update={"mask": "kept"})
    layer = fill(
        layer.model_copy(update={"inputs": names if len(names) > 1 else names[0], "name": "layer"}),
        PRESETS[conventions],
    )
    graph = build_graph(Model(inputs=inputs, layers=[layer]), "float64", ["identity"])
    return graph.nodes[-1]


def weights_of(item: Node, seed=0) -> dict[str, np.ndarray]:
    positive = ("running_variance",)
    return {
        weight.name: numbers(*weight.shape, seed=seed + place, low=0.5)
        if weight.role in positive
        else 0.5 * numbers(*weight.shape, seed=seed + place)
        for place, weight in enumerate(item.weights)
    }


def ulp(array, seed=5):
    """An array with its last places moved by half a unit or so, as another order of operations would."""
    random = np.random.default_rng(seed)
    return array * (1.0 + UNIT * random.integers(-1, 2, np.shape(array)))


def ran(item: Node, weights, *inputs, training=False, mask=None):
    """What a side gives that follows a claim, off by up to half of what correct rounding may be."""
    given = {"training": training, "mask": mask}
    bound = forward_bound(item, weights, inputs, **given, unit=UNIT)
    share = np.random.default_rng(7).uniform(-0.5, 0.5, bound.shape)
    return node_forward(item, weights, inputs, **given) + share * bound


def buffers_of(item: Node, weights, x):
    after = new_buffers(item, weights, [x])
    return after if item.settings.frozen else {name: ulp(array) for name, array in after.items()}


def use_of(meant: Node, said: Node | None, weights, x, received, target, mask=None) -> Use:
    return Use(meant, said, weights, [x], received, target, mask)


def passed(item: Node, weights, x, received, target):
    inputs, parameters = node_backward(item, weights, [x], received, training=True)
    return ulp(inputs[target] if isinstance(target, int) else parameters[item.weight(target).name])


def read_loss(loss, probabilities=False) -> ReadLoss:
    return ReadLoss(fill(loss, PRESETS["torch"]), from_probabilities=probabilities)


def loss_case(form: LossForm, outputs, targets, **more) -> LossCase:
    value, slope = form.evaluate(outputs, targets, UNIT)
    return LossCase(outputs, targets, value[0], ulp(slope[0]), **more)


def read_optimizer(optimizer, lr=0.01, conventions="torch", **more) -> ReadOptimizer:
    names = more.pop("parameters", ("dense.kernel", "dense.bias"))
    return ReadOptimizer(fill(optimizer, PRESETS[conventions]), lr, names, **more)


def changed(read: ReadOptimizer, **settings: Any) -> ReadOptimizer:
    optimizer = read.optimizer
    values = {name: getattr(optimizer, name) for name in type(optimizer).model_fields}
    return dataclasses.replace(read, optimizer=type(optimizer)(**{**values, **settings}))


def updates(read: ReadOptimizer, meant_lr=None, count=4, *, with_state=False, factor=1.0, rates=None, frozen=()):
    """What an optimizer does that follows a claim: gradients of many sizes, the rate halved before the last update.

    Args:
        read: The claim that is followed.
        meant_lr: The rate that is meant; None: the claim's own.
        count: Updates.
        with_state: Whether its memory is handed on.
        factor: What gradients are multiplied by before.
        rates: The rate of each update, instead.
        frozen: Parameters that never move.
    """
    parameters = {"dense.kernel": numbers(6, 5), "dense.bias": numbers(5, seed=1)}
    state = initial_state(read.optimizer, parameters)
    steps = []
    for place in range(count):
        sizes = np.array([1.0, 1e-3, 1e-7, 0.3])
        gradients = {
            name: numbers(*array.shape, seed=10 + place)
            * sizes[(np.arange(array.size) + place) % 4].reshape(array.shape)
            for name, array in parameters.items()
        }
        if place == 1:  # too small to be clipped
            gradients = {name: 0.01 * array for name, array in gradients.items()}
        half = 0.5 if place == count - 1 else 1.0
        said = read.lr * half if rates is None else rates[place]
        given = clip(read.clip, {name: array * factor for name, array in gradients.items()})
        after, next_state = update(read.optimizer, parameters, given, state, said)
        after = {name: parameters[name] if name in frozen else ulp(array) for name, array in after.items()}
        meant = said if meant_lr is None else meant_lr[place] if isinstance(meant_lr, tuple) else meant_lr * half
        steps.append(UpdateStep(place + 1, parameters, gradients, after, meant, said, state if with_state else None))
        parameters, state = after, State(next_state.step, next_state.slots)
    return steps
