"""Figures of a backend: how close each row of the conformance suite comes to its limit.

The conformance checks say yes or no; this measures the same differences and says how large they are and to which
part of the catalogue each of them belongs. ``rho`` is an error in units of the float64 reference's bound on rounding,
judged node by node, so a part's ``rho`` holds no error of another part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dualml import reference, registry
from dualml.parity.judge import judgement
from dualml.protocol import Array, Arrays, Backend, Gradients, Network
from dualml.spec.base import Keyed
from dualml.spec.graph import Node, Precision
from dualml.spec.layers import Layer
from dualml.testing import oracle
from dualml.testing.cases import LOSS_CASES, PLAIN, RATES, Case, Update, gradients
from dualml.testing.checks_gradients import objective_and_bound


class Part(NamedTuple):
    """Something the catalogue lists."""

    group: str
    """``layer``, ``activation``, ``loss``, ``regularizer``, ``optimizer`` or ``clipping``."""
    kind: str
    """What a spec calls it."""


_DENSE = Part("layer", "dense")
_SCAFFOLD = frozenset({_DENSE, Part("layer", "activation")})


def part_of(node: Node) -> Part:
    """The part that a node of a graph is."""
    if node.operation == "activation":
        return Part("activation", node.settings.function.kind)
    return Part("layer", node.operation)


def _held(settings: Any) -> Iterator[Keyed]:
    """Every layer and every other keyed setting inside some settings, at any depth."""
    if isinstance(settings, Keyed):
        yield settings
        for name in type(settings).model_fields:
            yield from _held(getattr(settings, name))
    elif isinstance(settings, tuple | list):
        for item in settings:
            yield from _held(item)


def named_parts(case: Case) -> frozenset[Part]:
    """The layers that a case names itself, those made of other layers among them."""
    return frozenset(Part("layer", item.kind) for item in _held(tuple(case.layers)) if isinstance(item, Layer))


def parts(case: Case) -> frozenset[Part]:
    """Every part that occurs in a case."""
    penalties = {Part("regularizer", item.kind) for item in case.regularizers}
    losses = {Part("loss", term.loss.kind) for term in case.objective.terms}
    return named_parts(case) | {part_of(node) for node in case.graph().nodes} | losses | penalties


def subjects(case: Case) -> frozenset[Part]:
    """What a case is about: the parts to which figures of the whole model belong.

    The penalties of a case that has some; else the losses in a row of losses; else its layers but for the dense and
    activation layers around them; else its activations; else the dense layer.
    """
    by_group: dict[str, set[Part]] = {}
    for part in parts(case):
        by_group.setdefault(part.group, set()).add(part)
    if "regularizer" in by_group:
        return frozenset(by_group["regularizer"])
    if case in LOSS_CASES:
        return frozenset(by_group["loss"])
    return frozenset(named_parts(case) - _SCAFFOLD or by_group.get("activation", set()) or {_DENSE})


# ------------------------------------------------------------------ one pass


class _Charges(dict[Part, float]):
    """The largest number that was charged to each part."""

    def charge(self, to: Iterable[Part], rho: float) -> None:
        """Note a number for some parts."""
        for part in to:
            self[part] = max(self.get(part, 0.0), rho)


@dataclass(frozen=True)
class Rhos:
    """The largest ``rho`` of each part, one mapping for each direction.

    Attributes:
        forward: Of values of nodes, new buffers, losses and predictions.
        backward: Of gradients for nodes' inputs and for parameters.
    """

    forward: Mapping[Part, float]
    backward: Mapping[Part, float]


def network_rhos(network: Network, case: Case, precision: Precision) -> Rhos:
    """Judge forward passes in both modes, a forward and backward pass in training mode, losses and predictions.

    A layer that the graph holds as others has the largest figures of the whole model.

    Args:
        network: Built from the case in that precision, with the case's weights.
        case: The row.
        precision: Its number format.
    """
    graph, batch = case.graph(precision), case.batch(precision)
    got = network.gradients(batch, case.objective, masks=case.masks(), taps=graph.names)
    forward, backward = _Charges(), _Charges()
    _judge_values(forward, got.values, case, precision, training=True)
    for training in (True, False):
        values = network.forward(batch.inputs, training=training, masks=case.masks(), taps=graph.names)
        _judge_values(forward, values, case, precision, training=training)
    _judge_losses(forward, network, got, case, precision)
    _judge_gradients(forward, backward, got, case, precision)
    for charges in (forward, backward):
        whole = max(charges.values(), default=0.0)
        charges.update(dict.fromkeys(named_parts(case) - set(charges), whole))
    return Rhos(forward, backward)


def _judge_values(charges: _Charges, values: Arrays, case: Case, precision: Precision, *, training: bool) -> None:
    """Every node's value, given those of its inputs."""
    graph = case.graph(precision)
    known = {**values, **graph.named_inputs(case.inputs(precision))}
    masks = case.masks() if training else None
    for name, must in oracle.composed(graph, case.weights(precision), known, masks, training=training).items():
        charges.charge({part_of(graph.by_name[name])}, judgement(values[name], must.value, must.bound).rho)


