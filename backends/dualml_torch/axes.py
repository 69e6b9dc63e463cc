"""Where each value of a model has its channels: images are channels first in ``torch.nn``, all else as in the spec.

The neutral layout is channels last. A convolution wants them behind the batch axis, so a model that begins with
one takes images as a PyTorch user has them, ``(examples, channels, height, width)``; values change over
only where an operation needs the other order, for example before a flatten, whose order the spec defines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dualml.spec.graph import Graph, Node
from dualml_torch.layers import wanted_axes

Channels = Literal["first", "last"]


@dataclass(frozen=True)
class Plan:
    """Where channels are.

    Attributes:
        values: Of each input's and node's value, by name.
        nodes: In what each node reads and computes.
    """

    values: Mapping[str, Channels]
    nodes: Mapping[str, Channels]

    def to_native(self, name: str, tensor: Tensor) -> Tensor:
        """A value of that name from channels last to where the model has them."""
        return first(tensor).contiguous() if self.values[name] == "first" else tensor

    def to_neutral(self, name: str, tensor: Tensor) -> Tensor:
        """A value of that name with channels last."""
        return last(tensor) if self.values[name] == "first" else tensor


def first(tensor: Tensor) -> Tensor:
    """Channels from the end to behind the batch axis."""
    return torch.movedim(tensor, -1, 1)


def last(tensor: Tensor) -> Tensor:
    """Channels from behind the batch axis to the end."""
    return torch.movedim(tensor, 1, -1)


def plan_axes(graph: Graph) -> Plan:
    """Decide where each value of a graph has its channels."""
    values: dict[str, Channels] = {}
    nodes: dict[str, Channels] = {}
    for item in graph.inputs:
        spatial = len(item.shape) > 1 and not item.integer
        values[item.name] = "first" if spatial and _used_as(graph, item.name) == "first" else "last"
    for node in graph.nodes:
        wanted = wanted_axes(node)
        nodes[node.name] = _order_of(node, values) if wanted == "any" else wanted
        values[node.name] = nodes[node.name] if len(node.shape) > 1 else "last"
    return Plan(values, nodes)


def _order_of(node: Node, values: Mapping[str, Channels]) -> Channels:
    """The order most of a node's inputs have; of equal numbers, last."""
    orders = [values[name] for name, shape in zip(node.inputs, node.input_shapes, strict=True) if len(shape) > 1]
    return "first" if orders.count("first") > orders.count("last") else "last"


def _used_as(graph: Graph, name: str) -> Channels:
    """What the first operation that cares wants of a value."""
    for node in graph.nodes:
        if name in node.inputs:
            wanted = wanted_axes(node)
            return _used_as(graph, node.name) if wanted == "any" else wanted
    return "last"
