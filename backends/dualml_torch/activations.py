"""Activation functions as stock ``torch.nn`` modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dualml.spec.activations import Elu, Gelu, LeakyRelu, Softplus

SOFTPLUS_IS_IDENTITY = 40.0
"""Where ``log(1 + exp(z))`` and its derivative round to ``z`` and 1: ``exp(-40) = 4e-18`` is less than half a
unit in the last place of 40 (3.6e-15) and of 1 (1.1e-16) in float64, the more so in float32."""


def gelu(settings: Gelu) -> nn.Module:
    """``torch.nn.GELU``."""
    return nn.GELU(approximate=settings.approximate or "none")


def leaky_relu(settings: LeakyRelu) -> nn.Module:
    """``torch.nn.LeakyReLU``."""
    return nn.LeakyReLU(negative_slope=settings.negative_slope)  # type: ignore[arg-type]  # resolved: never None


def elu(settings: Elu) -> nn.Module:
    """``torch.nn.ELU``."""
    return nn.ELU(alpha=settings.alpha)  # type: ignore[arg-type]  # resolved: never None


def softplus(settings: Softplus) -> nn.Module:
    """``torch.nn.Softplus``, which computes ``log1p(exp(beta x)) / beta`` up to the threshold and ``x`` above it.

    A larger threshold than 40, or none, becomes 40: the function is the same there to the last bit, and
    ``exp`` does not overflow (with an infinite threshold the module gives inf at 89 in float32).
    """
    threshold = settings.threshold if isinstance(settings.threshold, float) else SOFTPLUS_IS_IDENTITY
    return nn.Softplus(beta=settings.beta, threshold=min(threshold, SOFTPLUS_IS_IDENTITY))  # type: ignore[arg-type]


ACTIVATIONS: Mapping[str, Callable[[Any], nn.Module]] = {
    "relu": lambda settings: nn.ReLU(),  # noqa: ARG005 (one signature for all)
    "tanh": lambda settings: nn.Tanh(),  # noqa: ARG005
    "sigmoid": lambda settings: nn.Sigmoid(),  # noqa: ARG005
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "silu": lambda settings: nn.SiLU(),  # noqa: ARG005
    "softplus": softplus,
    "softmax": lambda settings: nn.Softmax(dim=-1),  # noqa: ARG005
}
"""The module of each kind of activation, from its resolved settings."""
