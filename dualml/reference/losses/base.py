"""What the reference knows about a loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualml.protocol import Array
from dualml.reference.rounding import Float


class LossReference:
    """One loss; ``settings`` is its object from ``dualml.spec.losses``."""

    def examples(self, settings: Any, outputs: Float, targets: Array) -> Float:
        """Loss of each example, shape ``(examples,)``."""
        raise NotImplementedError

    def examples_bound(self, settings: Any, outputs: Float, targets: Array, unit: float) -> Float:
        """Bound on the rounding error of each example's loss."""
        raise NotImplementedError

    def gradient(self, settings: Any, outputs: Float, targets: Array, count: float) -> Float:
        """Gradient of the sum of the examples' losses divided by ``count``, of the outputs' shape."""
        raise NotImplementedError

    def gradient_bound(self, settings: Any, outputs: Float, targets: Array, count: float, unit: float) -> Float:
        """Bound on the rounding error of ``gradient``."""
        raise NotImplementedError


def mean_inner(values: Float) -> Float:
    """Mean over all axes but the first."""
    return np.asarray(values.reshape(len(values), -1).mean(axis=1))


def sum_inner(values: Float) -> Float:
    """Sum over all axes but the first."""
    return np.asarray(values.reshape(len(values), -1).sum(axis=1))
