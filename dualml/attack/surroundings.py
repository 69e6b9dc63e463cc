"""Where an attack may move an example: within ``epsilon`` of every value, and within the values that inputs have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml import randomness
from dualml.protocol import Array

Bounds = tuple[float, float]
"""Smallest and largest value an input may have."""


@dataclass(frozen=True)
class Surroundings:
    """The box around each example of one input.

    Attributes:
        low: Smallest values, shape and dtype of the input.
        high: Largest values.
    """

    low: Array
    high: Array

    @classmethod
    def of(cls, x: Array, epsilon: float, bounds: Bounds | None = None) -> Surroundings:
        """The box of all points with ``|x' - x| <= epsilon`` in every value and ``bounds[0] <= x' <= bounds[1]``.

        Limits are rounded inwards, so that no point of the box breaks the bound by a rounding. An example whose own
        value lies outside of ``bounds`` may keep it.

        Example:
            >>> box = Surroundings.of(np.array([[0.0, 0.5]]), 0.25, (0.0, 0.625))
            >>> box.low.tolist(), box.high.tolist()
            ([[0.0, 0.25]], [[0.25, 0.625]])
        """
        exact = x.astype(np.float64)
        low, high = exact - epsilon, exact + epsilon
        if bounds is not None:
            low = np.minimum(np.maximum(low, bounds[0]), exact)
            high = np.maximum(np.minimum(high, bounds[1]), exact)
        return cls(_rounded(low, x.dtype, np.inf), _rounded(high, x.dtype, -np.inf))

    def nearest(self, points: Array) -> Array:
        """The point of the box next to each point, in the input's dtype."""
        return np.clip(points, self.low, self.high).astype(self.low.dtype)

    def random(self, seed: int, path: str) -> Array:
        """A point of each box, uniform; the same for the same seed and path in every backend."""
        places = randomness.uniform(seed, path, self.low.shape)
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        return self.nearest(low + places * (high - low))

    def take(self, rows: slice) -> Surroundings:
        """The boxes of some examples."""
        return Surroundings(self.low[rows], self.high[rows])


def _rounded(limits: Array, dtype: np.dtype[np.floating], towards: float) -> Array:
    """Limits in another dtype, rounded in one direction."""
    near = limits.astype(dtype)
    beyond = near < limits if towards > 0 else near > limits
    return np.where(beyond, np.nextafter(near, dtype.type(towards)), near)
