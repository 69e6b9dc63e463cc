"""Fewer neurons and lower rank: what is taken out of a spec and its weights, and that the rest computes the same."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import dualml
from dualml.compress.low_rank import lower_rank
from dualml.compress.neurons import cut_neurons, most_important
from dualml.config.loader import parse
from dualml.errors import UnsupportedError
from dualml.export.compare import examples, reference_predictions
from dualml.randomness import uniform, words
from dualml.weights import initial_weights

MODELS = {
    "dense": ("[7]", "[dense: {units: 6, activation: relu}, dropout: 0.1, dense: {units: 8, bias: false}, dense: 3]"),
    "sequence": ("[4, 7]", "[dense: {units: 6, activation: gelu}, flatten, dense: {units: 8}, dense: 3]"),
    "convolutions": (
        "[6, 6, 2]",
        "[conv2d: {filters: 6, kernel_size: 3, padding: same, bias: false}, batch_norm, activation: relu, "
        "max_pool2d: 2, conv2d: {filters: 4, kernel_size: 2, stride: 2, padding: same, activation: tanh}, flatten, "
        "dense: {units: 8, activation: relu}, dense: 3]",
    ),
    "one axis": (
        "[9, 4]",
        "[conv1d: {filters: 8, kernel_size: 3, dilation: 2}, average_pool1d: 2, conv1d: {filters: 6, kernel_size: 2}, "
        "global_average_pool, dense: 3]",
    ),
    "repeat": (
        "[8]",
        "[repeat: {times: 2, layers: [residual: [dense: {units: 10, activation: relu}, dense: 8]]}, "
        "dense: {units: 6, activation: relu, name: last}, dense: 3]",
    ),
    "branches": (
        "[8]",
        "[dense: {units: 6, name: trunk, activation: relu}, dense: {units: 5, name: left}, "
        "dense: {units: 5, name: right, inputs: trunk}, add: {inputs: [left, right]}, dense: 3]",
    ),
}  # fmt: skip
CUT = {
    "dense": {"dense_1", "dense_2"},
    "sequence": {"dense_1", "dense_2"},
    "convolutions": {"conv2d_1", "conv2d_2", "dense_1"},
    "one axis": {"conv1d_1", "conv1d_2"},
    "repeat": {"repeat_1_time_1_residual_1_main_dense_1", "repeat_1_time_2_residual_1_main_dense_1", "last"},
    "branches": {"trunk"},
}
"""Which layers lose units."""


def made(name):
    shape, layers = MODELS[name]
    spec = parse(
        f"model: {{input: {shape}, layers: {layers}}}\nprecision: float64\nloss: cross_entropy\noptimizer: adam\n"
    )
    weights = initial_weights(spec.graph, 1)
    return spec, {key: array + 0.5 + uniform(0, key, array.shape) if ".running" in key else array
                  for key, array in weights.items()}  # fmt: skip


def predictions(spec, weights):
    (found,) = reference_predictions(spec.graph, weights, examples(spec.graph, 5)).values()
    return found


def readers(graph, name):
    """Layers with a kernel that read a node, through whatever stands between, and the positions of each channel."""
    for node in graph.nodes:
        if name in node.inputs:
            if node.parameter("kernel") is not None:
                yield node
            else:
                yield from readers(graph, node.name)


@pytest.mark.parametrize("name", MODELS)
@given(seed=st.integers(0, 1000))
def test_neurons_that_nothing_reads_go_and_nothing_changes(name, seed):
    spec, weights = made(name)
    for target in CUT[name]:
        units = spec.graph.by_name[target].shape[-1]
        unread = np.argsort(words(seed, target, units))[: units // 2]
        for reader in readers(spec.graph, target):
            kernel = weights[f"{reader.name}.kernel"].copy()
            shape = kernel.shape
            kernel = kernel.reshape(*shape[:-2], -1, units, shape[-1])  # positions of a flattened input
            kernel[..., unread, :] = 0
            weights[f"{reader.name}.kernel"] = kernel.reshape(shape)
    small = cut_neurons(spec, weights, 0.5)
    assert set(small.layers) == CUT[name]
    for target in CUT[name]:
        assert small.spec.graph.by_name[target].shape[-1] == spec.graph.by_name[target].shape[-1] // 2
    assert np.max(np.abs(predictions(small.spec, small.weights) - predictions(spec, weights))) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_of_low_rank_becomes_two_that_compute_the_same(name):
    spec, weights = made(name)
    for node in spec.graph.nodes:
        if node.parameter("kernel") is not None:
            kernel = weights[f"{node.name}.kernel"]
            left, values, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
            weights[f"{node.name}.kernel"] = (left[:, :1] * values[:1] @ right[:1]).reshape(kernel.shape)
    small = lower_rank(spec, weights, energy=0.999999)
    assert {"rank 1"} == {what.partition(" of")[0] for what in small.layers.values()}
    assert len(small.layers) >= 2
    count = [sum(array.size for array in item.values()) for item in (small.weights, weights)]
    assert count[0] < count[1]
    assert np.max(np.abs(predictions(small.spec, small.weights) - predictions(spec, weights))) < 1e-12


@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_a_share_of_the_weights_stays(keep):
    spec = parse("model: {input: 60, layers: [dense: 80, dense: 70]}\nloss: mse\noptimizer: adam\n")
    weights = initial_weights(spec.graph, 0)
    small = lower_rank(spec, weights, keep=keep)
    for layer in ("dense_1", "dense_2"):
        size = sum(small.weights[f"{name}.kernel"].size for name in (layer, f"{layer}_low_rank"))
        assert keep - 0.03 < size / weights[f"{layer}.kernel"].size <= keep


def test_a_truncated_kernel_is_the_nearest_of_its_rank():
    spec = parse("model: {input: 20, layers: [dense: 30]}\nloss: mse\noptimizer: adam\n")
    weights = initial_weights(spec.graph, 0)
    small = lower_rank(spec, weights, keep=0.5)
    found = small.weights["dense_1_low_rank.kernel"].astype(float) @ small.weights["dense_1.kernel"].astype(float)
    values = np.linalg.svd(weights["dense_1.kernel"].astype(float), compute_uv=False)
    assert np.linalg.norm(found - weights["dense_1.kernel"]) == pytest.approx(np.linalg.norm(values[6:]), rel=1e-5)


WHOLE = {
    "it gives an output": "[dense: 4]",
    "needs all of its channels": "[dense: {units: 4, activation: softmax}, dense: 3]",
    "another layer uses its weights": "[dense: {units: 8, name: a}, dense: {units: 8, name: b}, shared: b, dense: 3]",
    "shares its weights": "[dense: {units: 8, name: a}, dense: {units: 8, name: b}, shared: b, dense: 3]",
}


@pytest.mark.parametrize("why", WHOLE)
def test_what_cannot_lose_neurons_says_why(why):
    spec = parse(f"model: {{input: 8, layers: {WHOLE[why]}}}\nloss: mse\noptimizer: adam\n")
    with pytest.raises(UnsupportedError, match=why):
        cut_neurons(spec, initial_weights(spec.graph, 0), 0.5)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.data())
def test_the_most_important_stay_in_order(values, data):
    count = data.draw(st.integers(1, len(values)))
    found = most_important(np.array(values), count)
    assert sorted(set(found)) == found.tolist()
    out = set(range(len(values))) - set(found.tolist())
    assert all(values[one] >= values[other] for one in found for other in out)


def test_a_config_that_names_what_is_split_still_finds_it():
    spec = parse(
        "model: {input: 20, layers: [dense: {units: 30, name: hidden, activation: relu}, dense: 3]}\nloss: mse\n"
        "optimizer: adam\nregularizers: [{l2: {factor: 0.1}}]\n"
    )
    small = lower_rank(spec, initial_weights(spec.graph, 0), keep=0.5)
    names = [node.name for node in small.spec.graph.nodes]
    assert names == ["hidden_low_rank", "hidden", "hidden_relu", "dense_1_low_rank", "dense_1"]
    assert small.spec.graph.by_name["hidden_low_rank"].parameter("bias") is None


def test_both_backends_predict_the_same_with_the_smaller_weights(dense_run):
    from dualml.training.run_directory import open_run

    stored = open_run(dense_run)
    for small in (cut_neurons(stored.spec, stored.weights(), 0.5), lower_rank(stored.spec, stored.weights(), 0.5)):
        inputs = examples(small.spec.graph, 64)
        one, other = (
            dualml.build(small.spec, backend, weights=small.weights).predict(inputs)
            for backend in ("torch", "tensorflow")
        )
        assert np.max(np.abs(one - other)) < 2e-6
