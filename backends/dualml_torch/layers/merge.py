"""Layers that merge several inputs into one output, as function calls: PyTorch has no modules for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import fx

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Join


def add(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:  # noqa: ARG001
    """``torch.add`` from the first input to the last."""
    total = inputs[0]
    for other in inputs[1:]:
        total = graph.call_function(torch.add, (total, other))
    return total


def multiply(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:  # noqa: ARG001
    """``torch.mul`` from the first input to the last."""
    product = inputs[0]
    for other in inputs[1:]:
        product = graph.call_function(torch.mul, (product, other))
    return product


def concat(graph: fx.Graph, node: Node, inputs: list[fx.Node], channels: Literal["first", "last"]) -> fx.Node:
    """``torch.cat``; an axis counted from the front moves behind the batch axis, and with the channels."""
    rank = len(node.shape)
    axis = node.settings.axis % rank
    native = axis + 1 if channels == "last" else 1 if axis == rank - 1 else axis + 2
    return graph.call_function(torch.cat, (inputs,), {"dim": native})


def _any(node: Node) -> Axes:  # noqa: ARG001
    return "any"


JOINS: Mapping[str, Join] = {"add": add, "multiply": multiply, "concat": concat}
AXES: Mapping[str, Callable[[Node], Axes]] = {"add": _any, "multiply": _any, "concat": _any}
