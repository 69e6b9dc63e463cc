"""Outputs that no layer makes: an input as it came, or with its axes in another order."""

from __future__ import annotations

from collections.abc import Callable

from dualml.native.calls import UnreadableError
from dualml.native.layouts import Axes, unchanged
from dualml.native.nodes import Nodes
from dualml.native.reading import Held, Place
from dualml.spec.activations import Linear
from dualml.spec.layers import Activation


def returned(nodes: Nodes, turned: Callable[[int, Axes], str], key: int, held: Held, *, alone: bool) -> str | None:
    """The node that makes an output; one that only turns the axes of an input, or passes it on, is made here.

    Args:
        nodes: The nodes so far.
        turned: Makes the node whose neutral array is a value with its axes in a given order.
        key: The output's value.
        held: What it holds.
        alone: Whether there is no other output; else an input as it came is none: ``None``.
    """
    if held.node in nodes.nodes:
        return held.node
    before = nodes.places[held.node].axes
    if held.axes != before and len(held.axes) == len(before):
        try:
            node = turned(key, unchanged(len(held.axes), held.axes[0]))
        except UnreadableError:
            node = held.node
        if node != held.node:
            return node
    if not alone:
        return None
    layer = Activation(function=Linear())
    return nodes.add(layer, f"{held.node}_returned", [held.node], Place(key, held.axes), {})
