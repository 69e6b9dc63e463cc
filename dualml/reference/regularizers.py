"""Penalties on parameters in float64: values, gradients and bounds on their rounding errors."""

from __future__ import annotations

import numpy as np

from dualml.protocol import Arrays
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.regularizers import Regularizer


def penalty(regularizer: Regularizer, weights: Arrays) -> float:
    """``l1 sum |w| + l2 sum w^2`` over the parameters in scope.

    Args:
        regularizer: The settings.
        weights: All parameters by neutral name, any precision.
    """
    l1, l2 = regularizer.factors
    scoped = [double(array) for name, array in weights.items() if regularizer.applies(name)]
    return float(sum(l1 * np.abs(array).sum() + l2 * np.square(array).sum() for array in scoped))


def penalty_bound(regularizer: Regularizer, weights: Arrays, *, unit: float) -> float:
    """Bound on the rounding error of ``penalty``: of sums in any order, of which no term cancels another."""
    count = sum(array.size for name, array in weights.items() if regularizer.applies(name))
    # Squares of small weights underflow, which the factor may scale up.
    underflow = underflow_unit(unit) * (1.0 + max(regularizer.factors)) * (count + 1)
    return float(gamma(count + 8, unit) * penalty(regularizer, weights) + 2.0 * underflow)


def penalty_gradients(regularizer: Regularizer, weights: Arrays) -> dict[str, Float]:
    """Gradient of ``penalty`` for every parameter, ``l1 sign(w) + 2 l2 w``; zeros for those out of scope."""
    l1, l2 = regularizer.factors
    return {
        name: l1 * np.sign(double(array)) + 2.0 * l2 * double(array)
        if regularizer.applies(name)
        else np.zeros(array.shape)
        for name, array in weights.items()
    }


def penalty_gradient_bounds(regularizer: Regularizer, weights: Arrays, *, unit: float) -> dict[str, Float]:
    """Bounds on the rounding errors of ``penalty_gradients``; the sign of a denormal number may be taken for 0."""
    l1, l2 = regularizer.factors
    smallest = underflow_unit(unit)
    bounds = {}
    for name, array in weights.items():
        size = np.abs(double(array))
        lost = np.where((size > 0) & (size < smallest), l1, 0.0)
        bound = gamma(4, unit) * (l1 + 2.0 * l2 * size) + lost + 4.0 * smallest * (1.0 + l2)
        bounds[name] = np.asarray(bound) if regularizer.applies(name) else np.zeros(array.shape)
    return bounds
