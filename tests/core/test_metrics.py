"""Metrics: scikit-learn's definitions on random and degenerate data, and what a spec may ask for."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sk

from dualml import (
    F1,
    R2,
    AbsoluteError,
    Accuracy,
    Adam,
    Auc,
    BinaryAccuracy,
    ConfusionMatrix,
    CrossEntropy,
    Dense,
    MeanSquaredError,
    Model,
    Perplexity,
    Precision,
    Recall,
    Spec,
    SquaredError,
    TopK,
)
from dualml.metrics import FORMULAS, measure
from dualml.metrics.text import lines, one_line, shown
from dualml.spec.checks import spec_problems
from dualml.spec.metrics import METRICS, larger_is_better

BY_CLASS = {Precision: sk.precision_score, Recall: sk.recall_score, F1: sk.f1_score}


def one(metric, task, outputs, targets, weights=None):
    return measure([metric], task, outputs, targets, weights)[metric.name]


@st.composite
def classified(draw, largest=6):
    """Logits with ties, targets that may miss classes, and weights of which some are 0 or ``None``."""
    count, classes = draw(st.integers(1, 30)), draw(st.integers(2, largest))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    outputs = random.integers(-3, 4, (count, classes)) / 2
    targets = random.integers(0, draw(st.integers(1, classes)), count)
    weights = random.integers(0, 4, count) / 2 if draw(st.booleans()) else None
    if weights is not None and not weights.any():
        weights[0] = 1.0
    return outputs, targets, weights


def kept(targets, weights):
    """scikit-learn counts classes that only have examples of weight 0 as there; dualml leaves these examples out."""
    return np.ones(len(targets), bool) if weights is None else weights > 0


def softmax(outputs):
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@given(classified())
def test_accuracy_and_confusion_matrix_are_scikit_learns(data):
    outputs, targets, weights = data
    decided = outputs.argmax(axis=1)
    assert math.isclose(
        one(Accuracy(), "classes", *data), sk.accuracy_score(targets, decided, sample_weight=weights), abs_tol=1e-15
    )
    wanted = sk.confusion_matrix(targets, decided, labels=range(outputs.shape[1]), sample_weight=weights)
    np.testing.assert_allclose(one(ConfusionMatrix(), "classes", *data), wanted)


@given(classified(), st.sampled_from(list(BY_CLASS)), st.sampled_from(["macro", "micro", "weighted"]))
def test_averages_over_classes_are_scikit_learns(data, kind, average):
    outputs, targets, weights = data
    rows = kept(targets, weights)
    weights_kept = None if weights is None else weights[rows]
    wanted = BY_CLASS[kind](
        targets[rows], outputs.argmax(axis=1)[rows], average=average, zero_division=0, sample_weight=weights_kept
    )
    assert math.isclose(one(kind(average), "classes", *data), wanted, abs_tol=1e-12)
    if average == "macro":
        assert one(kind(), "classes", *data) == one(kind(average), "classes", *data)


@given(classified(2), st.sampled_from(list(BY_CLASS)), st.floats(0.05, 0.95))
def test_binary_averages_are_scikit_learns(data, kind, threshold):
    outputs, targets, weights = data
    decided = outputs.argmax(axis=1)
    wanted = BY_CLASS[kind](targets, decided, zero_division=0, sample_weight=weights)
    assert math.isclose(one(kind("binary"), "classes", *data), wanted, abs_tol=1e-12)
    probabilities = 1 / (1 + np.exp(-outputs[:, 0]))
    wanted = BY_CLASS[kind](targets, probabilities > threshold, zero_division=0, sample_weight=weights)
    metric = kind(threshold=threshold)
    assert math.isclose(one(metric, "decisions", outputs[:, :1], targets, weights), wanted, abs_tol=1e-12)
    accuracy = one(BinaryAccuracy(threshold), "decisions", outputs[:, :1], targets[:, None], weights)
    wanted = sk.accuracy_score(targets, probabilities > threshold, sample_weight=weights)
    assert math.isclose(accuracy, wanted, abs_tol=1e-12)


def test_a_probability_at_the_threshold_is_a_no():
    """The trap: Keras decides by ``p > 0.5``; ``p >= 0.5`` and rounding decide otherwise at logit 0."""
    assert one(BinaryAccuracy(), "decisions", np.array([0.0, 1e-9]), np.array([0, 1])) == 1.0


@given(classified(3))
def test_areas_are_scikit_learns_and_undefined_where_a_class_is_missing(data):
    outputs, targets, weights = data
    rows = kept(targets, weights)
    ours = one(Auc(), "classes", outputs, targets, weights)
    assert (ours is None) == (len(np.unique(targets[rows])) < outputs.shape[1])
    if ours is not None and outputs.shape[1] == 2:
        wanted = sk.roc_auc_score(targets, outputs[:, 1] - outputs[:, 0], sample_weight=weights)
        assert math.isclose(ours, wanted, abs_tol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_area_of_several_classes_is_scikit_learns_ovr(weighted):
    random = np.random.default_rng(0)
    outputs, targets = random.normal(size=(400, 5)), random.integers(0, 5, 400)
    weights = random.uniform(0.1, 2, 400) if weighted else None
    wanted = sk.roc_auc_score(targets, softmax(outputs), multi_class="ovr", average="macro", sample_weight=weights)
    assert math.isclose(one(Auc(), "classes", outputs, targets, weights), wanted, rel_tol=1e-12)


def test_area_of_decisions_is_exact_where_probabilities_run_together():
    """Logits above 37 all have probability 1 in float64; their ranks remain."""
    outputs, targets = np.array([50.0, 40.0, 60.0, -1.0]), np.array([0, 0, 1, 0])
    assert one(Auc(), "decisions", outputs, targets) == 1.0


@given(classified())
def test_top_k_of_distinct_outputs_is_scikit_learns(data):
    outputs, targets, weights = data
    outputs = outputs + np.linspace(0, 0.4, outputs.shape[1])  # no ties
    for k in range(1, outputs.shape[1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = outputs if outputs.shape[1] > 2 else softmax(outputs)[:, 1]
            wanted = sk.top_k_accuracy_score(targets, score, k=k, labels=range(outputs.shape[1]), sample_weight=weights)
        assert math.isclose(one(TopK(k), "classes", outputs, targets, weights), wanted, abs_tol=1e-12)


@given(classified())
def test_top_1_is_accuracy_and_top_all_is_1(data):
    """The trap: with ties the frameworks' top-k count differently, and differently from their own accuracy."""
    outputs = data[0]
    assert one(TopK(1), "classes", *data) == one(Accuracy(), "classes", *data)
    assert one(TopK(outputs.shape[1]), "classes", *data) == 1.0


