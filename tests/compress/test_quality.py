"""Intervals, and what is judged."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import dualml
from dualml.compress.quality import Outcome, judge, paired_interval, share_interval
from dualml.config.loader import parse

CLASSES = parse("model: {input: 2, layers: [dense: 3]}\nloss: cross_entropy\noptimizer: adam\nmetrics: [accuracy]\n")
VALUES = parse("model: {input: 2, layers: [dense: 1]}\nloss: mse\noptimizer: adam\nmetrics: [mse]\n")
rows = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=200)


@given(rows)
def test_intervals_of_shares_hold_them(pairs):
    before, after = np.array(pairs).T
    low, high = share_interval(before)
    assert 0 <= low <= np.mean(before) <= high <= 1
    low, high = paired_interval(before, after)
    assert low < high
    fall = np.mean(before) - np.mean(after)
    assert low - 2 / len(pairs) <= fall <= high + 2 / len(pairs)


def test_an_interval_of_a_share_holds_the_truth_as_often_as_it_says():
    generator, held = np.random.default_rng(0), 0
    for _ in range(2000):
        low, high = share_interval(generator.random(150) < 0.93)
        held += low <= 0.93 <= high
    assert 0.93 < held / 2000 < 0.97


def outcomes(spec, raws, targets, weights=None):
    node, label = spec.graph.output, spec.graph.output_names[0]
    found = []
    for raw in raws:
        raw = np.asarray(raw, np.float32)
        exp = np.exp(raw - raw.max(-1, keepdims=True))
        prediction = exp / exp.sum(-1, keepdims=True) if spec is CLASSES else raw
        found.append(Outcome({node: raw}, {label: prediction}, {node: targets}, weights))
    return found


def test_accuracy_lost_is_the_difference():
    eye = np.eye(3)[np.arange(90) % 3] * 5
    worse = eye.copy()
    worse[:9] = np.roll(worse[:9], 1, axis=1)
    quality = judge(*outcomes(CLASSES, (eye, worse), np.arange(90) % 3), CLASSES, "test")
    assert (quality.metric, quality.before, quality.after, quality.relative) == ("accuracy", 1.0, 0.9, False)
    assert quality.loss == pytest.approx(0.1)
    assert quality.agreement == pytest.approx(0.9)
    assert quality.loss_interval[0] < 0.1 < quality.loss_interval[1] < 0.25
    assert quality.largest_difference == pytest.approx(0.98, abs=0.01)


def test_an_error_that_grows_is_lost_as_a_share_of_what_it_was():
    generator = np.random.default_rng(1)
    target = generator.normal(size=(400, 1)).astype(np.float32)
    noise = generator.normal(size=(400, 1))
    quality = judge(*outcomes(VALUES, (target + noise, target + 1.1 * noise), target), VALUES, "test")
    assert (quality.metric, quality.relative, quality.agreement) == ("mse", True, None)
    assert quality.loss == pytest.approx(0.21, abs=1e-4)
    spread = np.std(noise**2) / np.sqrt(400)
    assert quality.before_interval[1] - quality.before == pytest.approx(1.96 * spread, rel=0.35)
    assert quality.loss_interval == pytest.approx((0.21, 0.21), abs=1e-3)  # every example's error grew alike


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_examples_of_no_weight_do_not_count(seed):
    generator = np.random.default_rng(seed)
    raws, targets = generator.normal(size=(2, 60, 3)), generator.integers(0, 3, 60)
    weights = (np.arange(60) < 40).astype(np.float32)
    weighted = judge(*outcomes(CLASSES, raws, targets, weights), CLASSES, "test")
    alone = judge(*outcomes(CLASSES, raws[:, :40], targets[:40]), CLASSES, "test")
    assert weighted.before == pytest.approx(alone.before)
    assert weighted.loss == pytest.approx(alone.loss)


def test_accuracy_is_judged_if_nothing_is_said():
    spec = parse("model: {input: 2, layers: [dense: 3]}\nloss: cross_entropy\noptimizer: adam\n")
    raw = np.eye(3)
    assert judge(*outcomes(CLASSES, (raw, raw), np.arange(3)), spec, "test").metric == "accuracy"
    assert isinstance(spec, dualml.Spec)
