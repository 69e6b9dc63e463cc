"""Gradient clipping, before the optimizer."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.base import Keyed


class Clipping(Keyed):
    """What every way to clip gradients has."""


class GlobalNorm(Clipping):
    """Clip by global norm: ``g <- g min(1, max_norm / (norm + epsilon))``, ``norm`` over all parameters together.

    (Pascanu et al., arXiv:1211.5063, algorithm 1.) Differs between the frameworks in epsilon: 1e-6 in
    ``torch.nn.utils.clip_grad_norm_``, none in Keras' ``global_clipnorm``. What becomes of gradients whose norm is not
    finite is not defined: PyTorch makes them 0, Keras NaN.
    """

    kind = "global_norm"

    max_norm: float = Field(gt=0, kw_only=False)
    """Largest norm that is left as it is."""
    epsilon: float | None = Field(default=None, ge=0)
    """Added to the norm."""


class ParameterNorm(Clipping):
    """Clip each parameter's gradient by its own norm: ``g <- g min(1, max_norm / (norm(g) + epsilon))``.

    It changes the direction of the whole gradient, which ``global_norm`` keeps. ``clipnorm`` in Keras, without epsilon;
    in PyTorch ``torch.nn.utils.clip_grad_norm_([parameter], max_norm)`` for each, with 1e-6. What becomes of a
    gradient whose norm is not finite is not defined.
    """

    kind = "norm"

    max_norm: float = Field(gt=0, kw_only=False)
    """Largest norm that is left as it is."""
    epsilon: float | None = Field(default=None, ge=0)
    """Added to each norm."""


class ValueLimit(Clipping):
    """Clip each number of the gradient: ``g <- min(max(g, -max_value), max_value)``.

    ``torch.nn.utils.clip_grad_value_`` and ``clipvalue`` in Keras; the same in both.
    """

    kind = "value"

    max_value: float = Field(gt=0, kw_only=False)
    """Largest size that is left as it is."""