@given(classified())
def test_perplexity_is_the_exponential_of_the_log_loss(data):
    outputs, targets, weights = data
    log_loss = sk.log_loss(targets, softmax(outputs), labels=range(outputs.shape[1]), sample_weight=weights)
    assert math.isclose(one(Perplexity(), "classes", *data), math.exp(log_loss), rel_tol=1e-12)


def test_perplexity_of_equal_outputs_is_the_number_of_classes():
    assert math.isclose(one(Perplexity(), "classes", np.zeros((3, 2, 7)), np.ones((3, 2), int)), 7, rel_tol=1e-15)


@given(st.integers(1, 20), st.integers(1, 3), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_values_are_scikit_learns(count, size, seed, weighted, constant):
    random = np.random.default_rng(seed)
    outputs, targets = random.normal(size=(count, size)), random.normal(size=(count, size))
    if constant:
        targets[:, 0] = 2.0
        outputs[:, -1] = targets[:, -1]
    weights = random.integers(1, 4, count) / 2 if weighted else None
    for metric, theirs in [(SquaredError(), sk.mean_squared_error), (AbsoluteError(), sk.mean_absolute_error)]:
        assert math.isclose(
            one(metric, "values", outputs, targets, weights), theirs(targets, outputs, sample_weight=weights)
        )
    ours = one(R2(), "values", outputs, targets, weights)
    if count < 2:
        assert ours is None
    else:
        assert math.isclose(ours, sk.r2_score(targets, outputs, sample_weight=weights), rel_tol=1e-9, abs_tol=1e-12)


@given(classified(), st.sampled_from([kind for kind in METRICS if "classes" in kind.suits]))
def test_what_has_weight_0_is_left_out_whatever_its_target(data, kind):
    outputs, targets, _ = data
    metric = kind()
    extended = np.concatenate([outputs, outputs[:1]]), np.append(targets, -100)  # what ignore_index leaves behind
    weights = np.append(np.ones(len(targets)), 0.0)
    assert one(metric, "classes", *extended, weights) == one(metric, "classes", outputs, targets)


@given(classified(), st.sampled_from(METRICS), st.integers(1, 3))
def test_a_whole_weight_counts_as_so_many_examples(data, kind, factor):
    outputs, targets, _ = data
    task = sorted(kind.suits)[0]
    if task != "classes":
        outputs, targets = outputs[:, :1], targets[:, None]
    metric = kind()
    weights = np.where(np.arange(len(targets)) == 0, factor, 1).astype(float)
    repeated = np.repeat(np.arange(len(targets)), weights.astype(int))
    ours = one(metric, task, outputs, targets, weights)
    wanted = one(metric, task, outputs[repeated], targets[repeated])
    if kind is R2 and len(targets) < 2:
        return  # one example with weight 2 has no spread that could be explained; two equal ones have none either
    if wanted is None:
        assert ours is None
    else:
        np.testing.assert_allclose(np.array(ours, float), np.array(wanted, float), rtol=1e-9, atol=1e-9)


@given(classified())
def test_results_do_not_depend_on_the_order_or_the_form_of_examples(data):
    outputs, targets, weights = data
    metrics = [kind() for kind in METRICS if "classes" in kind.suits]
    order = np.random.default_rng(0).permutation(len(targets))
    moved = measure(metrics, "classes", outputs[order], targets[order], None if weights is None else weights[order])
    formed = measure(metrics, "classes", outputs[:, None], targets[:, None], weights)
    for name, value in measure(metrics, "classes", *data).items():
        for other in (moved[name], formed[name]):
            assert (value is None) == (other is None)
            if value is not None:
                np.testing.assert_allclose(other, value, rtol=1e-12)


def test_every_metric_has_a_formula_and_a_direction():
    assert set(FORMULAS) == set(METRICS)
    falling = {metric.kind for metric in METRICS if not metric.larger_is_better}
    assert falling == {"perplexity", "mse", "mae"}
    assert larger_is_better("val_accuracy", [Accuracy()])
    assert not larger_is_better("val_mse", [SquaredError()])


def test_nothing_to_measure_is_undefined():
    assert one(Accuracy(), "classes", np.zeros((2, 3)), np.zeros(2, int), np.zeros(2)) is None
    assert one(Perplexity(), "classes", np.array([[0.0, 1e5]]), np.array([0])) is None  # infinite


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="3 targets need as many outputs"):
        one(Accuracy(), "classes", np.zeros((2, 3)), np.zeros(3, int))
    with pytest.raises(ValueError, match="weights must have"):
        one(Accuracy(), "classes", np.zeros((2, 3)), np.zeros(2, int), np.ones(3))


