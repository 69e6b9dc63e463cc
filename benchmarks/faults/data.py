"""Inputs and targets for each network, from the seed of a case."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CLASSES, VOCABULARY, LENGTH = 5, 20, 8
ROWS = 10
"""Examples in a batch: few enough that N / (N - 1) shows."""


def batch(family: str, seed: int, rows: int = ROWS) -> tuple[Array, Array]:
    """Inputs, images channels last, and class numbers."""
    generator = np.random.default_rng([seed, 77])
    inputs: Array
    if family == "mlp":
        inputs = generator.normal(size=(rows, 12)).astype(np.float32)
    elif family in ("lenet", "residual"):
        inputs = generator.normal(size=(rows, 12, 12, 4)).astype(np.float32)
    else:
        # Without repeats in a batch row 0 would hardly be met; with padding at the end it is.
        inputs = generator.integers(1, VOCABULARY, size=(rows, LENGTH)).astype(np.int64)
        inputs[::3, -2:] = 0
    return inputs, generator.integers(0, CLASSES, size=rows).astype(np.int64)


def channels_first(inputs: Array) -> Array:
    """An image batch as PyTorch has it; anything else as it is."""
    return np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)) if inputs.ndim == 4 else inputs
