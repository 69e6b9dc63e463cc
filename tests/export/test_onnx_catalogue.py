"""Every row of the catalogue as an ONNX file: well-formed, allowed by the guards, and what the reference computes."""

import numpy as np
import onnx
import pytest
from onnx_support import refusal

from dualml.artefact.session import Session
from dualml.export.compare import reference_predictions
from dualml.export.onnx import EMITTERS, emit
from dualml.export.onnx.activations import FUNCTIONS, PLAIN
from dualml.export.onnx.writer import FLOAT32_ONLY
from dualml.guards.onnx_operators import OPERATORS, SIZED
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.layers import LAYERS
from dualml.testing.cases import LOSS_CASES, NETWORK_CASES

LIMITS = {"float32": 1e-6, "float64": 1e-13}
PREDICTED = {case.graph().prediction: case for case in LOSS_CASES}
"""A row for each way to predict."""


def test_every_layer_and_activation_has_an_emitter():
    assert {layer.kind for layer in LAYERS} == set(EMITTERS)
    assert {function.kind for function in ACTIVATIONS} == {*FUNCTIONS, *PLAIN, "linear"}
    assert set(PREDICTED) == {"softmax", "sigmoid", "identity"}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("case", [*NETWORK_CASES, *PREDICTED.values()], ids=lambda case: case.name)
def test_a_file_predicts_what_the_reference_does(case, precision):
    graph, weights = case.graph(precision), case.weights(precision)
    refused = refusal(graph, weights)
    if precision == "float64" and refused is not None:
        model = onnx.load_from_string(emit(case.graph("float32"), case.weights("float32")))
        assert FLOAT32_ONLY & {node.op_type for node in model.graph.node}
        assert "in float64: ONNX Runtime computes" in refused
        return
    assert refused is None
    data = emit(graph, weights)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= OPERATORS | set(SIZED)
    assert emit(graph, dict(reversed(weights.items()))) == data
    inputs = graph.named_inputs(case.inputs(precision))
    found, exact = Session(data).run(inputs), reference_predictions(graph, weights, inputs)
    assert set(found) == set(graph.output_names)
    for label, values in found.items():
        assert values.dtype == precision
        assert values.shape == exact[label].shape
        assert np.max(np.abs(values - exact[label])) <= LIMITS[precision] * max(1.0, np.max(np.abs(exact[label])))
