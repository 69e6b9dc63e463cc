"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Make, Placement, Roles, same, transposed, uninitialised


def dense(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Linear``."""
    settings = node.settings
    return uninitialised(nn.Linear, placement, node.input_shapes[0][-1], settings.units, bias=settings.bias)


LAYERS: Mapping[str, Make] = {"dense": dense}
ROLES: Roles = {
    ("dense", "kernel"): transposed("weight", (1, 0)),  # torch.nn.Linear.weight is (units, inputs)
    ("dense", "bias"): same("bias"),
}
