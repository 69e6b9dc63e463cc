"""Layers that make masks."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced


def padding_mask(call: Call, ids: Traced) -> Traced:
    """``y = 1`` where an id is not ``index``, else 0; exact, and no gradient passes."""
    return ops.constant(ids.value != call.node.settings.index)


OPERATIONS: Mapping[str, Operation] = {"padding_mask": Formula(padding_mask)}
"""By ``Node.operation``."""
