"""How far a compressed model is from the model it was made of, on inputs such as those it was made for.

Anyone who has an artefact can repeat it: the inputs are drawn from ranges that the manifest holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dualml.export.check import runner
from dualml.export.compare import REFERENCE, REFERENCE_ROWS, examples, reference_predictions
from dualml.protocol import Array, Arrays
from dualml.randomness import uniform
from dualml.spec.graph import Graph


def ranges_of(inputs: Arrays) -> dict[str, list[float]]:
    """Least and largest value of each input of values."""
    return {name: [float(array.min()), float(array.max())] for name, array in inputs.items() if array.dtype.kind == "f"}


def distances(
    model: bytes, graph: Graph, weights: Mapping[str, Array], ranges: Mapping[str, Sequence[float]]
) -> list[dict[str, Any]]:
    """The largest difference of each output from the float64 reference.

    Args:
        model: The compressed ONNX model.
        graph: The model.
        weights: Its weights.
        ranges: What ``ranges_of`` gave.

    Returns:
        For each output ``output``, ``against``, ``rows`` and ``largest``.
    """
    inputs = examples(graph, REFERENCE_ROWS)
    for name, (low, high) in ranges.items():
        drawn = uniform(0, f"compress/{name}", inputs[name].shape)
        inputs[name] = (low + (high - low) * drawn).astype(inputs[name].dtype)
    found, exact = runner(model, graph.output_names)(inputs), reference_predictions(graph, weights, inputs)
    return [
        {
            "output": name,
            "against": REFERENCE,
            "rows": REFERENCE_ROWS,
            "largest": float(np.max(np.abs(found[name] - exact[name]), initial=0.0)),
        }
        for name in graph.output_names
    ]
