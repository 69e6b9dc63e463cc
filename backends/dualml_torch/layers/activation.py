"""Activations as modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from dualml.spec.graph import Node
from dualml_torch.activations import ACTIVATIONS
from dualml_torch.layers.base import Axes, Make, Placement

OVER_CHANNELS = frozenset({"softmax", "log_softmax", "sparsemax"})
"""Activations that look at several values at once, in the order of the neutral layout."""


def activation(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (one signature for all)
    """The module of the activation function."""
    return ACTIVATIONS[node.settings.function.kind](node.settings.function)


def _axes(node: Node) -> Axes:
    return "last" if node.settings.function.kind in OVER_CHANNELS else "any"


LAYERS: Mapping[str, Make] = {"activation": activation}
AXES: Mapping[str, Callable[[Node], Axes]] = {"activation": _axes}
