"""Losses. The loss of a batch is the sum of its examples' losses divided by their number."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from dualml.spec.base import Keyed, OneKey


class Loss(Keyed):
    """What every loss has."""

    target: ClassVar[Literal["class", "value"]]
    """Whether targets are class numbers or values of the output's shape."""
    prediction: ClassVar[Literal["softmax", "identity"]]
    """What turns the model's output into a prediction."""
    metrics: ClassVar[tuple[str, ...]]
    """Metrics reported where the spec names none."""


class CrossEntropy(Loss):
    """Softmax cross-entropy from logits ``z`` over the last axis of C classes, for a class number ``y``.

    ``-sum_c q_c log softmax(z)_c`` with ``q_c = (1 - s) [c = y] + s / C`` and ``s = label_smoothing``
    (Szegedy et al., arXiv:1512.00567, section 7).

    Differs from Keras, whose default takes probabilities; logits avoid its clipping of probabilities at 1e-7.
    """

    kind = "cross_entropy"
    target = "class"
    prediction = "softmax"
    metrics = ("accuracy",)

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""


class MeanSquaredError(Loss):
    """``mean((y - t)^2)`` over all values of an example."""

    kind = "mse"
    target = "value"
    prediction = "identity"
    metrics = ()


LOSSES: tuple[type[Loss], ...] = (CrossEntropy, MeanSquaredError)
"""Every loss, in the order of the documentation."""

AnyLoss: TypeAlias = Annotated[Loss, OneKey(*LOSSES)]
"""The type of the spec's ``loss``."""
