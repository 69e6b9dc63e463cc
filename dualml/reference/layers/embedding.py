"""Embeddings of whole numbers and of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced


def embedding(call: Call, ids: Traced, *, table: Traced) -> Traced:
    """``y = T[x]``, times ``sqrt(units)`` if scaled; the row of the padding gets no gradient."""
    settings = call.node.settings
    chosen = ids.value.astype(np.int64)
    y = ops.take(table, chosen)
    if settings.padding_index is not None:
        y = ops.where((chosen == settings.padding_index)[..., None], ops.stop_gradient(y), y)
    return y * math.sqrt(settings.units) if settings.scale else y


def tied_dense(call: Call, x: Traced, *, kernel: Traced, bias: Traced | None = None) -> Traced:  # noqa: ARG001
    """``y = x T^t + b`` over the last axis."""
    y = ops.einsum("...u,vu->...v", x, kernel)
    return y if bias is None else y + bias


def position_embedding(call: Call, x: Traced, *, positions: Traced) -> Traced:  # noqa: ARG001
    """``y_t = x_t + P_t``."""
    return x + positions[: x.shape[1]]


def position_encoding(call: Call, x: Traced) -> Traced:
    """``y_t = x_t + e_t``."""
    encoding: NDArray[np.float64] = call.node.settings.encoding(x.shape[1], x.shape[2])
    return x + encoding


OPERATIONS: Mapping[str, Operation] = {
    "embedding": Formula(embedding),
    "tied_dense": Formula(tied_dense),
    "position_embedding": Formula(position_embedding),
    "position_encoding": Formula(position_encoding),
}
"""By ``Node.operation``."""
