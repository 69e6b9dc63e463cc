"""Losses. A batch's loss is ``sum_i w_i l_i / D``: example losses, sample weights, and a denominator.

``l_i`` is the loss of example ``i``, the mean over its inner positions or values, and ``D`` the number of examples,
unless a loss says otherwise (``CrossEntropy.normalization``). Settings left at ``None`` are filled by the conventions.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, PositiveFloat, model_validator

from dualml.spec.base import Keyed, OneKey

NonNegativeFloat = Annotated[float, Field(ge=0)]


class Loss(Keyed):
    """What every loss has."""

    target: ClassVar[Literal["class", "value"]]
    """Whether targets are class numbers, one for each position, or values of the output's shape."""
    values: ClassVar[Literal["any", "probability", "distribution", "sign", "count"]] = "any"
    """What values are allowed: any; in [0, 1]; the same with a sum of 1 over the last axis; -1 and 1; at least 0."""
    prediction: ClassVar[Literal["softmax", "sigmoid", "identity"]]
    """What turns the model's output into a prediction."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """Metrics reported where the spec names none."""

    @property
    def counts_positions(self) -> bool:
        """Whether ``l_i`` is a sum over positions and ``D`` depends on the targets; else ``D`` counts examples."""
        return False

    def check_output(self, shape: tuple[int, ...]) -> None:
        """Refuse an output that the settings do not fit.

        Args:
            shape: Of one example's output.

        Raises:
            ValueError: The message says what must hold and what was found.
        """


def _check_length(name: str, given: int, shape: tuple[int, ...]) -> None:
    if given != shape[-1]:
        raise ValueError(
            f"{name} must have one number for each of the output's {shape[-1]} values on the last axis, got {given}"
        )


def _check_gamma(gamma: float) -> None:
    if 0 < gamma < 1:
        raise ValueError(f"gamma must be 0, or at least 1 for the gradient to stay finite, got {gamma}")


class CrossEntropy(Loss):
    """Softmax cross-entropy from logits ``z`` over the last axis of C classes, for a class number ``y``.

    Of a position: ``w_y (-sum_c q_c log softmax(z)_c)`` with ``q_c = (1 - s) [c = y] + s / C``,
    ``s = label_smoothing`` (Szegedy et al., arXiv:1512.00567, section 7) and ``w = class_weights``; 0 where ``y`` is
    ``ignore_index``.

    Differs from Keras, whose default takes probabilities; logits avoid its clipping of probabilities at 1e-7. Where
    every position is ignored the loss is 0, as in Keras; PyTorch gives NaN.
    """

    kind = "cross_entropy"
    target = "class"
    prediction = "softmax"
    metrics = ("accuracy",)

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""
    class_weights: Annotated[tuple[NonNegativeFloat, ...], Field(strict=False)] | Literal["none"] = "none"
    """A factor for each class."""
    ignore_index: int | Literal["none"] = "none"
    """Positions with this class number do not count; it may lie outside the classes (-100, 255)."""
    normalization: Literal["weights", "positions", "examples"] | None = None
    """What class weights and ignored positions do to ``D``.

    ``weights``: the sum of the class weights of all counted positions, each times its example's weight (PyTorch);
    ``positions``: the number of counted positions (Keras); ``examples``: the number of examples, ignored positions
    being losses of 0. Without class weights and ``ignore_index`` all three are the same.
    """
    weighted_smoothing: Literal["per_class", "per_target"] | None = None
    """Class weights with label smoothing: ``per_class``, ``-sum_c w_c q_c log p_c`` (PyTorch), or ``per_target``,
    ``-w_y sum_c q_c log p_c`` (Keras)."""

    @property
    def counts_positions(self) -> bool:
        changed = self.class_weights != "none" or self.ignore_index != "none"
        return changed and self.normalization != "examples"

    def check_output(self, shape: tuple[int, ...]) -> None:
        if self.class_weights != "none":
            _check_length("class_weights", len(self.class_weights), shape)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.class_weights != "none" and not any(self.class_weights):
            raise ValueError("class_weights must hold a number above 0, got zeros only; leave them out to weigh none")
        return self


class SoftCrossEntropy(Loss):
    """Cross-entropy from logits for class probabilities ``t``: ``-sum_c t_c log softmax(z)_c`` over the last axis.

    It is ``torch.nn.functional.cross_entropy`` with float targets and ``keras.losses.CategoricalCrossentropy`` with
    ``from_logits=True``.
    """

    kind = "soft_cross_entropy"
    target = "value"
    values = "distribution"
    prediction = "softmax"

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes: ``(1 - s) t + s / C``."""


