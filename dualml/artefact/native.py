"""An artefact in a framework: the same spec and weights as a native model, to predict with or to compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualml import api
from dualml.artefact.open import BATCH, Artefact

if TYPE_CHECKING:
    from dualml.protocol import Array, Arrays, Network


def build(artefact: Artefact, backend: str) -> Network:
    """The artefact's model in a backend.

    Raises:
        BackendError: The backend is missing or cannot do it.
    """
    return api.build(artefact.spec, backend, weights=artefact.weights)


def predict_in(artefact: Artefact, backend: str, inputs: Arrays, outputs: list[str]) -> dict[str, Array]:
    """Predictions of a backend for prepared inputs, by output."""
    network = build(artefact, backend)
    graph = network.graph
    nodes = dict(zip(graph.output_names, graph.outputs, strict=True))
    count = len(next(iter(inputs.values())))
    found = {}
    for name in outputs:
        pieces = [
            network.predict({key: array[at : at + BATCH] for key, array in inputs.items()}, output=nodes[name])
            for at in range(0, count, BATCH)
        ]
        found[name] = np.concatenate(pieces)
    return found


def largest_difference(left: Arrays, right: Arrays) -> float:
    """The largest difference between two sets of predictions; a NaN on one side alone is infinite."""
    worst = 0.0
    for name, array in left.items():
        a, b = array.astype(np.float64), right[name].astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            distance = np.where(same, 0.0, np.abs(a - b))
        worst = max(worst, float(np.max(np.where(np.isnan(distance), np.inf, distance), initial=0.0)))
    return worst
