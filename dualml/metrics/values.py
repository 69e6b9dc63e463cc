"""Metrics of values."""

from __future__ import annotations

import numpy as np

from dualml.metrics.base import Examples, Float, Result
from dualml.spec.metrics import R2, AbsoluteError, SquaredError


def squared_error(_settings: SquaredError, examples: Examples) -> Result:
    """Mean squared error."""
    return examples.mean((examples.outputs - examples.targets) ** 2)


def absolute_error(_settings: AbsoluteError, examples: Examples) -> Result:
    """Mean absolute error."""
    return examples.mean(np.abs(examples.outputs - examples.targets))


def r2(_settings: R2, examples: Examples) -> Result:
    """Coefficient of determination, averaged over output values."""
    if len(examples.targets) < 2:
        return None
    missed = np.sum(examples.weights * (examples.outputs - examples.targets) ** 2, axis=0)
    spread = np.sum(examples.weights * (examples.targets - _column_means(examples)) ** 2, axis=0)
    explained = 1.0 - np.divide(missed, spread, out=(missed > 0).astype(np.float64), where=spread > 0)
    return float(np.mean(explained))


def _column_means(examples: Examples) -> Float:
    return np.asarray(np.average(examples.targets, axis=0, weights=examples.weights))
