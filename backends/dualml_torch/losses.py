"""Losses by ``torch.nn.functional``: of each example, of a batch, and what a batch's sum is divided by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dualml.spec import losses as spec
from dualml.spec.losses import CrossEntropy, Loss

Reduction = Literal["none", "mean", "sum"]
"""One loss for each example, their mean or their sum."""

NO_INDEX = -100
"""What ``cross_entropy`` takes for "no class number is ignored": one that is no class."""


def _constant(value: Any, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    """The losses of positions or values, shape ``(examples, ...)``, by example or for the batch."""
    if reduction == "mean":
        return losses.mean()
    by_example = losses.flatten(1).mean(1) if losses.ndim > 1 else losses
    return by_example if reduction == "none" else by_example.sum()


def _of_values(losses: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    """What a stock function of single values gives, its ``sum`` made a sum of means."""
    if reduction == "none":
        return losses.flatten(1).mean(1)
    return losses / math.prod(targets.shape[1:]) if reduction == "sum" else losses


def cross_entropy(settings: CrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    """``torch.nn.functional.cross_entropy`` on logits.

    Args:
        settings: The loss.
        output: Logits, shape ``(examples, ..., classes)``.
        targets: Class numbers, shape ``(examples, ...)``, dtype int64.
        reduction: What is returned. An example's loss is the mean over its inner positions, or where
            ``settings.counts_positions`` their sum, which has no ``mean``.

    Returns:
        Shape ``(examples,)`` for ``none``, else ``()``.

    Differs from the function's layout, which wants the classes on axis 1.
    """
    logits = output.movedim(-1, 1) if output.ndim > 2 else output
    if settings.class_weights != "none" or settings.ignore_index != "none":
        losses = _weighted(settings, logits, targets)
        if not settings.counts_positions:
            return _reduced(losses, reduction)
        losses = losses.flatten(1).sum(1) if losses.ndim > 1 else losses
        return losses if reduction == "none" else losses.sum()
    losses = functional.cross_entropy(
        logits, targets, reduction=reduction, label_smoothing=float(settings.label_smoothing)
    )
    if reduction == "none" and losses.ndim > 1:
        return losses.flatten(1).mean(1)
    positions = math.prod(targets.shape[1:])
    return losses / positions if reduction == "sum" and positions != 1 else losses


def _weighted(settings: CrossEntropy, logits: Tensor, targets: Tensor) -> Tensor:
    """Weighted losses of all positions, 0 where they are ignored; shape ``(examples, ...)``."""
    weights = None if settings.class_weights == "none" else _constant(settings.class_weights, logits)
    inside = settings.weighted_smoothing == "per_class"  # the function's own way
    losses = functional.cross_entropy(
        logits,
        targets,
        weight=weights if inside else None,
        ignore_index=NO_INDEX if settings.ignore_index == "none" else settings.ignore_index,
        label_smoothing=float(settings.label_smoothing),
        reduction="none",
    )
    if weights is None or inside:
        return losses
    return losses * weights[_kept_targets(settings, targets)]


def _kept(settings: CrossEntropy, targets: Tensor) -> Tensor:
    return (
        torch.ones_like(targets, dtype=torch.bool)
        if settings.ignore_index == "none"
        else (targets != settings.ignore_index)
    )


def _kept_targets(settings: CrossEntropy, targets: Tensor) -> Tensor:
    """Class numbers, 0 where they are ignored."""
    return targets * _kept(settings, targets)


def soft_cross_entropy(
    settings: spec.SoftCrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction
) -> Tensor:
    """``torch.nn.functional.cross_entropy`` for class probabilities, shape and dtype of the logits."""
    logits, wanted = (tensor.movedim(-1, 1) if output.ndim > 2 else tensor for tensor in (output, targets))
    smoothing = float(settings.label_smoothing)
    if reduction == "mean" and output.ndim == 2:  # for more axes it divides by the examples only
        return functional.cross_entropy(logits, wanted, label_smoothing=smoothing)
    losses = functional.cross_entropy(logits, wanted, reduction="none", label_smoothing=smoothing)
    return _reduced(losses, reduction)


def kl_divergence(settings: spec.KlDivergence, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    """``torch.nn.functional.kl_div`` of the logits' ``log_softmax``, summed over the last axis."""
    log_p = functional.log_softmax(output, -1)
    if reduction == "mean" and output.ndim == 2:
        return functional.kl_div(log_p, targets, reduction="batchmean")
    return _reduced(functional.kl_div(log_p, targets, reduction="none").sum(-1), reduction)


