"""Penalties on parameters, to be added to the loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dualml.spec.regularizers import Regularizer


def penalty(regularizer: Regularizer, parameters: Mapping[str, Tensor]) -> Tensor:
    """``l1 sum |w| + l2 sum w^2`` over the parameters in scope, shape ``()``, differentiable.

    Args:
        regularizer: The settings; its factors reach the tensors as doubles.
        parameters: All parameters by neutral name; a sum does not depend on their layout.
    """
    l1, l2 = regularizer.factors
    first = next(iter(parameters.values()))
    total = torch.zeros((), dtype=first.dtype, device=first.device)
    for name, parameter in parameters.items():
        if not regularizer.applies(name):
            continue
        if l1:
            total = total + l1 * parameter.abs().sum()
        if l2:
            total = total + l2 * parameter.square().sum()
    return total