class FocalCrossEntropy(Loss):
    """Focal loss from logits for a class number: ``-alpha_y (1 - p_y)^gamma log p_y``, ``p = softmax(z)``.

    Lin et al., arXiv:1708.02002. Only Keras has it (``CategoricalFocalCrossentropy``).

    Differs from Keras, which clips ``p`` to [1e-7, 1 - 1e-7]: here ``1 - p_y`` and ``log p_y`` come from the logits.
    """

    kind = "focal_cross_entropy"
    target = "class"
    prediction = "softmax"
    metrics = ("accuracy",)

    gamma: float = Field(default=2.0, ge=0)
    """How much less an example counts that is classified well; 0 or at least 1."""
    alpha: NonNegativeFloat | Annotated[tuple[NonNegativeFloat, ...], Field(strict=False)] = 0.25
    """A factor, or one for each class."""

    @model_validator(mode="after")
    def _smooth(self) -> Self:
        _check_gamma(self.gamma)
        return self

    def check_output(self, shape: tuple[int, ...]) -> None:
        if isinstance(self.alpha, tuple):
            _check_length("alpha", len(self.alpha), shape)


class BinaryCrossEntropy(Loss):
    """Cross-entropy of independent yes-or-no answers, from logits, for targets ``t`` in [0, 1]; mean over all values.

    ``-(w t log s(z) + (1 - t) log(1 - s(z)))``, ``s`` the sigmoid, ``w = pos_weight``, and ``t`` first smoothed to
    ``(1 - e) t + e / 2``, ``e = label_smoothing``.

    Differs from Keras, whose default takes probabilities, which it clips to [1e-7, 1 - 1e-7], and which has no
    ``pos_weight``; and from PyTorch, which has no smoothing.
    """

    kind = "binary_cross_entropy"
    target = "value"
    values = "probability"
    prediction = "sigmoid"

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """How far targets move towards 1/2."""
    pos_weight: PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(strict=False)] = 1.0
    """Factor of the positive part: one, or one for each value on the last axis."""

    def check_output(self, shape: tuple[int, ...]) -> None:
        if isinstance(self.pos_weight, tuple):
            _check_length("pos_weight", len(self.pos_weight), shape)


class BinaryFocalCrossEntropy(Loss):
    """Focal loss of independent yes-or-no answers, from logits, for targets ``t`` in [0, 1]; mean over all values.

    ``a_t (1 - p_t)^gamma b`` with ``b`` the binary cross-entropy, ``p = s(z)``, ``p_t = t p + (1 - t)(1 - p)`` and
    ``a_t = t alpha + (1 - t)(1 - alpha)`` (Lin et al., arXiv:1708.02002). Only Keras has it
    (``BinaryFocalCrossentropy``, whose ``apply_class_balancing`` is a given ``alpha``).

    Differs from Keras, which clips ``p`` to [1e-7, 1 - 1e-7].
    """

    kind = "binary_focal_cross_entropy"
    target = "value"
    values = "probability"
    prediction = "sigmoid"

    gamma: float = Field(default=2.0, ge=0)
    """How much less a value counts that is answered well; 0 or at least 1."""
    alpha: Annotated[float, Field(ge=0, le=1)] | Literal["none"] = "none"
    """Balance of the two answers; ``none``: both count 1."""

    @model_validator(mode="after")
    def _smooth(self) -> Self:
        _check_gamma(self.gamma)
        return self


class MeanSquaredError(Loss):
    """``mean((y - t)^2)`` over all values of an example."""

    kind = "mse"
    target = "value"
    prediction = "identity"


class MeanAbsoluteError(Loss):
    """``mean(|y - t|)`` over all values of an example; the derivative at ``y = t`` is 0."""

    kind = "mae"
    target = "value"
    prediction = "identity"


class Huber(Loss):
    """``e^2 / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``, ``e = y - t``; mean over all values."""

    kind = "huber"
    target = "value"
    prediction = "identity"

    delta: PositiveFloat = Field(default=1.0, kw_only=False)
    """Where the parabola ends."""


class SmoothL1(Loss):
    """``e^2 / (2 beta)`` where ``|e| < beta``, else ``|e| - beta / 2``: huber divided by its delta.

    Only PyTorch has it.
    """

    kind = "smooth_l1"
    target = "value"
    prediction = "identity"

    beta: PositiveFloat = Field(default=1.0, kw_only=False)
    """Where the parabola ends."""