def test_results_as_text():
    results = {"loss": 0.25, "auc": None, "confusion_matrix": [[10, 0], [2, 3]]}
    assert one_line(results) == "loss 0.2500  auc undefined"
    assert lines(results, "test_", ["cat", "dog"])[2:] == [
        "test_confusion_matrix (rows: target, columns: predicted)",
        "     cat  dog",
        "cat   10    0",
        "dog    2    3",
    ]
    assert shown([[1.5]]) == "[[1.5]]"


# In a spec


def spec(**settings):
    given = {"loss": CrossEntropy(), "optimizer": Adam(), "model": Model(input=(4,), layers=[Dense(3)])} | settings
    return Spec(**given)


def test_metrics_are_written_as_their_key_or_with_settings():
    metrics = spec(metrics=["accuracy", {"top_k": 2}, {"f1": {"average": "micro"}}]).metrics
    assert metrics == (Accuracy(), TopK(k=2), F1(average="micro"))
    assert [metric.name for metric in metrics] == ["accuracy", "top_2", "f1_micro"]
    assert spec().resolved.metrics == (Accuracy(),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["mse"]}, "mse needs targets that are values, which cross_entropy does not have"),
        ({"metrics": ["binary_accuracy"]}, "needs yes-or-no targets"),
        ({"metrics": ["accuracy"], "loss": MeanSquaredError()}, "choose among mse, mae, r2"),
        ({"metrics": ["f1", "f1"]}, "f1 is measured twice"),
        ({"metrics": [{"top_k": 4}]}, "at most the number of classes, 3, got 4"),
        ({"metrics": [{"recall": "binary"}]}, "needs 2 classes, not 3"),
        ({"train": {"early_stopping": {"metric": "val_f1"}}}, "known: val_loss, val_accuracy"),
        ({"metrics": ["confusion_matrix"], "train": {"checkpoints": {"best": "val_confusion_matrix"}}}, "no single"),
        ({"schedule": {"reduce_on_plateau": {"metric": "val_f1"}}}, "no metric 'val_f1' is measured"),
    ],
)
def test_metrics_a_spec_cannot_measure_are_refused(settings, message):
    assert any(message in problem.message for problem in spec_problems(spec(**settings)))


def test_what_can_be_measured_and_watched_is_accepted():
    watched = {"early_stopping": {"metric": "val_top_2"}, "checkpoints": {"best": "val_f1_micro"}}
    metrics = ["auc", {"top_k": 2}, {"f1": "micro"}, "confusion_matrix", "perplexity"]
    schedule = {"reduce_on_plateau": {"metric": "val_perplexity"}}
    assert spec_problems(spec(metrics=metrics, train=watched, schedule=schedule)) == []
