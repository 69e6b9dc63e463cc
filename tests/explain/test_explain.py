"""Explanations: against Captum, between backends, and by what each method promises."""

import re

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import dualml
from dualml.errors import DataError, RunError, UnsupportedError
from dualml.explain import METHODS, explain, relative_difference
from dualml.explain.methods import Windowing
from dualml.explain.scored import score, score_slopes
from dualml.training.run_directory import open_run


def native(run, precision="float64"):
    """The run's model as a torch module in inference mode, for Captum."""
    stored = open_run(run)
    weights = {name: array.astype(precision) for name, array in stored.weights().items()}
    module = dualml.build(stored.spec.replace(precision=precision), "torch", weights=weights).native
    return module.eval()


def channels_first(images, run):
    seen = open_run(run).preparation.apply(
        images, {"input": dualml.api.needs_of(open_run(run).spec).inputs["input"]}, "float32"
    )
    return torch.from_numpy(np.moveaxis(seen, -1, 1).astype(np.float64).copy())


def from_captum(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def assert_as_near(found, wanted, relative):
    assert np.abs(found - wanted).max() <= relative * np.abs(wanted).max()


@pytest.mark.parametrize("of", ["output", "prediction"])
def test_integrated_gradients_are_captum_s(images_run, digits, of):
    found = explain(images_run, digits, of=of, steps=50)
    model = native(images_run)
    forward = model if of == "output" else lambda x: torch.softmax(model(x), -1)
    wanted, gap = captum.attr.IntegratedGradients(forward).attribute(
        channels_first(digits, images_run),
        target=torch.from_numpy(found.targets),
        n_steps=50,
        method="gausslegendre",
        return_convergence_delta=True,
    )
    assert_as_near(found.attributions["input"], from_captum(wanted), 1e-7)  # Captum's weights are float32
    np.testing.assert_allclose(found.gaps, gap.numpy(), atol=1e-7)


def test_gradient_x_input_is_captum_s(images_run, digits):
    found = explain(images_run, digits, method="gradient_x_input", target=3)
    wanted = captum.attr.InputXGradient(native(images_run)).attribute(
        channels_first(digits, images_run).requires_grad_(), target=3
    )
    assert_as_near(found.attributions["input"], from_captum(wanted), 1e-12)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 2), (3, 2), (5, 4)])
def test_occlusion_is_captum_s(images_run, digits, window, stride):
    found = explain(images_run, digits, method="occlusion", target=3, window=window, stride=stride, baseline=8)
    wanted = captum.attr.Occlusion(native(images_run)).attribute(
        channels_first(digits, images_run), (1, window, window), (1, stride, stride), baselines=0.5, target=3
    )
    assert_as_near(found.attributions["input"], from_captum(wanted), 1e-7)  # Captum adds in float32


@pytest.mark.parametrize("method", METHODS)
def test_both_backends_say_the_same(images_run, digits, method):
    left = explain(images_run, digits, "torch", method=method, steps=32)
    right = explain(images_run, digits, "tensorflow", method=method, steps=32, target=left.targets)
    assert (left.backend, right.backend) == ("torch", "tensorflow")
    assert np.abs(left.attributions["input"]).max() > 0
    _, relative = relative_difference(left, right)
    assert relative <= 1e-5


def test_float32_is_the_run_s_arithmetic(images_run, digits):
    exact, rounded = (
        explain(images_run, digits, method="gradient_x_input", precision=name) for name in ("float64", "float32")
    )
    apart, relative = relative_difference(exact, rounded)
    assert apart > 0
    assert relative < 1e-4


@pytest.mark.parametrize("of", ["output", "prediction"])
def test_gaps_close_with_more_steps(images_run, digits, of):
    coarse, fine = (explain(images_run, digits, of=of, steps=steps) for steps in (8, 256))
    assert fine.relative_gap < 5e-3
    assert fine.relative_gap < coarse.relative_gap


def test_values_add_up_to_the_change_of_the_score(images_run, digits):
    found = explain(images_run, digits, steps=256, baseline=16.0, of="prediction")
    probabilities = dualml.predict(images_run, digits)
    assert np.array_equal(found.targets, probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.scores, probabilities.max(axis=1), atol=1e-5)
    white = dualml.predict(images_run, np.full((1, 64), 16.0))[0]
    np.testing.assert_allclose(found.baseline_scores, white[found.targets], atol=1e-5)
    sums = found.attributions["input"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found.gaps, sums - (found.scores - found.baseline_scores), atol=1e-12)