class LogCosh(Loss):
    """``log(cosh(y - t))``, mean over all values. Only Keras has it."""

    kind = "log_cosh"
    target = "value"
    prediction = "identity"


class KlDivergence(Loss):
    """``sum_c t_c (log t_c - log softmax(z)_c)`` over the last axis, for class probabilities ``t``; ``0 log 0 = 0``.

    From logits, or from log-probabilities, which softmax turns into themselves. ``torch.nn.functional.kl_div`` of
    ``log_softmax(z)`` with ``batchmean``, not its default ``mean``, which also divides by the number of classes.

    Differs from Keras, which takes probabilities and clips both to [1e-7, 1].
    """

    kind = "kl_divergence"
    target = "value"
    values = "distribution"
    prediction = "softmax"


class Hinge(Loss):
    """``max(0, 1 - t y)`` for targets -1 and 1, mean over all values; the derivative at ``t y = 1`` is ``-t``.

    Differs from Keras, which takes targets of 0 for -1 where a whole batch is 0 and 1; from
    ``torch.nn.functional.hinge_embedding_loss``, which is another function.
    """

    kind = "hinge"
    target = "value"
    values = "sign"
    prediction = "identity"


class SquaredHinge(Loss):
    """``max(0, 1 - t y)^2`` for targets -1 and 1, mean over all values."""

    kind = "squared_hinge"
    target = "value"
    values = "sign"
    prediction = "identity"


class CategoricalHinge(Loss):
    """``max(0, 1 - z_y + max_c [c != y] z_c)`` for a class number ``y``; the inner maximum is at least 0.

    As in ``keras.losses.CategoricalHinge``: the class ``y`` takes part in the maximum with the value 0. Where classes
    tie, the gradient is shared evenly.
    """

    kind = "categorical_hinge"
    target = "class"
    prediction = "identity"
    metrics = ("accuracy",)


class MultiMargin(Loss):
    """``sum_{c != y} max(0, margin - z_y + z_c)^p / C`` for a class number ``y``: ``torch.nn.MultiMarginLoss``.

    The derivative where the maximum is 0 is 0.
    """

    kind = "multi_margin"
    target = "class"
    prediction = "identity"
    metrics = ("accuracy",)

    p: Literal[1, 2] = 1
    """Exponent."""
    margin: float = 1.0
    """By how much a class must lead."""


class CosineDistance(Loss):
    """``offset - cos(y, t)`` over the last axis.

    ``cos = sum(y t) / (|y| |t|)``, its norms kept away from 0: ``sqrt(|v|^2 + epsilon)`` with ``guard: add``
    (``torch.nn.functional.cosine_embedding_loss`` for similar pairs), ``max(|v|, epsilon)`` with ``guard: maximum``
    (``keras.losses.CosineSimilarity``).

    Differs between the frameworks in ``offset`` (1 in PyTorch, 0 in Keras) and in the guard.
    """

    kind = "cosine"
    target = "value"
    prediction = "identity"

    offset: float | None = None
    """1 makes the loss 0 for vectors of one direction."""
    epsilon: PositiveFloat | None = None
    """Keeps the norms away from 0."""
    guard: Literal["add", "maximum"] | None = None
    """How."""


class Poisson(Loss):
    """Negative log-likelihood of counts ``t`` under a rate, without its constant; mean over all values.

    ``exp(y) - t y`` with ``log_input``, else ``y - t log(y + epsilon)``.

    Differs between the frameworks: ``torch.nn.PoissonNLLLoss`` takes logarithms, ``keras.losses.Poisson`` rates.
    """

    kind = "poisson"
    target = "value"
    values = "count"
    prediction = "identity"

    log_input: bool | None = None
    """Whether the output is the logarithm of the rate."""
    epsilon: PositiveFloat | None = None
    """Keeps the logarithm's argument away from 0; used without ``log_input`` only."""


LOSSES: tuple[type[Loss], ...] = (
    CrossEntropy,
    SoftCrossEntropy,
    FocalCrossEntropy,
    BinaryCrossEntropy,
    BinaryFocalCrossEntropy,
    MeanSquaredError,
    MeanAbsoluteError,
    Huber,
    SmoothL1,
    LogCosh,
    KlDivergence,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    MultiMargin,
    CosineDistance,
    Poisson,
)
"""Every loss, in the order of the documentation."""

AnyLoss: TypeAlias = Annotated[Loss, OneKey(*LOSSES)]
"""The type of the spec's ``loss``."""
