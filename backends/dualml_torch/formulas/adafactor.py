"""Adafactor with Keras' epsilon, with chosen axes, or with coupled weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dualml_torch.formulas.base import Formula, Parameters, average, check, decayed


class GeneralAdafactor(Formula):
    """Adafactor without momentum over two axes of choice.

    ``k = t^beta2_decay``; ``r`` and ``c`` average ``g^2`` (plus ``eps[0]`` with ``eps_added``) over the second and over
    the first axis of ``factored``; ``v = r c / mean(r)``; without ``eps_added`` ``mean(r)`` is at least ``eps[0]`` and
    ``v`` at least its square. ``u = g / sqrt(v)``;
    ``p <- p - max(eps[1], rms(p)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d)``.

    Args:
        params: What is updated.
        lr: Largest relative step.
        beta2_decay: Exponent of ``k``, 0 or less.
        eps: What keeps the divisor from 0, and the least size of a parameter.
        d: Largest root mean square of ``u``, 1 or more.
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        decoupled_weight_decay: How ``w`` enters.
        eps_added: Where the first epsilon stands.
        rms_after_decay: Whether ``rms(p)`` is that of the decayed parameter.
        factored: Two axes; arrays of fewer keep ``v`` whole. A group of parameters may have its own.
        order: For a group of one parameter, the array that is to be factored in its place: where in the flattened
            parameter each of its numbers is.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adafactor``, which has none of the last five and factors the last two axes, a
    convolution's window.
    Source: Shazeer and Stern, arXiv:1804.04235; ``keras/src/optimizers/adafactor.py``; ``torch/optim/_adafactor.py``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        beta2_decay: float = -0.8,
        eps: tuple[float, float] = (1e-30, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        eps_added: bool = True,
        rms_after_decay: bool = True,
        factored: tuple[int, int] = (-2, -1),
        order: Tensor | None = None,
    ) -> None:
        check(
            "lr, eps and weight_decay must be 0 or more, beta2_decay 0 or less and d 1 or more",
            min(lr, *eps, weight_decay) >= 0 and beta2_decay <= 0 and d >= 1,
            lr=lr,
            eps=eps,
            weight_decay=weight_decay,
            beta2_decay=beta2_decay,
            d=d,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_added": eps_added,
                "rms_after_decay": rms_after_decay,
                "factored": factored,
                "order": order,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        step, (eps1, eps2) = state["step"].item(), group["eps"]
        size = None if group["rms_after_decay"] else _rms(parameter)
        gradient = decayed(parameter, gradient, group)
        size = _rms(parameter) if size is None else size
        order = group["order"]
        if order is not None:
            gradient = gradient.flatten()[order]
        kept = 1 - step ** group["beta2_decay"]
        square = gradient.square()
        if group["eps_added"]:
            square.add_(eps1)
        if gradient.dim() < 2:
            variance = _mean(state, "variance", square, kept).clone()
        else:
            first, second = group["factored"]
            rows = _mean(state, "row_var", square.mean(second, keepdim=True), kept)
            columns = _mean(state, "col_var", square.mean(first, keepdim=True), kept)
            mean = rows.mean(first, keepdim=True)
            variance = rows / mean * columns if group["eps_added"] else rows * columns / mean.clamp(min=eps1)
        if not group["eps_added"]:
            variance.clamp_(min=eps1 * eps1)
        update = gradient / variance.sqrt_()
        update.div_(_rms(update).div_(group["d"]).clamp_(min=1.0))
        if order is not None:
            update = (
                torch.empty_like(update).flatten().scatter_(0, order.flatten(), update.flatten()).view_as(parameter)
            )
        parameter.sub_(update.mul_(size.clamp_(min=eps2).mul_(min(group["lr"], step**-0.5))))


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt_()


def _mean(state: dict[str, Any], name: str, new: Tensor, kept: float) -> Tensor:
    """A slot of the shape of what it averages."""
    old: Tensor = state.setdefault(name, torch.zeros_like(new))
    average(old, new, kept)
    return old
