"""Activation functions: elementwise but for softmax. A setting left at ``None`` is filled by the conventions."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

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


class Softmax(Keyed):
    """``exp(x) / sum(exp(x))`` over the last axis.

    Only for use inside a model (attention weights, mixtures): losses here take logits, and predictions are
    turned into probabilities by the loss that was trained.
    """

    kind = "softmax"


ACTIVATIONS: tuple[type[Keyed], ...] = (Relu, Tanh, Sigmoid, Gelu, LeakyRelu, Elu, Silu, Softplus, Softmax)
"""Every activation, in the order of the documentation."""

ActivationFunction: TypeAlias = Annotated[Keyed | str, OneKey(*ACTIVATIONS)]
"""The type of a setting that names an activation: ``relu`` or ``{leaky_relu: {negative_slope: 0.1}}``."""
