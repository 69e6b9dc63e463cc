"""What the tests of ONNX files share."""

import numpy as np

from dualml.artefact.session import Session
from dualml.errors import UnsupportedError
from dualml.export.onnx import emit
from dualml.reference.network import forward


def refusal(graph, weights):
    """What is said of a model that ONNX cannot express; ``None`` if it can."""
    try:
        emit(graph, weights)
    except UnsupportedError as error:
        return str(error)
    return None


def logits(case, inputs=None, precision="float32"):
    """What the case's ONNX file gives before predictions, and what the reference does; for the main output."""
    graph, weights = case.graph(precision), case.weights(precision)
    given = graph.named_inputs(case.inputs(precision) if inputs is None else inputs)
    placed = {
        name: array if array.dtype == np.int64 else np.asarray(array, dtype=precision) for name, array in given.items()
    }
    found = Session(emit(graph, weights, predictions=False)).run(placed)
    return found[graph.output_names[0]], forward(graph, weights, placed)[graph.output]


def apart(found, exact):
    """The largest difference, relative to the value where it is above 1; NaN counts as infinitely far."""
    assert found.shape == exact.shape
    with np.errstate(invalid="ignore"):
        differences = np.where(found == exact, 0.0, np.abs(found - exact) / np.maximum(1.0, np.abs(exact)))
    return float(np.max(np.where(np.isnan(differences), np.inf, differences)))
