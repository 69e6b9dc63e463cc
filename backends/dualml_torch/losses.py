"""Losses by ``torch.nn.functional``: of each example, and of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional

from dualml.spec.losses import CrossEntropy, Loss, MeanSquaredError

Reduction = Literal["none", "mean", "sum"]
"""One loss for each example, their mean or their sum."""


def cross_entropy(settings: CrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    """``torch.nn.functional.cross_entropy`` on logits.

    Args:
        settings: The loss.
        output: Logits, shape ``(examples, ..., classes)``.
        targets: Class numbers, shape ``(examples, ...)``, dtype int64.
        reduction: What is returned. An example's loss is the mean over its inner positions.

    Returns:
        Shape ``(examples,)`` for ``none``, else ``()``.

    Differs from the function's layout, which wants the classes on axis 1.
    """
    logits = output.movedim(-1, 1) if output.ndim > 2 else output
    losses = functional.cross_entropy(
        logits, targets, reduction=reduction, label_smoothing=float(settings.label_smoothing)
    )
    if reduction == "none" and losses.ndim > 1:
        return losses.flatten(1).mean(1)
    positions = math.prod(targets.shape[1:])
    return losses / positions if reduction == "sum" and positions != 1 else losses


def mean_squared_error(
    settings: MeanSquaredError,  # noqa: ARG001 (one signature for all)
    output: Tensor,
    targets: Tensor,
    reduction: Reduction,
) -> Tensor:
    """``torch.nn.functional.mse_loss``.

    Args:
        settings: The loss.
        output: Shape ``(examples, ...)``.
        targets: The same shape and dtype.
        reduction: What is returned. An example's loss is the mean over all its values.

    Returns:
        Shape ``(examples,)`` for ``none``, else ``()``.
    """
    losses = functional.mse_loss(output, targets, reduction=reduction)
    if reduction == "none":
        return losses.flatten(1).mean(1)
    return losses / math.prod(targets.shape[1:]) if reduction == "sum" else losses


LOSSES: Mapping[str, Callable[[Any, Tensor, Tensor, Reduction], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_error,
}
"""The function of each kind of loss."""


def example_losses(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """Loss of each example, shape ``(examples,)``."""
    return LOSSES[loss.kind](loss, output, targets, "none")


def batch_loss(loss: Loss, output: Tensor, targets: Tensor, count: int) -> Tensor:
    """Sum of the examples' losses divided by ``count``, shape ``()``.

    Where ``count`` is the number of examples this is the stock mean rather than a sum and a division: with
    label smoothing the two round their gradients differently, and the mean is what a plain loop takes.
    """
    function = LOSSES[loss.kind]
    if count == len(targets):
        return function(loss, output, targets, "mean")
    return function(loss, output, targets, "sum") / count
