"""Waves of positions, for encodings that are added and for rotary attention."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Placing: TypeAlias = Literal["interleaved", "halves"]
"""Where the two numbers of frequency ``i`` stand among ``units``: at ``2 i`` and ``2 i + 1``, or at ``i`` and
``i + units / 2``."""


def waves(length: int, units: int, base: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of ``t base^(-2 i / units)`` for position ``t`` and frequency ``i``.

    One function for every backend and the reference: sine and cosine of large angles differ between libraries.

    Args:
        length: Number of positions.
        units: Even number of units.
        base: Ratio of the longest wave to the shortest.

    Returns:
        Two arrays of shape ``(length, units / 2)``, dtype float64.
    """
    frequencies = base ** (-np.arange(0, units, 2, dtype=np.float64) / units)
    angles = np.arange(length, dtype=np.float64)[:, None] * frequencies
    return np.sin(angles), np.cos(angles)
