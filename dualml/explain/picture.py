"""A picture of an explanation: each example above what its values did."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dualml.errors import UnsupportedError
from dualml.explain.run import Explanation
from dualml.heat_map import DIVERGING_LIGHT, coloured, png

SHOWN = 12
"""Most examples in one picture."""
SIDE = 128
"""A panel is at least so many pixels wide."""
GAP = 8
"""White pixels between panels."""

Pixels = NDArray[np.uint8]


def picture(explanation: Explanation) -> bytes:
    """A PNG file: the first examples side by side, under each of them its attributions.

    Blue values speak against the target, orange ones for it; in each example the colours reach to its largest
    attribution. Channels are added. Of an input with one or three channels the example is shown as it looks, from its
    smallest value to its largest.

    Raises:
        UnsupportedError: No input is an image.
    """
    name = next((name for name in explanation.attributions if len(explanation.grids[name]) == 2), None)
    if name is None:
        raise UnsupportedError(
            "a picture needs an input of two axes side by side (an image), but the model has none; "
            "write the attributions to an .npz or .json file instead"
        )
    grid = explanation.grids[name]
    shown = min(SHOWN, len(explanation.targets))
    values = explanation.attributions[name][:shown].reshape(shown, *grid, -1).sum(axis=-1)
    examples = explanation.inputs[name][:shown].astype(np.float64).reshape(shown, *grid, -1)
    factor = math.ceil(SIDE / max(grid))
    columns = [
        np.concatenate([_enlarged(_looks(example), factor), _gap(GAP, grid[1] * factor), _enlarged(heat, factor)])
        for example, heat in zip(examples, map(_heat, values), strict=True)
    ]
    height = len(columns[0])
    parts = [part for column in columns for part in (_gap(height, GAP), column)][1:]
    return png(np.concatenate(parts, axis=1))


def _heat(values: NDArray[np.float64]) -> Pixels:
    return coloured(values, float(np.abs(values).max()), DIVERGING_LIGHT)


def _looks(example: NDArray[np.float64]) -> Pixels:
    """An example as grey levels, or as colours if it has three channels."""
    shades = example if example.shape[-1] == 3 else example.mean(axis=-1, keepdims=True)
    low, high = shades.min(), shades.max()
    scaled = (shades - low) / (high - low) if high > low else np.zeros(shades.shape)
    return np.broadcast_to((255 * scaled).round(), (*shades.shape[:-1], 3)).astype(np.uint8)


def _enlarged(pixels: Pixels, factor: int) -> Pixels:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _gap(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), 255, dtype=np.uint8)
