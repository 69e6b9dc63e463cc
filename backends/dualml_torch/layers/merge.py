"""Layers that merge several inputs into one output, as function calls: PyTorch has no modules for them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import fx

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Join
from dualml_torch.layers.shape import native_axis

Channels = Literal["first", "last"]


def _folded(graph: fx.Graph, function: Callable[..., Any], inputs: list[fx.Node]) -> fx.Node:
    """A function of two applied from the first input to the last."""
    total = inputs[0]
    for other in inputs[1:]:
        total = graph.call_function(function, (total, other))
    return total


def add(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:  # noqa: ARG001
    """``torch.add`` from the first input to the last."""
    return _folded(graph, torch.add, inputs)


def subtract(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:  # noqa: ARG001
    """``torch.sub``."""
    return _folded(graph, torch.sub, inputs)


def average(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:  # noqa: ARG001
    """``torch.add`` from the first input to the last, then ``torch.div``."""
    return graph.call_function(torch.div, (_folded(graph, torch.add, inputs), len(inputs)))


def multiply(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:
    """``torch.mul`` from the first input to the last, axes of size 1 put in where one has fewer."""
    whole = []
    for value, shape in zip(inputs, node.input_shapes, strict=True):
        missing = len(node.shape) - len(shape)
        # Behind the examples' axis, and behind the channels' where that comes first: a vector is nothing but channels.
        kept = 1 if channels == "last" else 2
        key = (*((slice(None),) * kept), *((None,) * missing))
        whole.append(graph.call_function(operator.getitem, (value, key)) if missing else value)
    return _folded(graph, torch.mul, whole)


def _chosen(graph: fx.Graph, node: Node, inputs: list[fx.Node], stock: Any, wins: Any) -> fx.Node:
    """``stock``, which shares the gradient of ties, or a choice that prefers the first."""
    if node.settings.ties == "even":
        return _folded(graph, stock, inputs)
    chosen = inputs[0]
    for other in inputs[1:]:
        mask = graph.call_function(wins, (chosen, other))
        chosen = graph.call_function(torch.where, (mask, chosen, other))
    return chosen


def maximum(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:  # noqa: ARG001
    """``torch.maximum``, or ``torch.where`` for ties that go to the first."""
    return _chosen(graph, node, inputs, torch.maximum, torch.ge)


def minimum(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:  # noqa: ARG001
    """``torch.minimum``, or ``torch.where`` for ties that go to the first."""
    return _chosen(graph, node, inputs, torch.minimum, torch.le)


def concat(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Channels) -> fx.Node:
    """``torch.cat``; an axis counted from the front moves behind the batch axis, and with the channels."""
    rank = len(node.shape)
    native = native_axis(node.settings.axis % rank, rank, channels)
    return graph.call_function(torch.cat, (inputs,), {"dim": native})


def _any(node: Node) -> Axes:  # noqa: ARG001
    return "any"


JOINS: Mapping[str, Join] = {
    "add": add,
    "subtract": subtract,
    "average": average,
    "multiply": multiply,
    "maximum": maximum,
    "minimum": minimum,
    "concat": concat,
}
AXES: Mapping[str, Callable[[Node], Axes]] = dict.fromkeys(JOINS, _any)
