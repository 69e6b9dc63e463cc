"""Each loss with its settings."""

from __future__ import annotations

from dualml.spec.layers import Dense
from dualml.spec.losses import CrossEntropy, MeanSquaredError
from dualml.testing.cases.base import Case

CASES: tuple[Case, ...] = (
    Case("cross-entropy", (4,), [Dense(units=3)], CrossEntropy(), examples=5),
    Case("cross-entropy-smoothed", (4,), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=5),
    Case("cross-entropy-two-classes", (4,), [Dense(units=2)], CrossEntropy(label_smoothing=0.3), examples=4),
    Case("cross-entropy-large-logits", (4,), [Dense(units=3)], CrossEntropy(), examples=5, scale=300.0),
    Case("cross-entropy-positions", (2, 4), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=3),
    Case("mse", (4,), [Dense(units=3)], MeanSquaredError(), examples=5),
    Case("mse-one-value", (4,), [Dense(units=1)], MeanSquaredError(), examples=3),
    Case("mse-two-axes", (2, 4), [Dense(units=3)], MeanSquaredError(), examples=3),
)
"""Each loss with its settings."""
