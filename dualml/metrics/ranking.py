"""The area under the ROC curve, from ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dualml.metrics.base import Examples, Float, Result
from dualml.metrics.classes import log_sum
from dualml.spec.metrics import Auc


def auc(_settings: Auc, examples: Examples) -> Result:
    """Area under the ROC curve; of several classes the mean, if each is defined."""
    targets, weights, outputs = examples.targets, examples.weights, examples.outputs
    if examples.task == "decisions":
        return area(outputs, targets == 1, weights)
    if examples.classes == 2:
        return area(outputs[:, 1] - outputs[:, 0], targets == 1, weights)
    # Logarithms rank as the probabilities do, and do not run together near 0.
    scores = outputs - log_sum(outputs)[:, None]
    areas = [area(scores[:, number], targets == number, weights) for number in range(examples.classes)]
    known = [value for value in areas if value is not None]
    return sum(known) / len(known) if len(known) == len(areas) else None


def area(scores: Float, members: NDArray[np.bool_], weights: Float) -> float | None:
    """Share of pairs of a member and a non-member in which the member's score is higher, ties counting half.

    (Hanley and McNeil, Radiology 143, 1982; with weights, each pair counts as the product of its two.)

    Returns:
        Between 0 and 1; ``None`` if there is no pair.
    """
    _, tie = np.unique(scores, return_inverse=True)  # the number of each example's score among the scores, ascending
    inside = np.bincount(tie, weights=weights * members)
    outside = np.bincount(tie, weights=weights * ~members)
    pairs = inside.sum() * outside.sum()
    if pairs == 0:
        return None
    below = np.cumsum(outside) - outside
    return float(np.sum(inside * (below + 0.5 * outside)) / pairs)
