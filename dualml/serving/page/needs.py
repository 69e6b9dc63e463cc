"""What the page must know of a model's inputs to offer the right way to give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dualml.data.categories import Categories, TableEncoding
from dualml.data.normalisation import Normalisation
from dualml.data.vocabulary import TextEncoding

if TYPE_CHECKING:
    from dualml.artefact import Artefact

SMALLEST_SIDE = 4
"""Fewer rows or columns of pixels are taken for a table of numbers."""
MOST_CATEGORIES = 500


def page_needs(artefact: Artefact) -> dict[str, Any]:
    """Plain values for the page: how each input is given, what each output is, and what the model scored."""
    manifest = artefact.manifest
    scores = {name: value for name, value in manifest.metrics.items() if isinstance(value, int | float)}
    return {
        "inputs": _inputs(artefact),
        "predictions": {item.name: item.prediction for item in manifest.outputs},
        "scores": scores,
    }


def _inputs(artefact: Artefact) -> list[dict[str, Any]]:
    encoding = artefact.preparation.encoding
    if isinstance(encoding, TextEncoding):
        return [{"kind": "text", "length": encoding.length}]
    if isinstance(encoding, TableEncoding):
        return [_column(encoding, name) for name in encoding.columns]
    given = artefact.manifest.inputs
    if len(given) == 1 and given[0].dtype != "int64":
        image = image_of(given[0].shape)
        if image is not None:
            return [{"kind": "image", **image, "white": _white(artefact.preparation.normalisation)}]
    return [{"kind": "ids" if item.dtype == "int64" else "values", "size": item.size} for item in given]


def image_of(shape: tuple[int, ...]) -> dict[str, int] | None:
    """Rows, columns and channels if an example can be a picture; as many values as a square has pixels can.

    Example:
        >>> image_of((28, 28)), image_of((64,)), image_of((13,))
        ({'rows': 28, 'columns': 28, 'channels': 1}, {'rows': 8, 'columns': 8, 'channels': 1}, None)
    """
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        sides = (side, side, 1) if side * side == shape[0] else None
    elif len(shape) == 2:
        sides = (*shape, 1)
    else:
        sides = shape if len(shape) == 3 and shape[2] in (1, 3) else None
    if sides is None or min(sides[:2]) < SMALLEST_SIDE:
        return None
    return dict(zip(("rows", "columns", "channels"), sides, strict=True))


def _white(scaling: Normalisation | Mapping[str, Normalisation]) -> float | None:
    """The raw value of a white pixel if the training divided by it; ``None``: not known."""
    if isinstance(scaling, Normalisation) and isinstance(scaling.scale, float) and scaling.offset == 0.0:
        return None if scaling.identity else scaling.scale
    return None


def _column(encoding: TableEncoding, name: str) -> dict[str, Any]:
    for items in encoding.inputs.values():
        for item in items:
            if isinstance(item, Categories) and item.column == name and not item.edges:
                return {"kind": "category", "values": list(item.values[:MOST_CATEGORIES])}
    return {"kind": "number"}
