"""Layers that only move values."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Make, Placement


def flatten(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``."""
    return nn.Flatten(start_dim=1)


def reshape(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``, ``torch.nn.Unflatten`` or one after the other: there is no stock reshape."""
    if len(node.shape) == 1:
        return nn.Flatten(start_dim=1)
    unflatten = nn.Unflatten(1, node.shape)
    if len(node.input_shapes[0]) == 1:
        return unflatten
    return nn.Sequential(nn.Flatten(start_dim=1), unflatten)


LAYERS: Mapping[str, Make] = {"flatten": flatten, "reshape": reshape}
