"""Metrics: one definition, evaluated in NumPy on the outputs of either backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def accuracy(outputs: NDArray[Any], targets: NDArray[Any]) -> float:
    """Share of examples whose largest output belongs to the target class; of equal outputs the first counts.

    Args:
        outputs: Logits or probabilities, shape ``(examples, ..., classes)``.
        targets: Class numbers, shape ``(examples, ...)``.

    Returns:
        Between 0 and 1.

    Example:
        >>> accuracy(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([1, 1]))
        0.5
    """
    return float(np.mean(outputs.argmax(axis=-1) == targets))


METRICS: Mapping[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {"accuracy": accuracy}
"""Every metric by name; larger is better for each."""
