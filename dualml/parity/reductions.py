"""What a loss that sums is, in multiples of the mean that the spec has."""

from __future__ import annotations

import math

from dualml.native.protocol import Reduction
from dualml.protocol import Array
from dualml.reference.losses import denominator
from dualml.spec.losses import Loss

OVER_CLASSES = frozenset({"soft_cross_entropy", "kl_divergence", "cosine_distance", "categorical_hinge"})
"""Losses of values that are one number for each position all the same."""


def times(loss: Loss, reduction: Reduction, shape: tuple[int, ...], targets: Array) -> float:
    """By what a reduction multiplies the mean: ``D``, times the positions and values that a mean is taken over.

    Args:
        loss: The spec's loss.
        reduction: What becomes of the numbers of a batch.
        shape: Of the outputs, examples first.
        targets: As the spec's loss takes them.

    Example:
        >>> import numpy as np
        >>> from dualml.spec.losses import MeanSquaredError
        >>> times(MeanSquaredError(), "positions", (4, 3), np.zeros((4, 3)))
        4.0
        >>> times(MeanSquaredError(), "values", (4, 3), np.zeros((4, 3)))
        12.0
    """
    if reduction == "mean":
        return 1.0
    total = denominator(loss, targets)
    if loss.counts_positions:
        return total
    last = shape[-1] if reduction == "values" and loss.target != "class" and loss.kind not in OVER_CLASSES else 1
    return total * math.prod(shape[1:-1]) * last
