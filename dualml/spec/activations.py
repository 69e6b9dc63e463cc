"""Activation functions: elementwise but for softmax and log_softmax.

A setting left at ``None`` is filled by the conventions.

Where a derivative jumps, it is the same number in every backend: each docstring says which. The frameworks'
own choices differ in places; at all other points their functions are those defined here.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from dualml.spec.base import Keyed, OneKey


class Relu(Keyed):
    """``max(x, 0)``; its derivative at 0 is 0."""

    kind = "relu"


class Tanh(Keyed):
    """``tanh(x)``."""

    kind = "tanh"


class Sigmoid(Keyed):
    """``1 / (1 + exp(-x))``."""

    kind = "sigmoid"


class Gelu(Keyed):
    """Gaussian error linear unit, ``x Phi(x)`` (Hendrycks and Gimpel, arXiv:1606.08415).

    Differs from ``keras.ops.gelu``, whose default is the tanh form; ``torch.nn.GELU`` and
    ``keras.activations.gelu`` default to the exact form, as both presets here do.
    """

    kind = "gelu"

    approximate: Literal["none", "tanh"] | None = Field(default=None, kw_only=False)
    """``none``: ``x (1 + erf(x / sqrt 2)) / 2``; ``tanh``: ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``."""


class LeakyRelu(Keyed):
    """``x`` where ``x > 0``, else ``negative_slope x``.

    Differs between the frameworks in its default slope: 0.01 in PyTorch, 0.2 in ``keras.activations``.
    """

    kind = "leaky_relu"

    negative_slope: float | None = Field(default=None, kw_only=False)
    """Factor for negative values."""


class Elu(Keyed):
    """``x`` where ``x > 0``, else ``alpha (exp(x) - 1)`` (Clevert et al., arXiv:1511.07289)."""

    kind = "elu"

    alpha: float | None = Field(default=None, gt=0, kw_only=False)
    """Minus the value towards minus infinity."""


class Silu(Keyed):
    """``x sigmoid(x)``, also called swish."""

    kind = "silu"


class Softplus(Keyed):
    """``log(1 + exp(beta x)) / beta``, and ``x`` itself where ``beta x > threshold``.

    Differs between the frameworks: PyTorch switches to ``x`` at 20 (2e-9 off there), Keras never does.
    """

    kind = "softplus"

    beta: float | None = Field(default=None, gt=0)
    """Sharpness."""
    threshold: float | Literal["none"] | None = None
    """Where the identity takes over; ``none`` never."""


class Relu6(Keyed):
    """``min(max(x, 0), 6)``; its derivative is 0 at 0 and at 6."""

    kind = "relu6"


class ClippedRelu(Keyed):
    """``min(x, max_value)`` where ``x > threshold``, else ``negative_slope (x - threshold)``.

    The derivative is ``negative_slope`` at the threshold and 0 at ``max_value``.

    Differs from ``keras.layers.ReLU``, which has the same settings, in its derivative at the threshold where a
    slope is given (0) and at ``max_value`` (1 unless ``max_value`` is 6).
    """

    kind = "clipped_relu"

    max_value: float | Literal["none"] = Field(default="none", kw_only=False)
    """The largest value; ``none``: there is none."""
    negative_slope: float = Field(default=0.0, ge=0)
    """Factor below the threshold."""
    threshold: float = Field(default=0.0, ge=0)
    """Where the identity begins."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_value != "none" and self.max_value <= self.threshold:
            raise ValueError(
                f"max_value must be above threshold, got {self.max_value} and {self.threshold}; raise max_value"
            )
        return self


class Selu(Keyed):
    """``scale x`` where ``x > 0``, else ``scale alpha (exp(x) - 1)`` (Klambauer et al., arXiv:1706.02515).

    ``scale = 1.0507009873554805``, ``alpha = 1.6732632423543772``; the derivative at 0 is ``scale alpha``.

    Differs from ``tf.nn.selu``, whose derivative at 0 is ``scale``.
    """

    kind = "selu"


class Celu(Keyed):
    """``x`` where ``x > 0``, else ``alpha (exp(x / alpha) - 1)`` (Barron, arXiv:1704.07483); its derivative at 0 is 1.

    Differs from ``keras.activations.celu``, whose derivative at 0 comes out as 2.
    """

    kind = "celu"

    alpha: float | None = Field(default=None, gt=0, kw_only=False)
    """Minus the value towards minus infinity."""


class HardSigmoid(Keyed):
    """``min(max(x + 3, 0), 6) / 6``; its derivative is 0 at -3 and at 3.

    Differs from Keras 2, where it was ``clip(0.2 x + 0.5, 0, 1)``.
    """

    kind = "hard_sigmoid"


class HardSwish(Keyed):
    """``x min(max(x + 3, 0), 6) / 6`` (Howard et al., arXiv:1905.02244); Keras also calls it hard_silu.

    The derivative is 0 at -3 and 1 at 3.
    """

    kind = "hard_swish"


