"""The int8 model: which operators it has, that rows do not touch each other, and how near it is."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dualml import guards
from dualml.artefact.session import Session, import_runtime
from dualml.compress.calibration import LEVELS, Levels, best_levels
from dualml.compress.folding import fold_batch_norms
from dualml.compress.int8 import quantise, unit_scales
from dualml.compress.onnx_graph import OnnxGraph
from dualml.config.loader import parse
from dualml.errors import UnsupportedError
from dualml.export.compare import examples
from dualml.export.onnx import emit
from dualml.randomness import uniform
from dualml.weights import initial_weights

MODELS = {
    "dense": ("[16]", "[dense: {units: 40, activation: relu}, dense: {units: 30, activation: relu}, dense: 3]"),
    "other bends": ("[16]", "[dense: {units: 40, activation: tanh}, dense: {units: 30, activation: gelu}, dense: 3]"),
    "no activation": ("[16]", "[dense: 40, dense: {units: 30, bias: false}, dense: 3]"),
    "sequence": ("[5, 16]", "[dense: {units: 40, activation: relu}, dense: 30, flatten, dense: 3]"),
    "convolution": (
        "[8, 8, 4]",
        "[conv2d: {filters: 8, kernel_size: 3, bias: false}, batch_norm, activation: relu, max_pool2d: 2, "
        "conv2d: {filters: 8, kernel_size: 3}, flatten, dense: 3]",
    ),
    "pooled floats": (
        "[8, 8, 1]",
        "[conv2d: {filters: 8, kernel_size: 3, activation: relu}, max_pool2d: 2, conv2d: {filters: 8, kernel_size: 2}, "
        "max_pool2d: 2, flatten, dense: {units: 20, activation: relu}, dense: 3]",
    ),
    "residual": (
        "[6, 6, 8]",
        "[conv2d: {filters: 8, kernel_size: 3, padding: same, name: a}, residual: {layers: [conv2d: {filters: 8, "
        "kernel_size: 3, padding: same}, batch_norm], activation: relu}, global_average_pool, dense: 3]",
    ),
}  # fmt: skip
INTEGER = {"QGemm", "QLinearConv", "QLinearMatMul", "MatMulIntegerToFloat"}
"""What ONNX Runtime makes of an operator that computes in bytes."""


def made(name):
    """Spec, float model and training examples."""
    shape, layers = MODELS[name]
    spec = parse(f"model: {{input: {shape}, layers: {layers}}}\nloss: cross_entropy\noptimizer: adam\n")
    weights = initial_weights(spec.graph, 3)
    for key, array in weights.items():
        if "running" in key:
            weights[key] = (array + uniform(0, key, array.shape)).astype(np.float32)
    return spec, emit(spec.graph, weights), examples(spec.graph, 200)


@pytest.fixture(scope="module")
def quantised():
    found = {}

    def get(name):
        if name not in found:
            spec, data, rows = made(name)
            found[name] = (spec, data, rows, quantise(data, rows))
        return found[name]

    return get


def optimised(data, tmp_path):
    """Names of the operators that ONNX Runtime runs."""
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in OnnxGraph((tmp_path / "optimised.onnx").read_bytes()).nodes]


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_that_is_said_to_computes_in_bytes(quantised, name, tmp_path):
    _, _, _, found = quantised(name)
    assert found.layers
    assert sum(operator in INTEGER for operator in optimised(found.model, tmp_path)) == len(found.layers)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_stay_near(quantised, name):
    spec, data, _, found = quantised(name)
    rows = examples(spec.graph, 100, seed=5)
    label = spec.graph.output_names[0]
    before, after = (Session(item).run(rows)[label] for item in (data, found.model))
    assert 0 < np.max(np.abs(before - after)) < 0.05


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_row_is_bit_for_bit_the_same_whatever_stands_beside_it(quantised, name, data):
    spec, _, rows, found = quantised(name)
    session, label = Session(found.model), spec.graph.output_names[0]
    row = rows["input"][data.draw(st.integers(0, 199))]
    count = data.draw(st.integers(1, 70))
    value = data.draw(st.sampled_from([0.0, 1.0, -1000.0, 1e30, np.inf, np.nan]))
    batch = np.full((count, *row.shape), value, dtype=np.float32)
    place = data.draw(st.integers(0, count - 1))
    batch[place] = row
    alone = session.run({"input": row[None]})[label][0]
    assert np.array_equal(session.run({"input": batch})[label][place], alone)


@pytest.mark.parametrize("name", MODELS)
def test_the_file_passes_the_guards_and_is_the_same_twice(quantised, name):
    _, data, rows, found = quantised(name)
    guards.check_bytes(found.model, ".onnx", "model.onnx")
    assert quantise(data, rows).model == found.model


def test_a_small_output_layer_stays_in_float_and_a_large_one_does_not():
    _, data, rows = made("dense")
    assert quantise(data, rows).layers == ("dense_1", "dense_2", "dense_3")
    spec = parse("model: {input: [256], layers: [dense: {units: 64, activation: relu}, dense: 3]}\n"
                 "loss: cross_entropy\noptimizer: adam\n")  # fmt: skip
    whole, few = emit(spec.graph, initial_weights(spec.graph, 0)), examples(spec.graph, 40)
    found = quantise(whole, few)
    assert (found.layers, list(found.kept)) == (("dense_1",), ["dense_2"])
    assert quantise(whole, few, keep_outputs=False).layers == ("dense_1", "dense_2")


def test_a_batch_norm_becomes_part_of_its_convolution():
    spec, data, _ = made("convolution")
    graph = OnnxGraph(data)
    assert fold_batch_norms(graph) == 1
    assert "BatchNormalization" not in [node.op_type for node in graph.nodes]
    rows, label = examples(spec.graph, 20), spec.graph.output_names[0]
    before, after = (Session(item).run(rows)[label] for item in (data, graph.to_bytes()))
    assert np.max(np.abs(before - after)) < 1e-6


def test_a_model_without_layers_for_it_is_refused():
    spec = parse("model: {input: [4], layers: [batch_norm]}\nloss: mse\noptimizer: adam\n")
    with pytest.raises(UnsupportedError, match="needs a dense or convolutional layer"):
        quantise(emit(spec.graph, initial_weights(spec.graph, 0)), examples(spec.graph, 8))


@given(
    counts=st.lists(st.integers(0, 1000), min_size=64, max_size=64).filter(any),
    low=st.floats(-1e4, 0, width=32),
    high=st.floats(0, 1e4, width=32),
)
def test_levels_hold_zero_and_lie_within_the_range(counts, low, high):
    found = best_levels(np.array(counts), low, high)
    assert found.scale > 0
    least, most = (level - float(found.zero_point) for level in (0, LEVELS))
    room = 1.001 * float(found.scale)  # the zero point is rounded
    if high - low > 1e-30:
        assert low - room <= least * found.scale <= 0 <= most * found.scale <= high + room


def test_levels_give_up_a_rare_value_for_the_many():
    counts = np.zeros(4096, dtype=np.int64)
    counts[:40], counts[-1] = 1_000_000, 1
    assert best_levels(counts, 0.0, 1.0).scale < 0.02 / LEVELS * 1.1
    assert best_levels(np.zeros(4, dtype=np.int64), 0.0, 0.0) == Levels(np.float32(1), np.uint8(0))


def test_a_bias_fits_32_bits_even_where_a_unit_has_no_weights():
    scale = unit_scales(np.zeros((4, 2), np.float32), 1, np.array([1e6, 0.0], np.float32), 1e-3)
    assert abs(1e6 / (float(scale[0]) * 1e-3)) <= 2**30 * 1.001
    assert scale[1] > 0
