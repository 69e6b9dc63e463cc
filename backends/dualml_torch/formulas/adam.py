"""Adam and Adamax with Keras' epsilon, or with decoupled weight decay."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dualml_torch.formulas.base import Formula, Parameters, check, decayed, slot


class EpsilonHatAdam(Formula):
    """Adam with epsilon beside the root of the raw second moment ("epsilon hat").

    ``m <- m + (1 - b1) (g - m)``; ``v <- v + (1 - b2) (g^2 - v)``;
    ``p <- p - m alpha / (sqrt(v) + eps)`` with ``alpha = lr sqrt(1 - b2^t) / (1 - b1^t)``.
    Weight decay ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.

    Args:
        params: What is updated.
        lr: Learning rate.
        betas: ``(b1, b2)``, each in [0, 1).
        eps: Epsilon.
        weight_decay: ``w``.
        decoupled_weight_decay: How ``w`` enters.
        amsgrad: Divide by the largest ``v`` so far.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adam``, whose epsilon joins ``sqrt(v / (1 - b2^t))``, and from Keras in that
    ``alpha`` is computed in double precision (in float32 it is off by 7e-6 at the first update).
    Source: Kingma and Ba, arXiv:1412.6980, end of section 2; ``keras/src/optimizers/adam.py``, ``update_step``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        amsgrad: bool = False,
    ) -> None:
        check_moments(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "amsgrad": amsgrad,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        adam_step(
            parameter,
            decayed(parameter, gradient, group),
            state,
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            corrected=False,
            amsgrad=group["amsgrad"],
        )


class GeneralAdamax(Formula):
    """Adamax with epsilon beside the norm, or with decoupled weight decay.

    ``m <- m + (1 - b1) (g - m)``; with ``eps_in_norm`` ``u <- max(b2 u, |g| + eps)`` and ``d = u``, else
    ``u <- max(b2 u, |g|)`` and ``d = u + eps``; ``p <- p - lr / (1 - b1^t) m / d``.

    Args:
        params: What is updated.
        lr: Learning rate.
        betas: ``(b1, b2)``, each in [0, 1).
        eps: Epsilon.
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        decoupled_weight_decay: How ``w`` enters.
        eps_in_norm: Where epsilon stands.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adamax``, which has ``eps_in_norm`` and coupled decay alone.
    Source: Kingma and Ba, arXiv:1412.6980, algorithm 2; ``keras/src/optimizers/adamax.py``, ``update_step``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        eps_in_norm: bool = False,
    ) -> None:
        check_moments(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_in_norm": eps_in_norm,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradient = decayed(parameter, gradient, group)
        first = slot(state, "exp_avg", parameter)
        first.add_((gradient - first).mul_(1 - beta1))
        norm = slot(state, "exp_inf", parameter)
        size = gradient.abs().add_(group["eps"]) if group["eps_in_norm"] else gradient.abs()
        torch.maximum(norm.mul_(beta2), size, out=norm)
        divisor = norm if group["eps_in_norm"] else norm.add(group["eps"])
        parameter.addcdiv_(first, divisor, value=-group["lr"] / (1 - beta1 ** state["step"].item()))


def check_moments(lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    """Refuse settings that are out of range."""
    check(
        "lr, eps and weight_decay must be 0 or more and betas in [0, 1)",
        lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas),
        lr=lr,
        eps=eps,
        weight_decay=weight_decay,
        betas=betas,
    )


def adam_step(
    parameter: Tensor,
    gradient: Tensor,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    corrected: bool,
    amsgrad: bool,
) -> None:
    """Adam after weight decay, with epsilon beside the root of the corrected or of the raw second moment."""
    step, (beta1, beta2) = state["step"].item(), betas
    root_correction = math.sqrt(1 - beta2**step)
    first, second = slot(state, "exp_avg", parameter), slot(state, "exp_avg_sq", parameter)
    scratch = gradient - first  # one temporary for all: fresh memory costs more than the arithmetic
    first.add_(scratch.mul_(1 - beta1))
    torch.mul(gradient, gradient, out=scratch)
    second.add_(scratch.sub_(second).mul_(1 - beta2))
    if amsgrad:
        largest = slot(state, "max_exp_avg_sq", parameter)
        second = torch.maximum(largest, second, out=largest)
    torch.sqrt(second, out=scratch)
    if corrected:
        scratch.div_(root_correction).add_(eps)
        alpha = lr / (1 - beta1**step)
    else:
        scratch.add_(eps)
        alpha = lr * root_correction / (1 - beta1**step)
    parameter.addcdiv_(first, scratch, value=-alpha)  # alpha m first, then the division
