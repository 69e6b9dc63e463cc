"""What the nodes of a pair must do, evaluated on one side's own recorded arrays.

The left side says what is meant. A claim is a chain of its nodes together with the places, on one side, of the
values it reads and makes. So the same claim can be put to either side, and an error is charged where it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualml import reference
from dualml.native.protocol import OPAQUE
from dualml.native.transport import as_left
from dualml.protocol import Array, Arrays, Masks
from dualml.reference.rounding import Float, double, underflow_unit
from dualml.spec.graph import Node

TIES = ("max_pool", "adaptive_max_pool", "global_max_pool", "maximum", "minimum")
"""Beginnings of the operations whose gradient goes to one of several equal values: which one is a convention."""

_EXACT = 4.0
"""A bound of at most so many underflow units is that of an operation that only moves or picks numbers."""


@dataclass(frozen=True)
class Claim:
    """What some nodes must do, on one side.

    Attributes:
        nodes: In order; each feeds the next ones, the last one makes the output. None: the value passes unchanged.
        sources: What the nodes read from outside: name in the claim's graph to name of a value of the side.
        output: Name of the side's value that the last node's output must equal.
        weights: Name of a weight in the claim's graph to that of the side's.
        given: Weights of the claim that the side does not have, with the values that are meant.
        others: The side's own nodes, where they hold the weights in another form (one bias for two).
    """

    nodes: tuple[Node, ...]
    sources: Mapping[str, str]
    output: str
    weights: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Array] = field(default_factory=dict)
    others: tuple[Node, ...] = ()

    @property
    def opaque(self) -> bool:
        """Whether a node has no formula."""
        return any(node.operation == OPAQUE for node in self.nodes)

    def weight_arrays(self, weights: Arrays) -> dict[str, Array]:
        """The side's weights under the claim's names."""
        found = {**self.given, **{name: weights[own] for name, own in self.weights.items()}}
        return {**found, **as_left(self.nodes, self.others, weights)} if self.others else found


@dataclass(frozen=True)
class Wanted:
    """What a claim wants of an array.

    Attributes:
        value: Float64.
        bound: How far correct rounding may move each number; ``None``: no bound is certified for this chain.
        free: Where it wants nothing, because a convention about ties or kinks decides there.
    """

    value: Float
    bound: Float | None
    free: NDArray[np.bool_] | None = None


def forward(
    claim: Claim,
    values: Mapping[str, Array],
    weights: Arrays,
    *,
    training: bool,
    masks: Masks,
    unit: float,
) -> Wanted:
    """What the claim's output must be, from the values the side recorded.

    Args:
        claim: What is claimed.
        values: The side's values by name, neutral axes.
        weights: The side's weights by the names of its graph.
        training: Whether random layers and batch statistics are active.
        masks: By node of the claim's graph.
        unit: Unit roundoff of the working precision.
    """
    known = {name: double(values[own]) for name, own in claim.sources.items()}
    errors: dict[str, Float | None] = {name: np.zeros(1) for name in known}
    arrays = claim.weight_arrays(weights)
    last = next(iter(claim.sources))
    for node in claim.nodes:
        sources = [known[name] for name in node.inputs]
        mask = masks.get(node.name)
        known[node.name] = reference.node_forward(node, arrays, sources, training=training, mask=mask)
        bound = reference.forward_bound(node, arrays, sources, training=training, mask=mask, unit=unit)
        carried = [errors[name] for name in node.inputs]
        errors[node.name] = _carried(node, arrays, sources, carried, bound, training, mask, unit)
        last = node.name
    if not claim.nodes:
        return Wanted(known[last], np.full(known[last].shape, underflow_unit(unit)))
    return Wanted(known[last], errors[last])


def _carried(
    node: Node,
    weights: Arrays,
    sources: Sequence[Float],
    errors: Sequence[Float | None],
    bound: Float,
    training: bool,
    mask: Array | None,
    unit: float,
) -> Float | None:
    """The bound of a node whose inputs have errors themselves: certified where the node only moves numbers."""
    if any(error is None for error in errors):
        return None
    if not any(np.any(error) for error in errors if error is not None):
        return bound
    if np.any(bound > _EXACT * underflow_unit(unit)):
        return None
    spread = [
        np.broadcast_to(error, source.shape) for error, source in zip(errors, sources, strict=True) if error is not None
    ]
    return np.abs(reference.node_forward(node, weights, spread, training=training, mask=mask)) + bound


@dataclass(frozen=True)
class Passed:
    """What a claim's nodes pass back.

    Attributes:
        sources: By name of the side's value: what it gets from this claim.
        parameters: By name of the side's weight.
        ties: Gradients that a convention about ties or kinks decides, and which are not judged.
        meant: By name of a weight in the claim's graph that the side holds in another form, or not at all.
    """

    sources: Mapping[str, tuple[Wanted, ...]]
    parameters: Mapping[str, Wanted]
    ties: int = 0
    meant: Mapping[str, Wanted] = field(default_factory=dict)


def backward(
    claim: Claim,
    values: Mapping[str, Array],
    weights: Arrays,
    received: Array,
    *,
    masks: Masks,
    unit: float,
) -> Passed:
    """What the claim passes back from the gradient that the side recorded for its output.

    Args:
        claim: What is claimed.
        values: The side's values by name, neutral axes.
        weights: The side's weights by the names of its graph.
        received: The side's own gradient for the claim's output.
        masks: By node of the claim's graph.
        unit: Unit roundoff of the working precision.
    """
    known = {name: double(values[own]) for name, own in claim.sources.items()}
    arrays = claim.weight_arrays(weights)
    for node in claim.nodes[:-1]:
        sources = [known[name] for name in node.inputs]
        mask = masks.get(node.name)
        known[node.name] = reference.node_forward(node, arrays, sources, training=True, mask=mask)
    if not claim.nodes:
        own = next(iter(claim.sources.values()))
        gradient = double(received)
        return Passed({own: (Wanted(gradient, np.full(gradient.shape, underflow_unit(unit))),)}, {})
    pending: dict[str, list[Wanted]] = {claim.nodes[-1].name: [Wanted(double(received), np.zeros(received.shape))]}
    parameters: dict[str, list[Wanted]] = {}
    ties = 0
    for node in reversed(claim.nodes):
        arriving = _joined(pending.pop(node.name, []), unit)
        if arriving is None:
            continue
        sources = [known[name] for name in node.inputs]
        mask = masks.get(node.name)
        exact = arriving.bound is not None and not np.any(arriving.bound)
        to_inputs, to_parameters = reference.node_backward(
            node, arrays, sources, arriving.value, training=True, mask=mask
        )
        input_bounds, parameter_bounds = reference.backward_bound(
            node, arrays, sources, arriving.value, training=True, mask=mask, unit=unit
        )
        moves = not to_parameters and all(np.all(item <= _EXACT * underflow_unit(unit)) for item in input_bounds)
        moved: list[Float] | None = None
        if not exact and moves and arriving.bound is not None:
            back, _ = reference.node_backward(node, arrays, sources, arriving.bound, training=True, mask=mask)
            moved = [np.abs(item) for item in back]
        for place, name in enumerate(node.inputs):
            bound = input_bounds[place] if exact else None if moved is None else input_bounds[place] + moved[place]
            free = undecided(node, sources, place)
            if arriving.free is not None and np.any(arriving.free):
                free = np.ones(sources[place].shape, dtype=np.bool_)
            ties += 0 if free is None else int(free.sum())
            pending.setdefault(name, []).append(Wanted(to_inputs[place], bound, free))
        for name, term in to_parameters.items():
            parameters.setdefault(name, []).append(Wanted(term, parameter_bounds[name] if exact else None))
    found: dict[str, tuple[Wanted, ...]] = {}
    for name, own in claim.sources.items():
        found[own] = (*found.get(own, ()), *pending.get(name, ()))
    of_parameters: dict[str, Wanted] = {}
    meant: dict[str, Wanted] = {}
    for name, terms in parameters.items():
        total = _joined(terms, unit)
        if total is not None and name in claim.weights:
            of_parameters[claim.weights[name]] = total
        elif total is not None:
            meant[name] = total
    return Passed(found, of_parameters, ties, meant)


_PARTS = 4
"""A node may pass on its gradient in parts that join the sum one by one, as ``dualml.reference.network`` says."""


def _joined(terms: Sequence[Wanted], unit: float) -> Wanted | None:
    """The sum of gradients that come together."""
    if not terms:
        return None
    if len(terms) == 1:
        return terms[0]
    arrays = [term.value for term in terms]
    bounds = [term.bound for term in terms]
    size = np.sum(np.abs(arrays), axis=0)
    bound: Float | None = None
    if all(item is not None for item in bounds):
        added = reference.gamma(len(terms) - 1 + _PARTS, unit) * size + 2.0 * len(terms) * underflow_unit(unit)
        bound = np.sum([item for item in bounds if item is not None], axis=0) + added
    frees = [term.free for term in terms if term.free is not None]
    return Wanted(np.sum(arrays, axis=0), bound, np.any(frees, axis=0) if frees else None)


def joined(terms: Sequence[Wanted], shape: tuple[int, ...], unit: float) -> Wanted:
    """The sum of what several claims pass back to one value; zeros if none does."""
    return _joined(terms, unit) or Wanted(np.zeros(shape), np.full(shape, underflow_unit(unit)))


def undecided(node: Node, sources: Sequence[Float], place: int) -> NDArray[np.bool_] | None:
    """Where a node's gradient for an input is a convention: at kinks, and where several largest values are equal.

    Args:
        node: The node.
        sources: Its inputs.
        place: Which of them.

    Returns:
        Of the input's shape; ``None``: nowhere.
    """
    if node.operation.startswith(TIES):
        return _tied(node, sources, place)
    if node.operation == "activation":
        jumps = reference.kinks(node, sources)
        return jumps if jumps.shape == sources[place].shape and jumps.any() else None
    return None


def _tied(node: Node, sources: Sequence[Float], place: int) -> NDArray[np.bool_] | None:
    """Values that share the largest (or smallest) value of a window with another one."""
    if node.operation in ("maximum", "minimum"):
        others = [item for index, item in enumerate(sources) if index != place]
        tied = np.any([item == sources[place] for item in others], axis=0)
        return np.asarray(tied) if np.any(tied) else None
    x = sources[place]
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    shared = (counts > 1)[inverse].reshape(x.shape)
    if not shared.any():
        return None
    # The rank of every value, of equal ones the later the higher: does another one win than where the first does?
    rank = np.empty(x.size)
    rank[np.lexsort((np.arange(x.size), inverse.reshape(-1)))] = np.arange(x.size)
    last = _winners(node, rank.reshape(x.shape))
    return shared if (_winners(node, x) != last).any() else None


def _winners(node: Node, x: Float) -> NDArray[np.bool_]:
    """The values that get a gradient from a pooling."""
    output = reference.node_forward(node, {}, [x], training=True)
    back, _ = reference.node_backward(node, {}, [x], np.ones(output.shape), training=True)
    return np.asarray(back[0] != 0)
