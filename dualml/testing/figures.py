"""Figures of a backend: how close each row of the conformance suite comes to its limit.

The conformance checks say yes or no; this measures the same differences and says how large they are and to which
part of the catalogue each of them belongs. ``rho`` is an error in units of the float64 reference's bound on rounding,
judged node by node, so a part's ``rho`` holds no error of another part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dualml import reference, registry
from dualml.parity.judge import judgement
from dualml.protocol import Array, Arrays, Backend, Network
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
    return frozenset(named_parts(case) - _SCAFFOLD or by_group.get("activation", ()) or {_DENSE})


# ------------------------------------------------------------------ one pass


@dataclass
class Rhos:
    """The largest ``rho`` of each part, one dictionary for each direction."""

    forward: dict[Part, float] = field(default_factory=dict)
    """Values of nodes, new buffers, losses and predictions."""
    backward: dict[Part, float] = field(default_factory=dict)
    """Gradients for nodes' inputs and for parameters."""

    def of_model(self) -> tuple[float, float]:
        """The largest of all parts, forward and backward."""
        return max(self.forward.values(), default=0.0), max(self.backward.values(), default=0.0)


def _charge(found: dict[Part, float], charged: frozenset[Part] | set[Part], rho: float) -> None:
    for part in charged:
        found[part] = max(found.get(part, 0.0), rho)


def network_rhos(network: Network, case: Case, precision: Precision) -> Rhos:
    """Judge a forward pass in either mode, a forward and backward pass in training mode, losses and predictions.

    Args:
        network: Built from the case in that precision, with the case's weights.
        case: The row.
        precision: Its number format.
    """
    graph, weights, batch = case.graph(precision), case.weights(precision), case.batch(precision)
    masks, unit = case.masks(), reference.unit_roundoff(precision)
    given = graph.named_inputs(batch.inputs)
    losses = {output: Part("loss", term.loss.kind) for output, term in _terms(case)}
    found = Rhos()
    got = network.gradients(batch, case.objective, masks=masks, taps=graph.names)
    passes: list[tuple[bool, Arrays]] = [(True, got.values)]
    passes += [
        (training, network.forward(batch.inputs, training=training, masks=masks, taps=graph.names))
        for training in (False, True)
    ]
    for training, values in passes:
        judged = oracle.composed(graph, weights, {**values, **given}, masks if training else None, training=training)
        for node in graph.nodes:
            must = judged[node.name]
            rho = judgement(values[node.name], must.value, must.bound).rho
            _charge(found.forward, {part_of(node)}, rho)

    scored, bounds = objective_and_bound(case, precision, got.values, None)
    for recorded, right, bound in (
        (got.example_losses, scored.examples, bounds.examples),
        (np.array(got.loss), np.array(scored.value), np.array(bounds.value)),
    ):
        _charge(found.forward, set(losses.values()), judgement(recorded, right, bound).rho)
    outputs = network.forward(batch.inputs, taps=graph.outputs)
    for name, part in losses.items():
        kind, output = graph.predictions[name], outputs[name]
        right, bound = reference.predictions(kind, output), reference.predictions_bound(kind, output, unit)
        _charge(found.forward, {part}, judgement(network.predict(batch.inputs, output=name), right, bound).rho)

    must = reference.local_gradients(graph, weights, batch, case.objective, got, masks=masks, unit=unit)
    users: dict[str, set[Part]] = {name: set() for name in graph.names}
    owners: dict[str, set[Part]] = {item.name: set() for item in graph.parameters}
    for node in graph.nodes:
        for name in node.inputs:
            users[name].add(part_of(node))
        for item in node.parameters:
            owners[item.name].add(part_of(node))
        for buffer in node.buffers:
            if buffer.name in must.buffers:
                rho = judgement(
                    got.buffers[buffer.name], must.buffers[buffer.name], must.buffer_bounds[buffer.name]
                ).rho
                _charge(found.forward, {part_of(node)}, rho)
    for name, part in losses.items():
        users[name].add(part)
    for item in case.regularizers:
        for name in owners:
            if item.applies(name):
                owners[name].add(Part("regularizer", item.kind))
    for name, value in must.values.items():
        _charge(found.backward, users[name], judgement(got.values_gradients[name], value, must.value_bounds[name]).rho)
    for name, value in must.parameters.items():
        _charge(found.backward, owners[name], judgement(got.parameters[name], value, must.parameter_bounds[name]).rho)
    whole = found.of_model()
    for part in named_parts(case) - set(found.forward):  # those that the graph holds as other layers
        _charge(found.forward, {part}, whole[0])
        _charge(found.backward, {part}, whole[1])
    for item in case.regularizers:
        _charge(found.forward, {Part("regularizer", item.kind)}, found.forward[next(iter(losses.values()))])
    return found


def _terms(case: Case) -> Iterator[tuple[str, Any]]:
    return zip(case.graph().outputs, case.objective.terms, strict=True)


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