def focal_cross_entropy(
    settings: spec.FocalCrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction
) -> Tensor:
    """By its formula: PyTorch has none. ``1 - p`` is taken as ``-expm1(log p)``, which does not cancel."""
    log_p = functional.log_softmax(output, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    alpha = _constant(settings.alpha, output)
    losses = -log_p * (alpha[targets] if alpha.ndim else alpha)
    losses = losses if settings.gamma == 0 else losses * (-torch.expm1(log_p)).pow(settings.gamma)
    return _reduced(losses, reduction)


def binary_cross_entropy(
    settings: spec.BinaryCrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction
) -> Tensor:
    """``torch.nn.functional.binary_cross_entropy_with_logits``, of targets smoothed first."""
    smoothing = settings.label_smoothing
    wanted = targets if smoothing == 0 else targets * (1.0 - smoothing) + smoothing / 2.0
    weight = None if settings.pos_weight == 1 else _constant(settings.pos_weight, output)
    losses = functional.binary_cross_entropy_with_logits(output, wanted, pos_weight=weight, reduction=reduction)
    return _of_values(losses, targets, reduction)


def binary_focal_cross_entropy(
    settings: spec.BinaryFocalCrossEntropy, output: Tensor, targets: Tensor, reduction: Reduction
) -> Tensor:
    """By its formula: PyTorch has none. ``logsigmoid`` has no terms that cancel, ``..._with_logits`` has."""
    losses = -targets * functional.logsigmoid(output) - (1.0 - targets) * functional.logsigmoid(-output)
    if settings.alpha != "none":
        losses = losses * (targets * settings.alpha + (1.0 - targets) * (1.0 - settings.alpha))
    if settings.gamma != 0:
        wrong = torch.sigmoid(-output) * targets + torch.sigmoid(output) * (1.0 - targets)
        losses = losses * wrong.pow(settings.gamma)
    return _reduced(losses, reduction)


def _hinge(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    return _reduced((1.0 - output * targets).clamp(min=0.0), reduction)


def _squared_hinge(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    return _reduced((1.0 - output * targets).clamp(min=0.0).square(), reduction)


def _categorical_hinge(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    own = functional.one_hot(targets, output.shape[-1]).to(output.dtype)
    hardest = (output * (1.0 - own)).amax(-1)
    return _reduced((hardest - (output * own).sum(-1) + 1.0).clamp(min=0.0), reduction)


def _multi_margin(settings: spec.MultiMargin, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    losses = functional.multi_margin_loss(
        output.flatten(0, -2),
        targets.flatten(),
        p=settings.p,
        margin=settings.margin,
        reduction="mean" if reduction == "mean" else "none",
    )
    return losses if reduction == "mean" else _reduced(losses.reshape(targets.shape), reduction)


def _cosine(settings: spec.CosineDistance, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    squares, wanted = output.square().sum(-1), targets.square().sum(-1)
    epsilon = settings.epsilon or 0.0
    if settings.guard == "add":
        norms = ((squares + epsilon) * (wanted + epsilon)).sqrt()
    else:
        norms = squares.clamp(min=epsilon**2).sqrt() * wanted.clamp(min=epsilon**2).sqrt()
    return _reduced((settings.offset or 0.0) - (output * targets).sum(-1) / norms, reduction)


def _poisson(settings: spec.Poisson, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    losses = functional.poisson_nll_loss(
        output, targets, log_input=bool(settings.log_input), eps=settings.epsilon or 0.0, reduction=reduction
    )
    return _of_values(losses, targets, reduction)


def _mse(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    return _of_values(functional.mse_loss(output, targets, reduction=reduction), targets, reduction)


def _mae(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    return _of_values(functional.l1_loss(output, targets, reduction=reduction), targets, reduction)


def _huber(settings: spec.Huber, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    losses = functional.huber_loss(output, targets, delta=settings.delta, reduction=reduction)
    return _of_values(losses, targets, reduction)


def _smooth_l1(settings: spec.SmoothL1, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    losses = functional.smooth_l1_loss(output, targets, beta=settings.beta, reduction=reduction)
    return _of_values(losses, targets, reduction)


def _log_cosh(settings: Any, output: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:  # noqa: ARG001
    size = (output - targets).abs()  # log(cosh) is even; so the sum does not cancel
    return _reduced(size + torch.log1p(torch.exp(-2.0 * size)) - math.log(2.0), reduction)


LOSSES: Mapping[str, Callable[[Any, Tensor, Tensor, Reduction], Tensor]] = {
    "cross_entropy": cross_entropy,
    "soft_cross_entropy": soft_cross_entropy,
    "focal_cross_entropy": focal_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_focal_cross_entropy": binary_focal_cross_entropy,
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "smooth_l1": _smooth_l1,
    "log_cosh": _log_cosh,
    "kl_divergence": kl_divergence,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "categorical_hinge": _categorical_hinge,
    "multi_margin": _multi_margin,
    "cosine": _cosine,
    "poisson": _poisson,
}
"""The function of each kind of loss."""


def example_losses(loss: Loss, output: Tensor, targets: Tensor) -> Tensor:
    """Loss of each example, shape ``(examples,)``."""
    return LOSSES[loss.kind](loss, output, targets, "none")


def denominator(loss: Loss, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """What the sum of the examples' weighted losses is divided by, shape ``()``, float64.

    Args:
        loss: The loss.
        targets: Of all examples of an update; those of parts add up.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.

    Returns:
        The number of examples, or what ``loss`` counts instead; 0 where nothing counts (then divide by 1).
    """
    if not loss.counts_positions:
        return torch.tensor(float(len(targets)), dtype=torch.float64, device=targets.device)
    assert isinstance(loss, CrossEntropy), "only cross_entropy counts positions"
    counted = _kept(loss, targets).to(torch.float64)
    if loss.normalization == "positions":
        return counted.sum()
    if loss.class_weights != "none":
        counted = counted * _constant(loss.class_weights, counted)[_kept_targets(loss, targets)]
    by_example = counted.flatten(1).sum(1) if counted.ndim > 1 else counted
    return (by_example if weights is None else by_example * weights).sum()


def batch_loss(loss: Loss, output: Tensor, targets: Tensor, count: int | Tensor) -> Tensor:
    """Sum of the examples' losses divided by ``count``, shape ``()``.

    Where ``count`` is the number of examples this is the stock mean rather than a sum and a division: with
    label smoothing the two round their gradients differently, and the mean is what a plain loop takes. A loss
    that counts positions has no such mean: its ``count`` is a ``denominator``.
    """
    function = LOSSES[loss.kind]
    if not isinstance(count, Tensor) and count == len(targets) and not loss.counts_positions:
        return function(loss, output, targets, "mean")
    return function(loss, output, targets, "sum") / count
