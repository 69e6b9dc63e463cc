"""Activation functions as stock ``torch.nn`` modules, or as a formula where there is none that says the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualml.spec.activations import Celu, ClippedRelu, Elu, Gelu, HardTanh, LeakyRelu, OverAxis, Softplus

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


def _clipped_relu(x: Tensor, max_value: float | str, negative_slope: float, threshold: float) -> Tensor:
    values = torch.where(x > threshold, x, negative_slope * (x - threshold))
    return values if isinstance(max_value, str) else torch.where(x >= max_value, max_value, values)


def _celu(x: Tensor, alpha: float) -> Tensor:
    if x.dtype == torch.float32:
        return functional.celu(x, alpha)
    return torch.where(x > 0.0, x, alpha * torch.expm1(x.clamp(max=0.0) / alpha))


def _hard_sigmoid(x: Tensor) -> Tensor:
    return functional.hardsigmoid(x) if x.dtype == torch.float32 else functional.relu6(x + 3.0) / 6.0


def _sparse_plus(x: Tensor) -> Tensor:
    return torch.where(x > -1.0, torch.where(x < 1.0, (x + 1.0).square() / 4.0, x), 0.0)


def _sparse_sigmoid(x: Tensor) -> Tensor:
    return functional.hardtanh(x, -1.0, 1.0).add(1.0).div(2.0)


def _squareplus(x: Tensor, b: float) -> Tensor:
    return (x + torch.sqrt(x.square() + b)) / 2.0


FORMULAS: Mapping[str, Callable[..., Tensor]] = {
    "celu": _celu,
    "clipped_relu": _clipped_relu,
    "hard_sigmoid": _hard_sigmoid,
    "swish": lambda x, beta: x * torch.sigmoid(beta * x),
    "squareplus": _squareplus,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
    "exponential": torch.exp,
}
"""What ``Formula`` evaluates."""


class Formula(nn.Module):
    """An activation by its formula.

    Why not stock: PyTorch has no module for these, but for ``torch.nn.Hardsigmoid``, whose backward pass takes 1 / 6
    in float32 whatever the dtype, and ``torch.nn.CELU``, whose backward pass takes ``alpha`` in float32: 5e-9 and
    4e-8 (for 0.3) off in float64. In float32 the stock function is called here.

    Args:
        kind: Which of ``FORMULAS``.
        settings: Its settings.
    """

    def __init__(self, kind: str, **settings: Any) -> None:
        super().__init__()
        self.kind = kind
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Values of ``x``'s shape and dtype."""
        return FORMULAS[self.kind](x, **self.settings)

    def extra_repr(self) -> str:
        """The formula and its settings."""
        return ", ".join([self.kind, *(f"{name}={value!r}" for name, value in self.settings.items())])


def formula(settings: Any) -> nn.Module:
    """``Formula`` with all settings of the activation."""
    return Formula(settings.kind, **dict(settings))


def celu(settings: Celu) -> nn.Module:
    """``torch.nn.CELU``, where its backward pass in float32 has the same ``alpha``."""
    assert settings.alpha is not None
    exact = torch.tensor(settings.alpha, dtype=torch.float32).item() == settings.alpha
    return nn.CELU(alpha=settings.alpha) if exact else formula(settings)


def clipped_relu(settings: ClippedRelu) -> nn.Module:
    """``torch.nn.Hardtanh`` where only the largest value is set: its derivative at both ends is 0."""
    if settings.max_value != "none" and settings.negative_slope == settings.threshold == 0:
        return nn.Hardtanh(0.0, settings.max_value)
    return formula(settings)


def hard_tanh(settings: HardTanh) -> nn.Module:
    """``torch.nn.Hardtanh``."""
    return nn.Hardtanh(settings.minimum, settings.maximum)


def over_axis(module: type[nn.Softmax | nn.LogSoftmax]) -> Callable[[OverAxis], nn.Module]:
    """The module over the axis of an example; one counted from the front moves behind the batch axis."""
    return lambda settings: module(dim=settings.axis + 1 if settings.axis >= 0 else settings.axis)


ACTIVATIONS: Mapping[str, Callable[[Any], nn.Module]] = {
    "relu": lambda settings: nn.ReLU(),  # noqa: ARG005 (one signature for all)
    "tanh": lambda settings: nn.Tanh(),  # noqa: ARG005
    "sigmoid": lambda settings: nn.Sigmoid(),  # noqa: ARG005
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "silu": lambda settings: nn.SiLU(),  # noqa: ARG005
    "softplus": softplus,
    "relu6": lambda settings: nn.ReLU6(),  # noqa: ARG005
    "clipped_relu": clipped_relu,
    "selu": lambda settings: nn.SELU(),  # noqa: ARG005
    "celu": celu,
    "swish": formula,
    "mish": lambda settings: nn.Mish(),  # noqa: ARG005
    "hard_swish": lambda settings: nn.Hardswish(),  # noqa: ARG005
    "hard_sigmoid": formula,
    "log_sigmoid": lambda settings: nn.LogSigmoid(),  # noqa: ARG005
    "sparse_sigmoid": formula,
    "hard_tanh": hard_tanh,
    "tanh_shrink": lambda settings: nn.Tanhshrink(),  # noqa: ARG005
    "hard_shrink": lambda settings: nn.Hardshrink(settings.threshold),
    "soft_shrink": lambda settings: nn.Softshrink(settings.threshold),
    "softsign": lambda settings: nn.Softsign(),  # noqa: ARG005
    "squareplus": formula,
    "sparse_plus": formula,
    "threshold": lambda settings: nn.Threshold(settings.at, settings.value),
    "exponential": formula,
    "linear": lambda settings: nn.Identity(),  # noqa: ARG005
    "softmax": over_axis(nn.Softmax),
    "log_softmax": over_axis(nn.LogSoftmax),
}
"""The module of each kind of activation, from its resolved settings."""
