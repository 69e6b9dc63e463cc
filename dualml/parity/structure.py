"""Whether two specs can be run against each other at all, tensor for tensor."""

from __future__ import annotations

from dataclasses import dataclass

from dualml.spec.config import Spec
from dualml.spec.graph import Graph


@dataclass(frozen=True)
class Mismatch:
    """Where two specs part before anything is run.

    Attributes:
        phase: Rung of the ladder on which it would show.
        node: Node of the graph.
        tensor: What of it.
    """

    phase: str
    node: str
    tensor: str


def incomparable(left: Spec, right: Spec) -> Mismatch | None:
    """The first thing that keeps two specs from being compared tensor for tensor; ``None`` if nothing does.

    Args:
        left: The left side's resolved spec.
        right: The right side's.
    """
    node = differing_node(left.graph, right.graph)
    if node is not None:
        return Mismatch("init", node, "structure")
    output = left.graph.output
    if left.train.batch_size * left.train.accumulate != right.train.batch_size * right.train.accumulate:
        return Mismatch("input", left.graph.input_names[0], "batch size")
    for one, two in zip(left.objective.terms, right.objective.terms, strict=True):
        if one.loss.kind != two.loss.kind:
            return Mismatch("loss", one.output, "kind")
    if left.optimizer.slots != right.optimizer.slots:
        return Mismatch("state", output, "slots")
    return None


def differing_node(left: Graph, right: Graph) -> str | None:
    """The first node in which two graphs differ in name, operation, wiring or shape; ``None`` if none does."""
    for given, other in zip(left.inputs, right.inputs, strict=False):
        if given != other:
            return given.name
    if len(left.inputs) != len(right.inputs):
        return max(left, right, key=lambda graph: len(graph.inputs)).inputs[-1].name
    for one, two in zip(left.nodes, right.nodes, strict=False):
        same = all(
            getattr(one, name) == getattr(two, name)
            for name in ("name", "operation", "inputs", "input_shapes", "shape")
        )
        weights = [[(item.name, item.shape) for item in node.weights] for node in (one, two)]
        if not same or weights[0] != weights[1]:
            return one.name
    longer = max(left, right, key=lambda graph: len(graph.nodes)).nodes
    shorter = min(len(left.nodes), len(right.nodes))
    if len(longer) > shorter:
        return longer[shorter].name
    return None if left.outputs == right.outputs else left.output
