"""What an ONNX file of dualml's is, beside right."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_support import apart, logits, refusal

import dualml
from dualml import guards
from dualml.artefact.session import Session
from dualml.errors import ParityError, UnsupportedError, WeightsError
from dualml.export import onnx as onnx_export
from dualml.export.check import check
from dualml.export.onnx import emit
from dualml.reference.network import forward
from dualml.spec.layers import Attention, Dense, Embedding, Gru, Lstm, PaddingMask, Shared, SimpleRnn
from dualml.spec.model import Input
from dualml.testing.cases import GRAPH_CASES, LAYER_CASES, PLAIN
from dualml.testing.cases.activations import CASES as ACTIVATION_ROWS, EDGE_INPUTS
from dualml.testing.cases.base import Case, values
from dualml.weights import initial_weights

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TOKENS = Input(shape=(5,), dtype="integer")
MASKED = np.array([[0, 0, 0, 0, 0], [1, 0, 2, 0, 0], [0, 0, 3, 0, 1], [1, 2, 3, 4, 1], [0, 1, 0, 0, 0]])
"""Padding everywhere, inside, before, nowhere and around."""
PER_OPERATOR = 250
"""Bytes of a file beside its weights, for each operator."""
AT_A_JUMP = {"clipped-relu", "clipped-relu-no-max", "hard-shrink"}
"""Rows with a jump at 0.3, which float32 rounds to the other side of it."""


def row(cases, name):
    return next(case for case in cases if case.name == name)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_exports(path):
    graph = dualml.load(path).graph
    weights = initial_weights(graph, 1)
    data = emit(graph, weights)
    checked = check(data, graph, weights, backends=(), rows=4, reference_rows=4)
    assert checked.ok, checked.lines()
    size, operators = sum(array.nbytes for array in weights.values()), len(onnx.load_from_string(data).graph.node)
    assert len(data) <= size + PER_OPERATOR * (operators + len(weights))
    if size > 1_000_000:
        assert len(data) <= 1.01 * size


def test_a_file_passes_the_guards_and_names_nothing_of_the_machine(tmp_path):
    graph = dualml.load(ROOT / "configs" / "lstm_text.yaml").graph
    data = emit(graph, initial_weights(graph, 1))
    (tmp_path / "model.onnx").write_bytes(data)
    guards.check(tmp_path / "model.onnx")
    for text in (b"/home", b"/tmp", b"site-packages", str(ROOT).encode(), b".py"):
        assert text not in data


def test_writing_a_file_imports_no_framework():
    code = (
        "import sys, dualml; from dualml.weights import initial_weights\n"
        "spec = dualml.load('configs/mlp.yaml'); weights = initial_weights(spec.graph, 0)\n"
        "from dualml.export.onnx import emit\n"
        "assert len(emit(spec.graph, weights)) > 2_000_000\n"
        "print(sorted({'torch', 'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_names_types_and_shapes_of_inputs_and_outputs():
    case = row(GRAPH_CASES, "two-outputs-weighted")
    graph = case.graph("float32")
    model = onnx.load_from_string(emit(graph, case.weights("float32"), batch="rows"))
    for found, names in ((model.graph.input, graph.input_names), (model.graph.output, graph.output_names)):
        assert tuple(item.name for item in found) == names
        assert all(item.type.tensor_type.shape.dim[0].dim_param == "rows" for item in found)
    shapes = [[dim.dim_value for dim in item.type.tensor_type.shape.dim[1:]] for item in model.graph.output]
    assert shapes == [list(graph.by_name[name].shape) for name in graph.outputs]
    assert [opset.domain for opset in model.opset_import] == [""]
    assert model.producer_name == "dualml"


def test_whole_numbers_come_in_as_int64():
    case = row(LAYER_CASES, "embedding")
    model = onnx.load_from_string(emit(case.graph("float32"), case.weights("float32")))
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64


def test_a_shared_layer_is_stored_once():
    layers = [
        Dense(3, name="first"),
        Dense(3, name="middle"),
        Shared("first", name="again"),
        Dense(2, name="last"),
    ]
    graph = Case("shared", (3,), layers, **values()).graph("float32")
    weights = initial_weights(graph, 0)
    names = [tensor.name for tensor in onnx.load_from_string(emit(graph, weights)).graph.initializer]
    assert sorted(names) == ["first.bias", "first.kernel", "last.bias", "last.kernel", "middle.bias", "middle.kernel"]


def test_weights_of_another_model_are_refused():
    with pytest.raises(WeightsError, match=r"missing: dense_1\.bias"):
        emit(PLAIN.graph(), {"dense_1.kernel": np.zeros((3, 4))})


def test_a_model_too_large_for_the_format_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_export, "MOST_BYTES", 100)
    with pytest.raises(UnsupportedError, match="must be below"):
        emit(PLAIN.graph(), PLAIN.weights())


def test_an_operator_that_the_runtime_lacks_in_float64_is_named():
    case = row(LAYER_CASES, "conv2d")
    with pytest.raises(UnsupportedError, match=r"'conv2d' \(model.layers\[0\]\) in float64.*--precision float32"):
        emit(case.graph("float64"), case.weights("float64"))


def test_mixed_precision_is_written_in_float32():
    graph = replace(PLAIN.graph("float32"), mixed=True)
    assert emit(graph, PLAIN.weights("float32")) == emit(PLAIN.graph("float32"), PLAIN.weights("float32"))


@pytest.mark.parametrize(
    "case", [case for case in ACTIVATION_ROWS if len(case.graph().nodes) == 3], ids=lambda c: c.name
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_activation_where_it_saturates_or_would_overflow(case, precision):
    layers = [layer.model_copy(update={"units": 4}) for layer in case.layers[:1]]
    case = Case(case.name, (4,), layers, conventions=case.conventions, **values())
    graph = case.graph(precision)
    weights = {"dense_1.kernel": np.eye(4), "dense_1.bias": np.zeros(4)}
    inputs = EDGE_INPUTS.astype(precision)
    if case.name in AT_A_JUMP and precision == "float32":
        inputs[np.abs(inputs) == np.float32(0.3)] *= 1.1
    refused = refusal(graph, weights)
    if refused is not None:
        assert case.name.startswith("gelu")
        assert "in float64" in refused
        return
    data = emit(graph, weights, predictions=False)
    with np.errstate(over="ignore"):
        exact = forward(graph, weights, inputs)[graph.output].astype(precision)
    found = Session(data).run({"input": inputs})[graph.output_names[0]]
    limit = {"float32": 4e-6 if case.name == "squareplus" else 4e-7, "float64": 1e-14}[precision]
    assert apart(found, exact) <= limit


@pytest.mark.parametrize("layer", [SimpleRnn, Lstm, Gru])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("output", ["zeros", "previous", "last"])
def test_a_recurrent_layer_reads_any_mask(layer, reverse, output):
    recurrent = layer(
        3,
        inputs="words",
        mask="kept",
        reverse=reverse,
        return_sequences=output != "last",
        masked_output=None if output == "last" else output,
    )
    layers = [Embedding(5, 3, name="words"), PaddingMask(0, name="kept", inputs="input"), recurrent]
    found, exact = logits(Case("masked", TOKENS, layers, **values()), MASKED)
    assert apart(found, exact) <= 1e-6


@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_queries_that_may_read_nothing(causal):
    layers = [
        Embedding(5, 4, name="words"),
        PaddingMask(0, name="kept", inputs="input"),
        Attention(2, inputs="words", mask="kept", causal=causal),
    ]
    found, exact = logits(Case("masked", TOKENS, layers, **values()), MASKED)
    assert apart(found, exact) <= 1e-6


@pytest.mark.parametrize("rows", [0, 1, 7, 256])
def test_any_number_of_examples(rows):
    found, exact = logits(PLAIN, np.ones((rows, 3)))
    assert found.shape == (rows, 3)
    assert rows == 0 or apart(found, exact) <= 1e-6


def test_a_damaged_file_is_found():
    graph, weights = PLAIN.graph("float32"), PLAIN.weights("float32")
    data = emit(graph, weights)
    assert check(data, graph, weights, backends=(), rows=8).ok
    moved = {name: array * np.float32(1 + 1e-4) for name, array in weights.items()}
    found = check(emit(graph, moved), graph, weights, backends=(), rows=8)
    assert not found.ok
    with pytest.raises(ParityError, match=r"dense_2 vs reference: max \|difference\|.*nothing was written"):
        found.require("--format onnx")
    with pytest.raises(ParityError, match="ONNX file does not hold what it must"):
        check(data.replace(b"Gemm", b"Gemn"), graph, weights, backends=(), rows=8)
