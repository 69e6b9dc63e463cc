"""Gates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced
from dualml.spec.layers.shape import axis_of


def glu(call: Call, x: Traced) -> Traced:
    """``a sigmoid(b)``: ``a`` the first half of an axis, ``b`` the second."""
    axis = axis_of(call.node.settings.axis, call.node.input_shapes[0]) + 1
    half = x.shape[axis] // 2
    before = (slice(None),) * axis
    return x[(*before, slice(half))] * ops.sigmoid(x[(*before, slice(half, None))])


def prelu(call: Call, x: Traced, *, slope: Traced) -> Traced:  # noqa: ARG001 (one signature for all)
    """``x`` where ``x > 0``, else ``slope x``."""
    return ops.where(x.value > 0, x, x * slope)


def _at_zero(call: Call) -> NDArray[np.bool_]:
    return np.asarray(call.inputs[0] == 0)


OPERATIONS: Mapping[str, Operation] = {"glu": Formula(glu), "prelu": Formula(prelu, kinks=_at_zero)}
"""By ``Node.operation``."""
