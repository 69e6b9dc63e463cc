"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dualml.spec.optimizers import GlobalNorm, ParameterNorm, ValueLimit

TORCH_EPSILON = 1e-6
"""The epsilon in ``torch.nn.utils.clip_grad_norm_``."""


def global_norm(settings: GlobalNorm | ParameterNorm, parameters: Sequence[nn.Parameter]) -> None:
    """Scale all gradients in place by ``min(1, max_norm / (norm + epsilon))``, ``norm`` over all together.

    ``torch.nn.utils.clip_grad_norm_`` itself where its epsilon is meant, which cannot be chosen there.

    Args:
        settings: Largest norm and epsilon, every setting filled in.
        parameters: Their ``.grad`` is clipped.
    """
    if settings.epsilon is None:
        raise ValueError("every setting of the clipping must be filled in, found epsilon None; resolve the spec")
    if settings.epsilon == TORCH_EPSILON:
        nn.utils.clip_grad_norm_(parameters, settings.max_norm, norm_type=2.0, error_if_nonfinite=False)
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients, norm_type=2.0, error_if_nonfinite=False)
    factor = torch.clamp(settings.max_norm / (norm + settings.epsilon), max=1.0)  # a norm of 0 gives inf, clamped to 1
    for gradient in gradients:
        gradient.mul_(factor)


def parameter_norm(settings: ParameterNorm, parameters: Sequence[nn.Parameter]) -> None:
    """``global_norm`` of each parameter by itself."""
    for parameter in parameters:
        global_norm(settings, [parameter])


def value_limit(settings: ValueLimit, parameters: Sequence[nn.Parameter]) -> None:
    """``torch.nn.utils.clip_grad_value_``."""
    nn.utils.clip_grad_value_(parameters, settings.max_value)


CLIPPINGS: Mapping[str, Callable[[Any, Sequence[nn.Parameter]], None]] = {
    "global_norm": global_norm,
    "norm": parameter_norm,
    "value": value_limit,
}
"""The function of each kind of clipping, from its resolved settings."""
