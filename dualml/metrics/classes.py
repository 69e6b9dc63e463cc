"""Metrics of classes and of yes-or-no decisions."""

from __future__ import annotations

import numpy as np

from dualml.metrics.base import Examples, Float, Result
from dualml.spec.metrics import F1, Accuracy, BinaryAccuracy, ConfusionMatrix, Perplexity, Precision, Recall, TopK


def accuracy(_settings: Accuracy, examples: Examples) -> Result:
    """Share of examples whose first largest output is the target's."""
    return examples.mean(examples.outputs.argmax(axis=1) == examples.targets)


def top_k(settings: TopK, examples: Examples) -> Result:
    """Share of examples with fewer than ``k`` outputs ahead of the target's."""
    outputs = examples.outputs
    own = np.take_along_axis(outputs, examples.targets[:, None], axis=1)
    first = np.arange(examples.classes) < examples.targets[:, None]
    ahead = (outputs > own) | ((outputs == own) & first)
    return examples.mean(ahead.sum(axis=1) < settings.k)


def binary_accuracy(settings: BinaryAccuracy, examples: Examples) -> Result:
    """Share of right decisions."""
    return examples.mean(examples.decided(settings.threshold) == examples.targets)


def perplexity(_settings: Perplexity, examples: Examples) -> Result:
    """``exp`` of the mean negative log-likelihood."""
    own = np.take_along_axis(examples.outputs, examples.targets[:, None], axis=1)[:, 0]
    return float(np.exp(examples.mean(log_sum(examples.outputs) - own)))


def confusion_matrix(settings: ConfusionMatrix, examples: Examples) -> Result:
    """Whole numbers, or sums of weights if weights were given."""
    matrix = counts(examples, settings.threshold)
    return [[value if examples.weighted else int(value) for value in row] for row in matrix.tolist()]


def precision(settings: Precision, examples: Examples) -> Result:
    """Right among predicted."""
    right, predicted, there = totals(settings, examples)
    return averaged(settings, examples, right, predicted, there)


def recall(settings: Recall, examples: Examples) -> Result:
    """Right among there."""
    right, _, there = totals(settings, examples)
    return averaged(settings, examples, right, there, there)


def f1(settings: F1, examples: Examples) -> Result:
    """Harmonic mean of precision and recall, written so that it is defined where one of them is not."""
    right, predicted, there = totals(settings, examples)
    return averaged(settings, examples, 2.0 * right, predicted + there, there)


def counts(examples: Examples, threshold: float) -> Float:
    """Weight of the examples of each class (row) taken for each class (column)."""
    size = examples.classes
    cells = examples.targets * size + examples.decided(threshold)
    totals = np.bincount(cells, weights=examples.weights, minlength=size * size)
    return np.asarray(totals, dtype=np.float64).reshape(size, size)


def totals(settings: Precision | Recall | F1, examples: Examples) -> tuple[Float, Float, Float]:
    """Of each class that occurs among targets or decisions: those right, those predicted, those there."""
    matrix = counts(examples, settings.threshold)
    right, predicted, there = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    average = average_of(settings, examples)
    kept = [1] if average == "binary" else np.flatnonzero(predicted + there)
    right, predicted, there = right[kept], predicted[kept], there[kept]
    if average == "micro":
        return right.sum(keepdims=True), predicted.sum(keepdims=True), there.sum(keepdims=True)
    return right, predicted, there


def average_of(settings: Precision | Recall | F1, examples: Examples) -> str:
    """How classes are averaged."""
    if settings.average == "auto":
        return "binary" if examples.task == "decisions" else "macro"
    return settings.average


def averaged(settings: Precision | Recall | F1, examples: Examples, over: Float, under: Float, there: Float) -> float:
    """Quotients of each class, 0 where nothing is counted, and their average."""
    quotients = np.divide(over, under, out=np.zeros_like(over, dtype=np.float64), where=under > 0)
    weights = there if average_of(settings, examples) == "weighted" else np.ones_like(there)
    return float(np.sum(quotients * weights) / np.sum(weights))


def log_sum(outputs: Float) -> Float:
    """``ln sum exp`` over the last axis."""
    largest = outputs.max(axis=-1)
    return np.asarray(largest + np.log(np.exp(outputs - largest[..., None]).sum(axis=-1)))
