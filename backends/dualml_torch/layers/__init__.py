"""Layers as ``torch.nn`` modules, stock ones wherever they can express the spec; one module for each family.

A family module has some of ``LAYERS`` (operation to module), ``JOINS`` (operation to function calls), ``AXES``
(where an operation wants channels; left out, last) and ``ROLES`` (where weights are kept).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dualml.spec.graph import Node
from dualml_torch.layers import (
    activation,
    attention,
    convolution,
    dense,
    dropout,
    embedding,
    gated,
    masks,
    merge,
    normalization,
    pooling,
    recurrent,
    shape,
)
from dualml_torch.layers.base import Axes, Join, Make, Masked, Placement, Role
from dualml_torch.layers.dropout import MaskedDropout

_FAMILIES = (
    dense,
    activation,
    shape,
    dropout,
    merge,
    masks,
    embedding,
    attention,
    convolution,
    normalization,
    recurrent,
    pooling,
    gated,
)


def _gathered(table: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for family in _FAMILIES:
        found |= getattr(family, table, {})
    return found


LAYERS: Mapping[str, Make] = _gathered("LAYERS")
"""What makes the module of each operation that has one."""
JOINS: Mapping[str, Join] = _gathered("JOINS")
"""The function calls of each operation that has no module."""
ROLES: Mapping[tuple[str, str], Role] = _gathered("ROLES")
"""Where each weight is kept, by operation and role."""
_AXES: Mapping[str, Callable[[Node], Axes]] = _gathered("AXES")


def wanted_axes(node: Node) -> Axes:
    """Where a node wants its channels."""
    return _AXES[node.operation](node) if node.operation in _AXES else "last"


__all__ = ["JOINS", "LAYERS", "ROLES", "Masked", "MaskedDropout", "Placement", "Role", "wanted_axes"]
