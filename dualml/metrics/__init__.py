"""Metrics: one definition, evaluated in NumPy and float64 on the outputs of either backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from dualml.metrics import classes, ranking, values
from dualml.metrics.base import Examples, Result
from dualml.spec.metrics import (
    F1,
    R2,
    AbsoluteError,
    Accuracy,
    Auc,
    BinaryAccuracy,
    ConfusionMatrix,
    Metric,
    Perplexity,
    Precision,
    Recall,
    SquaredError,
    Task,
    TopK,
)

FORMULAS: Mapping[type[Metric], Callable[[Any, Examples], Result]] = {
    Accuracy: classes.accuracy,
    TopK: classes.top_k,
    BinaryAccuracy: classes.binary_accuracy,
    Precision: classes.precision,
    Recall: classes.recall,
    F1: classes.f1,
    Auc: ranking.auc,
    ConfusionMatrix: classes.confusion_matrix,
    Perplexity: classes.perplexity,
    SquaredError: values.squared_error,
    AbsoluteError: values.absolute_error,
    R2: values.r2,
}
"""The formula of each metric."""


def measure(
    metrics: Sequence[Metric],
    task: Task,
    outputs: NDArray[Any],
    targets: NDArray[Any],
    weights: NDArray[Any] | None = None,
) -> dict[str, Result]:
    """Evaluate metrics.

    Args:
        metrics: What to measure; each must suit the task.
        task: What the model predicts.
        outputs: The model's outputs before softmax or sigmoid, shape ``(examples, ..., classes)`` or the targets'.
        targets: Class numbers, 0 or 1, or values; shape ``(examples, ...)``.
        weights: How much each example or target counts, 0 or more, shape ``(examples,)`` or that of ``targets``; what
            has weight 0 is left out, whatever its target is.

    Returns:
        Each metric by its name: a number, a confusion matrix, or ``None`` where it is undefined or not finite.

    Raises:
        ValueError: Shapes do not belong together.

    Example:
        >>> import numpy as np
        >>> measure([Accuracy(), TopK(2)], "classes", np.array([[1.0, 3.0, 0.0], [2.0, 0.0, 1.0]]), np.array([1, 2]))
        {'accuracy': 0.5, 'top_2': 1.0}
    """
    examples = Examples.of(task, outputs, targets, weights)
    if len(examples.targets) == 0:
        return {metric.name: None for metric in metrics}
    results = {metric.name: FORMULAS[type(metric)](metric, examples) for metric in metrics}
    return {name: _finite(value) for name, value in results.items()}


def _finite(value: Result) -> Result:
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["FORMULAS", "Result", "measure"]
