"""Numbers that recognise an array whatever the order and the signs of its values are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isclose

import numpy as np

from dualml.protocol import Array, Arrays

_TELLING = 4
"""An array of fewer values, or of equal ones, can agree with another by chance: zeros, ones, a single number."""


@dataclass(frozen=True)
class Fingerprint:
    """What an array's values are, whatever their order.

    Attributes:
        array: The array.
    """

    array: Array

    @cached_property
    def telling(self) -> bool:
        """Whether two arrays with this fingerprint can hardly be the same by chance."""
        flat = np.ravel(self.array)
        return flat.size >= _TELLING and bool(np.any(flat != flat[0]))

    @cached_property
    def _powers(self) -> tuple[float, float]:
        flat = np.abs(np.ravel(self.array).astype(np.float32).astype(np.float64))
        return float(np.sum(flat)), float(np.sum(flat * flat))

    def matches(self, other: Fingerprint) -> bool:
        """Whether both hold the same numbers in some order, up to signs and to the rounding to single precision."""
        if self.array.size != other.array.size or not (self.telling and other.telling):
            return False
        # Sums of the same float32 numbers in another order, in float64: they differ by far less than this.
        closeness = self.array.size * 2.0**-52
        return all(isclose(a, b, rel_tol=closeness) for a, b in zip(self._powers, other._powers, strict=True))


def fingerprints(arrays: Arrays) -> dict[str, Fingerprint]:
    """The fingerprint of each array; nothing is computed before it is asked for."""
    return {name: Fingerprint(np.asarray(array)) for name, array in arrays.items()}
