"""Each loss with its settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from typing_extensions import override

from dualml.protocol import Array
from dualml.reference.rounding import double
from dualml.spec.activations import Softplus, Tanh
from dualml.spec.graph import Precision
from dualml.spec.layers import Dense, Pad
from dualml.spec.losses import (
    BinaryCrossEntropy,
    BinaryFocalCrossEntropy,
    CategoricalHinge,
    CosineDistance,
    CrossEntropy,
    FocalCrossEntropy,
    Hinge,
    Huber,
    KlDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiMargin,
    Poisson,
    SmoothL1,
    SoftCrossEntropy,
    SquaredHinge,
)
from dualml.spec.objective import Term
from dualml.spec.regularizers import L1, L1L2, L2
from dualml.testing.cases.base import Case


def _distribution(t: Array) -> Array:
    powers = np.exp(2.0 * double(t))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


_SUITED: dict[str, Callable[[Array], Array]] = {
    "any": lambda t: t,
    "probability": lambda t: np.where(np.abs(t) < 0.4, (t + 1.0) / 2.0, t > 0),  # yes, no, and something between
    "distribution": _distribution,
    "sign": lambda t: np.where(t > 0, 1.0, -1.0),
    "count": lambda t: np.floor(3.0 * (t + 1.0)),
}
"""From values in (-1, 1) to targets a loss allows, by ``Loss.values``."""


class LossCase(Case):
    """A case whose targets suit its loss: probabilities, signs, counts, or class numbers some of which are ignored."""

    @override
    def _targets(self, term: Term, label: str, precision: Precision, examples: int, variant: int) -> Array:
        """Targets that suit the loss."""
        targets = super()._targets(term, label, precision, examples, variant)
        if term.loss.target == "value":
            return _SUITED[term.loss.values](targets).astype(precision)
        if isinstance(term.loss, CrossEntropy) and term.loss.ignore_index != "none":
            targets = targets.copy()
            targets.flat[::3] = term.loss.ignore_index
        return targets


def _case(name: str, loss: Loss, units: int = 3, inputs: tuple[int, ...] = (4,), examples: int = 5) -> Case:
    """One dense layer and a loss."""
    return LossCase(name, inputs, [Dense(units=units)], loss, examples=examples)


_WEIGHTS = (0.3, 1.0, 2.5)

COUNTING_CASES: tuple[Case, ...] = (
    _case("cross-entropy-by-weights", CrossEntropy(class_weights=_WEIGHTS, normalization="weights")),
    _case(
        "cross-entropy-by-weights-positions",
        CrossEntropy(
            class_weights=_WEIGHTS,
            ignore_index=-100,
            label_smoothing=0.1,
            normalization="weights",
            weighted_smoothing="per_class",
        ),
        inputs=(2, 4),
    ),
    _case(
        "cross-entropy-by-positions",
        CrossEntropy(
            class_weights=_WEIGHTS,
            ignore_index=1,
            label_smoothing=0.1,
            normalization="positions",
            weighted_smoothing="per_target",
        ),
        inputs=(2, 4),
    ),
)
"""Losses whose denominator depends on the targets."""

CASES: tuple[Case, ...] = (
    Case("cross-entropy", (4,), [Dense(units=3)], CrossEntropy(), examples=5),
    Case("cross-entropy-smoothed", (4,), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=5),
    Case("cross-entropy-two-classes", (4,), [Dense(units=2)], CrossEntropy(label_smoothing=0.3), examples=4),
    Case("cross-entropy-large-logits", (4,), [Dense(units=3)], CrossEntropy(), examples=5, scale=300.0),
    Case("cross-entropy-positions", (2, 4), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=3),
    Case("mse", (4,), [Dense(units=3)], MeanSquaredError(), examples=5),
    Case("mse-one-value", (4,), [Dense(units=1)], MeanSquaredError(), examples=3),
    Case("mse-two-axes", (2, 4), [Dense(units=3)], MeanSquaredError(), examples=3),
    _case(
        "cross-entropy-weighted",
        CrossEntropy(
            class_weights=_WEIGHTS, label_smoothing=0.1, normalization="examples", weighted_smoothing="per_class"
        ),
    ),
    _case(
        "cross-entropy-ignoring",
        CrossEntropy(
            class_weights=_WEIGHTS,
            ignore_index=-1,
            label_smoothing=0.2,
            normalization="examples",
            weighted_smoothing="per_target",
        ),
        inputs=(2, 4),
    ),
    _case("soft-cross-entropy", SoftCrossEntropy()),
    _case("soft-cross-entropy-smoothed", SoftCrossEntropy(label_smoothing=0.1), inputs=(2, 4)),
    _case("focal-cross-entropy", FocalCrossEntropy()),
    _case("focal-cross-entropy-weighted", FocalCrossEntropy(gamma=1.5, alpha=_WEIGHTS), inputs=(2, 4)),
    _case("binary-cross-entropy", BinaryCrossEntropy()),
    _case("binary-cross-entropy-one", BinaryCrossEntropy(pos_weight=2.3), units=1),
    _case("binary-cross-entropy-weighted", BinaryCrossEntropy(label_smoothing=0.1, pos_weight=_WEIGHTS), inputs=(2, 4)),
    LossCase(  # logits of exactly 0, where tf.nn.weighted_cross_entropy_with_logits has no gradient of its logarithm
        "binary-cross-entropy-weighted-zeros",
        (1, 4),
        [Dense(units=3), Pad(1)],
        BinaryCrossEntropy(label_smoothing=0.1, pos_weight=_WEIGHTS),
    ),
    _case("binary-focal-cross-entropy", BinaryFocalCrossEntropy()),
    _case("binary-focal-cross-entropy-balanced", BinaryFocalCrossEntropy(gamma=1.5, alpha=0.3), inputs=(2, 4)),
    _case("mae", MeanAbsoluteError()),
    _case("huber", Huber(0.6), inputs=(2, 4)),
    _case("smooth-l1", SmoothL1(0.45)),
    _case("log-cosh", LogCosh()),
    _case("kl-divergence", KlDivergence()),
    _case("kl-divergence-positions", KlDivergence(), inputs=(2, 4)),
    _case("hinge", Hinge()),
    _case("squared-hinge", SquaredHinge(), inputs=(2, 4)),
    _case("categorical-hinge", CategoricalHinge()),
    _case("multi-margin", MultiMargin(), inputs=(2, 4)),
    _case("multi-margin-squared", MultiMargin(p=2, margin=0.7)),
    _case("cosine-added", CosineDistance(offset=1.0, epsilon=1e-12, guard="add")),
    _case("cosine-maximum", CosineDistance(offset=0.0, epsilon=1e-7, guard="maximum"), inputs=(2, 4)),
    _case("poisson-of-logarithms", Poisson(log_input=True, epsilon=1e-8)),
    LossCase(
        "poisson-of-rates",
        (4,),
        [Dense(units=3, activation=Softplus(beta=1.0, threshold="none"))],
        Poisson(log_input=False, epsilon=1e-7),
        examples=5,
        scale=0.5,
    ),
)
"""Each loss with its settings."""

REGULARIZER_CASES: tuple[Case, ...] = (
    Case("l2", (4,), [Dense(units=3, activation=Tanh()), Dense(units=3)], regularizers=(L2(0.03),)),
    Case("l1-all", (4,), [Dense(units=3)], regularizers=(L1(0.1, scope="all"),)),
    Case(
        "l1-l2-some",
        (4,),
        [Dense(units=4, activation=Tanh(), name="first"), Dense(units=3)],
        regularizers=(L1L2(l1=0.1, l2=0.7, scope="first.*"), L2(0.3)),
    ),
)
"""Each regulariser with its settings."""
