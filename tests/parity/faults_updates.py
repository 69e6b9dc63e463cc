"""Faults of optimizers, schedules, inputs, and of the order of layers."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis_support import (
    CASES,
    UNIT,
    case,
    changed,
    numbers,
    read_optimizer,
    updates,
)

from dualml.parity.hypotheses import (
    explain_inputs,
    explain_update,
)
from dualml.spec import activations as functions
from dualml.spec.graph_builder import build_graph
from dualml.spec.layers import (
    Activation,
)
from dualml.spec.model import Input, Model
from dualml.spec.optimizers import (
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    GlobalNorm,
    ParameterNorm,
    RMSprop,
    Sgd,
    ValueLimit,
)


def learned(meant, did, steps=None, claimed=True, **more):
    """An optimizer that follows its own claim, judged by another."""
    found = steps if steps is not None else updates(did, meant.lr if meant.lr != did.lr else None, **more)
    return explain_update(meant, did if claimed else None, found, unit=UNIT)


def optimizers(cause, name, meant, did, unsaid=True, **more):
    CASES.append((cause, f"{name}, said", lambda: learned(meant, did, **more)))
    if unsaid:
        CASES.append((cause, f"{name}, unsaid", lambda: learned(meant, did, claimed=False, **more)))


adam, sgd, rms = read_optimizer(Adam()), read_optimizer(Sgd(momentum=0.9)), read_optimizer(RMSprop())
adamw = read_optimizer(AdamW())
optimizers("optimizer.kind", "rmsprop for adam", adam, rms)
optimizers("optimizer.kind", "amsgrad", adam, changed(adam, amsgrad=True))
optimizers("optimizer.lr", "ten times", adam, dataclasses.replace(adam, lr=0.1))
optimizers("optimizer.lr", "sgd", sgd, dataclasses.replace(sgd, lr=0.003))
optimizers("optimizer.epsilon", "1e-7", adam, changed(adam, epsilon=1e-7))
optimizers("optimizer.epsilon", "1e-5 with memory", adam, changed(adam, epsilon=1e-5), with_state=True)
optimizers("optimizer.epsilon_placement", "adam", adam, changed(adam, epsilon_placement="uncorrected"))
optimizers("optimizer.epsilon_placement", "rmsprop", rms, changed(rms, epsilon_placement="inside"))
optimizers(
    "optimizer.epsilon_placement",
    "adamax",
    read_optimizer(Adamax(epsilon=1e-4)),
    changed(read_optimizer(Adamax(epsilon=1e-4)), epsilon_placement="norm"),
)
optimizers("optimizer.betas", "beta1", adam, changed(adam, beta1=0.95))
optimizers("optimizer.betas", "beta2", adam, changed(adam, beta2=0.99))
optimizers("optimizer.betas", "rho", rms, changed(rms, rho=0.9))
optimizers("optimizer.momentum", "0.8", sgd, changed(sgd, momentum=0.8))
optimizers("optimizer.nesterov", "on", sgd, changed(sgd, nesterov=True))
optimizers("optimizer.lr_inside_momentum", "with a change of the rate", sgd, changed(sgd, lr_in_momentum=True))
optimizers("optimizer.weight_decay", "another", adamw, changed(adamw, weight_decay=0.004))
optimizers("optimizer.weight_decay", "none", adamw, changed(adamw, weight_decay=0.0))
decayed = changed(adam, weight_decay=0.01)
optimizers("optimizer.decay_coupling", "decoupled", decayed, changed(decayed, decay="decoupled"))
optimizers("optimizer.decay_coupling", "coupled", adamw, decayed)
optimizers("optimizer.decay_scope", "kernels", adamw, changed(adamw, decay_scope="kernels"))
optimizers(
    "optimizer.initial_accumulator",
    "0.1",
    read_optimizer(Adagrad()),
    changed(read_optimizer(Adagrad()), initial_accumulator=0.1),
)
optimizers(
    "clipping.scope",
    "each by itself",
    dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=1e-6)),
    dataclasses.replace(sgd, clip=ParameterNorm(1.0, epsilon=1e-6)),
)
optimizers("clipping.scope", "none", dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=1e-6)), sgd)
optimizers(
    "clipping.scope",
    "numbers",
    dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=1e-6)),
    dataclasses.replace(sgd, clip=ValueLimit(1.0)),
)
optimizers(
    "clipping.value",
    "limit",
    dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=1e-6)),
    dataclasses.replace(sgd, clip=GlobalNorm(0.5, epsilon=1e-6)),
)
optimizers(
    "clipping.value",
    "epsilon",
    dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=1e-6)),
    dataclasses.replace(sgd, clip=GlobalNorm(1.0, epsilon=0.0)),
)


@case("optimizer.bias_correction", "left out")
def _():
    settings = adam.optimizer
    parameters, first, second = numbers(4, 3), 0.0, 0.0
    steps = []
    from dualml.parity.hypotheses import UpdateStep

    for place in range(3):
        gradient = numbers(4, 3, seed=place)
        first = settings.beta1 * first + (1 - settings.beta1) * gradient
        second = settings.beta2 * second + (1 - settings.beta2) * gradient**2
        after = parameters - 0.01 * first / (np.sqrt(second) + settings.epsilon)
        steps.append(UpdateStep(place + 1, {"w": parameters}, {"w": gradient}, {"w": after}, 0.01))
        parameters = after
    return explain_update(adam, None, steps, unit=UNIT)


@case("optimizer.hyperparameter_precision", "as Keras has it")
def _():
    single = lambda value: float(np.float32(value))  # noqa: E731
    settings = adam.optimizer
    parameters, first, second = numbers(4, 3), np.zeros((4, 3)), np.zeros((4, 3))
    steps = []
    from dualml.parity.hypotheses import UpdateStep

    for place in range(3):
        gradient, t = numbers(4, 3, seed=place), place + 1
        rate = single(0.01) * np.sqrt(1 - single(0.999) ** t) / (1 - single(0.9) ** t)
        first = first + (gradient - first) * (1 - 0.9)
        second = second + (gradient**2 - second) * (1 - 0.999)
        after = parameters - rate * first / (np.sqrt(second) + settings.epsilon)
        steps.append(UpdateStep(t, {"w": parameters}, {"w": gradient}, {"w": after}, 0.01))
        parameters = after
    meant = changed(adam, epsilon_placement="uncorrected")
    return explain_update(meant, meant, steps, unit=UNIT)


@case("schedule.offset", "one update late")
def _():
    rates = (0.1, 0.1, 0.05, 0.05, 0.025)
    late = (0.1, *rates[:-1])
    meant = dataclasses.replace(sgd, lr=0.1, schedule=rates)
    did = dataclasses.replace(sgd, lr=0.1, schedule=late)
    steps = updates(did, rates, count=5, rates=late)
    return explain_update(meant, did, steps, unit=UNIT)


@case("gradients.accumulated", "the sum of pieces")
def _():
    return explain_update(sgd, sgd, updates(sgd, factor=4.0), unit=UNIT)


@case("parameters.frozen", "never moves")
def _():
    return explain_update(sgd, None, updates(sgd, frozen=("dense.bias",)), unit=UNIT)


pixels = np.round(numbers(6, 4, 5, 3, low=0.0) * 255.0)

CASES += [
    ("input.preprocessing", "255", lambda: explain_inputs(pixels / 255.0, pixels, unit=UNIT)),
    ("input.preprocessing", "BGR", lambda: explain_inputs(pixels, pixels[..., ::-1], unit=UNIT)),
    (
        "input.preprocessing",
        "standardised",
        lambda: explain_inputs(
            pixels / 255.0,
            (pixels / 255.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225]),
            unit=UNIT,
        ),
    ),
    (
        "input.preprocessing",
        "axes",
        lambda: explain_inputs(pixels, pixels.transpose(0, 2, 1, 3).reshape(pixels.shape), unit=UNIT),
    ),
    ("data.order", "shuffled", lambda: explain_inputs(pixels, pixels[[3, 1, 0, 2, 5, 4]], unit=UNIT)),
    ("data.last_batch", "dropped", lambda: explain_inputs(pixels, pixels[:4], unit=UNIT)),
    (
        "data.last_batch",
        "padded",
        lambda: explain_inputs(pixels, np.concatenate([pixels[:4], np.zeros_like(pixels[4:])]), unit=UNIT),
    ),
]


@case("graph.residual_order", "relu before the sum")
def _():
    from dualml.parity.hypotheses import explain_segment
    from dualml.spec.layers import Add

    relu = Activation(functions.Relu())
    inputs = {"a": Input(shape=(8,)), "b": Input(shape=(8,))}
    after = [Add(inputs=["a", "b"], name="sum"), relu.model_copy(update={"inputs": "sum", "name": "relu"})]
    before = [relu.model_copy(update={"inputs": "a", "name": "relu"}), Add(inputs=["relu", "b"], name="sum")]
    meant, said = (
        build_graph(Model(inputs=inputs, layers=layers), "float64", ["identity"]).nodes for layers in (after, before)
    )
    return explain_segment(meant, said, rho_before=1e9, rho_own=0.1)
