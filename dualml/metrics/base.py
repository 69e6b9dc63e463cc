"""What a metric is computed from: outputs, targets and weights, brought into one form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualml.spec.metrics import Task

Float: TypeAlias = NDArray[np.float64]
Result: TypeAlias = "float | list[list[float]] | None"
"""A number, a confusion matrix, or ``None`` where the metric is undefined or not finite."""


@dataclass(frozen=True)
class Examples:
    """Examples of weight above 0.

    Attributes:
        task: What is predicted.
        outputs: Float64: logits ``(n, classes)``, logits of yes ``(n,)``, or values ``(n, values)``.
        targets: Class numbers ``(n,)``, 0 or 1 ``(n,)``, or values ``(n, values)``.
        weights: ``(n,)`` or, of values, ``(n, values)``; ones if none were given.
        weighted: Whether weights were given.
    """

    task: Task
    outputs: Float
    targets: NDArray[Any]
    weights: Float
    weighted: bool

    @classmethod
    def of(cls, task: Task, outputs: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any] | None) -> Examples:
        """Bring outputs and targets of any leading shape into one form.

        Args:
            task: What is predicted.
            outputs: Shape ``(examples, ..., classes)``, or of as many values as the targets.
            targets: Shape ``(examples, ...)``.
            weights: One for each example or for each target, 0 or more; what has weight 0 does not count.

        Raises:
            ValueError: Outputs and targets do not belong together.
        """
        outputs, targets = np.asarray(outputs, dtype=np.float64), np.asarray(targets)
        given = np.ones(targets.shape) if weights is None else _spread(np.asarray(weights, np.float64), targets.shape)
        if task == "values":
            rows = len(targets), math.prod(targets.shape[1:])
            outputs, targets, given = (array.reshape(rows) for array in (outputs, targets, given))
            counts = (given > 0).any(axis=1)
        else:
            outputs = outputs.reshape(-1, outputs.shape[-1]) if task == "classes" else outputs.reshape(-1)
            targets, given = targets.reshape(-1), given.reshape(-1)
            counts = given > 0
        if len(outputs) != len(targets):
            raise ValueError(f"{len(targets)} targets need as many outputs, got {len(outputs)}")
        outputs, targets, given = outputs[counts], targets[counts], given[counts]
        if task == "values":
            targets = targets.astype(np.float64)
        else:
            targets = targets.astype(np.int64) if task == "classes" else (targets > 0.5).astype(np.int64)
        return cls(task, outputs, targets, given, weights is not None)

    @property
    def classes(self) -> int:
        """Number of classes; 2 for decisions."""
        return self.outputs.shape[1] if self.task == "classes" else 2

    def decided(self, threshold: float) -> NDArray[np.int64]:
        """The class each example is taken for, shape ``(n,)``."""
        if self.task == "classes":
            return np.asarray(self.outputs.argmax(axis=1))
        with np.errstate(over="ignore"):
            return (1.0 / (1.0 + np.exp(-self.outputs)) > threshold).astype(np.int64)

    def mean(self, values: NDArray[Any]) -> float:
        """Weighted mean of one value for each example."""
        return float(np.sum(self.weights * values) / np.sum(self.weights))


def _spread(weights: Float, shape: tuple[int, ...]) -> Float:
    """Weights of examples as weights of targets."""
    if weights.shape != shape[: weights.ndim]:
        raise ValueError(f"weights must have the targets' shape {shape} or its first axes, got {weights.shape}")
    return np.broadcast_to(weights.reshape(*weights.shape, *(1,) * (len(shape) - weights.ndim)), shape)