class HardTanh(Keyed):
    """``min(max(x, minimum), maximum)``; its derivative is 0 at both ends, as in ``torch.nn.Hardtanh``.

    Differs from ``keras.activations.hard_tanh``, whose derivative at both ends is 1.
    """

    kind = "hard_tanh"

    minimum: float = -1.0
    """The smallest value."""
    maximum: float = 1.0
    """The largest value."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum must be below maximum, got {self.minimum} and {self.maximum}")
        return self


class HardShrink(Keyed):
    """``x`` where ``|x| > threshold``, else 0; its derivative at both ends is 0."""

    kind = "hard_shrink"

    threshold: float = Field(default=0.5, ge=0, kw_only=False)
    """Half the width of the part that becomes 0."""


class SoftShrink(Keyed):
    """``x - threshold`` above ``threshold``, ``x + threshold`` below ``-threshold``, else 0.

    The derivative at both ends is 0.
    """

    kind = "soft_shrink"

    threshold: float = Field(default=0.5, ge=0, kw_only=False)
    """Half the width of the part that becomes 0."""


class TanhShrink(Keyed):
    """``x - tanh(x)``."""

    kind = "tanh_shrink"


class Softsign(Keyed):
    """``x / (1 + |x|)``."""

    kind = "softsign"


class LogSigmoid(Keyed):
    """``log(sigmoid(x))``, evaluated without overflow."""

    kind = "log_sigmoid"


class Mish(Keyed):
    """``x tanh(log(1 + exp(x)))`` (Misra, arXiv:1908.08681)."""

    kind = "mish"


class Swish(Keyed):
    """``x sigmoid(beta x)`` (Ramachandran et al., arXiv:1710.05941); ``silu`` is the case ``beta = 1``.

    With ``beta = 1.702`` it is the "quick" approximation of gelu.

    Differs from ``keras.activations.swish``, which is silu.
    """

    kind = "swish"

    beta: float = Field(gt=0, kw_only=False)
    """Sharpness of the gate."""


class Squareplus(Keyed):
    """``(x + sqrt(x^2 + b)) / 2`` (Barron, arXiv:2112.11687). Only Keras has it; PyTorch evaluates the formula."""

    kind = "squareplus"

    b: float = Field(default=4.0, gt=0, kw_only=False)
    """Width of the bend."""


class SparsePlus(Keyed):
    """0 up to -1, ``(x + 1)^2 / 4`` up to 1, ``x`` above. Only Keras has it; PyTorch evaluates the formula."""

    kind = "sparse_plus"


class SparseSigmoid(Keyed):
    """``min(max((x + 1) / 2, 0), 1)`` (Martins et al., arXiv:1602.02068); its derivative is 0 at -1 and at 1.

    Only Keras has it; PyTorch evaluates the formula.
    """

    kind = "sparse_sigmoid"


class Exponential(Keyed):
    """``exp(x)``."""

    kind = "exponential"


class Linear(Keyed):
    """``x`` itself."""

    kind = "linear"


class Threshold(Keyed):
    """``x`` where ``x > at``, else ``value``; its derivative at ``at`` is 0."""

    kind = "threshold"

    at: float
    """Up to where the value is replaced."""
    value: float
    """What replaces it."""


class OverAxis(Keyed):
    """What normalises along one axis."""

    axis: int = Field(default=-1, kw_only=False)
    """Axis of one example (the batch is not counted); negative ones count from the end."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs that lack the axis.

        Args:
            shape: Of one example.

        Raises:
            ValueError: There is no such axis.
        """
        rank = len(shape)
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"axis must be in [{-rank}, {rank - 1}] for an input of shape {list(shape)}, got {self.axis}"
            )


class Softmax(OverAxis):
    """``exp(x) / sum(exp(x))`` over one axis.

    Only for use inside a model (attention weights, mixtures): losses here take logits, and predictions are
    turned into probabilities by the loss that was trained.
    """

    kind = "softmax"


class LogSoftmax(OverAxis):
    """``x - log(sum(exp(x)))`` over one axis, evaluated without overflow."""

    kind = "log_softmax"


ACTIVATIONS: tuple[type[Keyed], ...] = (
    Relu,
    Relu6,
    ClippedRelu,
    LeakyRelu,
    Elu,
    Selu,
    Celu,
    Gelu,
    Silu,
    Swish,
    Mish,
    HardSwish,
    Sigmoid,
    HardSigmoid,
    LogSigmoid,
    SparseSigmoid,
    Tanh,
    HardTanh,
    TanhShrink,
    HardShrink,
    SoftShrink,
    Softsign,
    Softplus,
    Squareplus,
    SparsePlus,
    Threshold,
    Exponential,
    Linear,
    Softmax,
    LogSoftmax,
)
"""Every activation, in the order of the documentation."""

ActivationFunction: TypeAlias = Annotated[Keyed | str, OneKey(*ACTIVATIONS, name="ActivationFunction")]
"""The type of a setting that names an activation: ``relu`` or ``{leaky_relu: {negative_slope: 0.1}}``."""