def _judge_losses(charges: _Charges, network: Network, got: Gradients, case: Case, precision: Precision) -> None:
    """The objective for the outputs, and predictions."""
    graph, inputs = case.graph(precision), case.inputs(precision)
    unit, losses = reference.unit_roundoff(precision), _losses(case)
    scored, bounds = objective_and_bound(case, precision, got.values, None)
    charges.charge(losses.values(), judgement(got.example_losses, scored.examples, bounds.examples).rho)
    of_value = judgement(np.array(got.loss), np.array(scored.value), np.array(bounds.value)).rho
    charges.charge((*losses.values(), *(Part("regularizer", item.kind) for item in case.regularizers)), of_value)
    outputs = network.forward(inputs, taps=graph.outputs)
    for name, part in losses.items():
        kind = graph.predictions[name]
        right = reference.predictions(kind, outputs[name])
        bound = reference.predictions_bound(kind, outputs[name], unit)
        charges.charge({part}, judgement(network.predict(inputs, output=name), right, bound).rho)


def _judge_gradients(forward: _Charges, backward: _Charges, got: Gradients, case: Case, precision: Precision) -> None:
    """What each node passes on, given what it was given: to whoever uses a value, to whoever holds a parameter."""
    graph, weights, unit = case.graph(precision), case.weights(precision), reference.unit_roundoff(precision)
    must = reference.local_gradients(
        graph, weights, case.batch(precision), case.objective, got, masks=case.masks(), unit=unit
    )
    users: dict[str, set[Part]] = {name: set() for name in graph.names}
    holders: dict[str, set[Part]] = {item.name: set() for item in graph.weights}
    for node in graph.nodes:
        for name in node.inputs:
            users[name].add(part_of(node))
        for item in node.weights:
            holders[item.name].add(part_of(node))
    for name, part in _losses(case).items():
        users[name].add(part)
    for penalty in case.regularizers:
        for name in must.parameters:
            if penalty.applies(name):
                holders[name].add(Part("regularizer", penalty.kind))
    for name, right in must.values.items():
        rho = judgement(got.values_gradients[name], right, must.value_bounds[name]).rho
        backward.charge(users[name], rho)
    for name, right in must.parameters.items():
        backward.charge(holders[name], judgement(got.parameters[name], right, must.parameter_bounds[name]).rho)
    for name, right in must.buffers.items():
        forward.charge(holders[name], judgement(got.buffers[name], right, must.buffer_bounds[name]).rho)


def _losses(case: Case) -> dict[str, Part]:
    """The loss of each output node."""
    terms = zip(case.graph().outputs, case.objective.terms, strict=True)
    return {output: Part("loss", term.loss.kind) for output, term in terms}


# ------------------------------------------------------------------ central differences


def exact_gradients(case: Case) -> dict[str, oracle.Judged]:
    """Gradients of a case's loss for its parameters and the values of its nodes, by central differences in float64."""
    arguments = (case.graph(), case.weights(), case.batch(), case.objective, case.masks())
    return {
        **{f"parameter {name}": must for name, must in oracle.parameter_gradients(*arguments).items()},
        **{f"value {name}": must for name, must in oracle.value_gradients(*arguments).items()},
    }


class Distance(NamedTuple):
    """How far gradients are from central differences."""

    relative: float
    """Largest distance, relative to the largest gradient of the case."""
    rho: float
    """Largest distance in units of what the differences themselves may be off."""


def distance_to_differences(network: Network, case: Case, exact: Mapping[str, oracle.Judged]) -> Distance:
    """Compare a network's gradients in float64 with ``exact_gradients`` of its case."""
    got = network.gradients(case.batch(), case.objective, masks=case.masks(), taps=case.graph().names)
    largest = max((float(np.abs(must.value).max()) for must in exact.values()), default=0.0)
    relative, rho = 0.0, 0.0
    for name, must in exact.items():
        kind, _, own = name.partition(" ")
        array = np.asarray(got.parameters[own] if kind == "parameter" else got.values_gradients[own])
        rho = max(rho, judgement(array, must.value, must.bound).rho)
        apart = float(np.abs(array - must.value).max())
        relative = max(relative, apart / largest if largest else (math.inf if apart else 0.0))
    return Distance(relative, rho)


# ------------------------------------------------------------------ updates


def update_rho(backend: Backend, row: Update, precision: Precision) -> float:
    """The largest ``rho`` of parameters and slots over updates from given gradients, with one change of the rate.

    Raises:
        UnsupportedError: The backend does not declare the optimizer.
    """
    registry.check(backend, PLAIN.spec(precision, optimizer=row.optimizer))
    network = backend.build(PLAIN.graph(precision), PLAIN.weights(precision))
    trainer = network.trainer(PLAIN.objective, row.optimizer, batch_size=PLAIN.examples, clip=row.clip, compiled=False)
    worst = 0.0
    for number, lr in enumerate(RATES):
        given, weights, state = gradients(PLAIN, number, precision), network.get_weights(), trainer.get_state()
        must = oracle.updated(row.optimizer, row.clip, weights, given, state, lr, precision=precision)
        trainer.apply(given, lr)
        found, after = network.get_weights(), trainer.get_state()
        pairs: list[tuple[Array, oracle.Judged]] = [(found[name], right) for name, right in must.parameters.items()]
        for slot, arrays in must.slots.items():
            pairs += [(after.slots[slot][name], right) for name, right in arrays.items()]
        worst = max([worst, *(judgement(array, right.value, right.bound).rho for array, right in pairs)])
    return worst