def test_a_linear_model_is_explained_exactly(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) % 2)
    text = (
        f"model: {{input: 3, layers: [dense: 2]}}\ndata: {{source: npz, path: {tmp_path / 'data.npz'}}}\n"
        "loss: cross_entropy\noptimizer: adam\ntrain: {epochs: 1}\n"
    )
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    run = dualml.train(dualml.load(tmp_path / "config.yaml"), backend="torch", out=tmp_path / "run")
    x, b = np.array([[1.0, -2.0, 3.0]]), np.array([[0.5, 0.25, 0.0]])
    kernel = next(array for array in run.weights.values() if array.ndim == 2)
    for method in METHODS:
        found = explain(tmp_path / "run", x, method=method, target=1, baseline=b, steps=1)
        np.testing.assert_allclose(found.attributions["input"], (x - b) * kernel[:, 1], rtol=1e-12)


def test_whole_numbers_are_held_by_gradients_and_covered_by_occlusion(mixed_run):
    examples = {"kind": np.array([[1, 2, 3], [4, 0, 1]]), "size": np.array([[0.5, 1.0], [-2.0, 0.1]])}
    found = explain(mixed_run, examples, steps=64)
    assert set(found.attributions) == {"size"}
    assert found.relative_gap < 1e-6
    assert set(found.classes) <= {"yes", "no"}
    covered = explain(mixed_run, examples, method="occlusion", target="no")
    assert {name: array.shape for name, array in covered.attributions.items()} == {"kind": (2, 3), "size": (2, 2)}
    assert abs(covered.attributions["kind"][1, 1]) < 1e-15  # it is 0 already
    assert np.abs(covered.attributions["kind"][0]).min() > 0
    other = explain(mixed_run, examples, "tensorflow", method="occlusion", target="no")
    assert relative_difference(covered, other)[1] < 1e-10


def test_many_examples_are_explained_in_pieces(images_run, digits, monkeypatch):
    whole = {method: explain(images_run, digits, method=method, steps=7) for method in METHODS}
    monkeypatch.setattr("dualml.explain.scored.ROWS", 3)
    for method, found in whole.items():
        pieces = explain(images_run, digits, method=method, steps=7)
        assert_as_near(pieces.attributions["input"], found.attributions["input"], 1e-12)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_windows_cover_every_place(rows, columns, data):
    window = data.draw(st.integers(1, 14))
    stride = data.draw(st.integers(1, window))
    counts = np.zeros((rows, columns), dtype=int)
    for place in Windowing((rows, columns), window, stride).windows():
        assert counts[place].size
        counts[place] += 1
    assert counts.min() >= 1


@given(
    st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.sampled_from(["softmax", "sigmoid", "identity"]), st.data()
)
@settings(max_examples=60, deadline=None)
def test_slopes_are_derivatives_of_scores(values, kind, data):
    z = np.array([values])
    target = np.array([data.draw(st.integers(0, len(values) - 1))])
    slopes = score_slopes(z, target, len(values), kind)[0]
    for index in range(len(values)):
        step = np.zeros_like(z)
        step[0, index] = 1e-5
        slope = (score(z + step, target, kind) - score(z - step, target, kind)) / 2e-5
        np.testing.assert_allclose(slopes[index], slope[0], atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": 10}, DataError, "target must be from 0 to 9, got 10"),
        ({"target": "ten"}, DataError, "target must be a class, but there is none named 'ten'"),
        ({"target": [1, 2]}, DataError, "one class number or one for each of 5 examples"),
        ({"target": [0.5] * 5}, DataError, "one class number or one for each of 5 examples"),
        ({"method": "saliency"}, RunError, "method must be one of integrated_gradients, gradient_x_input, occlusion"),
        ({"steps": 0}, RunError, "steps must be at least 1, got 0"),
        ({"method": "occlusion", "window": 2, "stride": 3}, RunError, "stride must be at most window"),
        ({"baseline": "black"}, DataError, "baseline must be zeros, a number or raw examples"),
        ({"baseline": np.zeros((3, 64))}, DataError, "baseline must hold one example or 5"),
        ({"baseline": np.zeros((1, 3))}, DataError, "baseline: inputs must have 64 values"),
        ({"output": "other"}, RunError, "the model has no output 'other'"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40] if isinstance(value, dict) else "",
)
def test_mistakes(images_run, digits, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        explain(images_run, digits, **arguments)


def test_texts_have_no_gradient(tmp_path):
    text = (
        "model:\n  input: {shape: [6], dtype: integer}\n"
        "  layers: [embedding: {vocabulary: 256, units: 4}, flatten: {}, dense: 2]\n"
        "data: {source: npz, path: ids.npz}\nloss: cross_entropy\noptimizer: adam\ntrain: {epochs: 1}\n"
    )
    np.savez(tmp_path / "ids.npz", x=np.random.default_rng(0).integers(0, 256, (30, 6)), y=np.arange(30) % 2)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    dualml.train(dualml.load(tmp_path / "config.yaml"), backend="torch", out=tmp_path / "run")
    ids = np.array([[1, 2, 3, 4, 5, 0]])
    with pytest.raises(UnsupportedError, match="use method occlusion"):
        explain(tmp_path / "run", ids)
    assert explain(tmp_path / "run", ids, method="occlusion").attributions["input"].shape == (1, 6)
