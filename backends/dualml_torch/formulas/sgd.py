"""Stochastic gradient descent as Keras does it, or with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dualml_torch.formulas.base import Formula, Parameters, check, decayed, slot


class GeneralSGD(Formula):
    """Stochastic gradient descent with the learning rate inside or outside the momentum.

    With ``lr_in_momentum``: ``v <- m v - lr g``; ``p <- p + v``, or ``p + (m v - lr g)`` if nesterov.
    Without: ``b <- m b + g``; ``p <- p - lr b``, or ``p - lr (g + m b)`` if nesterov.
    Weight decay ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.

    Args:
        params: What is updated.
        lr: Learning rate.
        momentum: ``m``, in [0, 1).
        nesterov: Look ahead by one momentum step.
        weight_decay: ``w``.
        decoupled_weight_decay: How ``w`` enters.
        lr_in_momentum: Whether the buffer holds steps (Keras) or gradients (PyTorch).

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = GeneralSGD([weight], lr=0.5, momentum=0.5, lr_in_momentum=True)
        >>> weight.grad = torch.tensor([1.0])
        >>> optimizer.step(), optimizer.step()
        (None, None)
        >>> weight.item()  # v = -0.5, then 0.5 v - 0.5 = -0.75
        -0.25

    Differs from ``torch.optim.SGD``, which has neither ``lr_in_momentum`` nor decoupled decay.
    Source: ``keras/src/optimizers/sgd.py``, ``update_step``; ``torch/optim/sgd.py``, ``_single_tensor_sgd``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        lr_in_momentum: bool = True,
    ) -> None:
        check(
            "lr and weight_decay must be 0 or more and momentum in [0, 1)",
            lr >= 0 and weight_decay >= 0 and 0 <= momentum < 1,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "lr_in_momentum": lr_in_momentum,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        gradient = decayed(parameter, gradient, group)
        if momentum == 0:
            parameter.sub_(gradient * lr)
            return
        buffer = slot(state, "momentum_buffer", parameter)
        if group["lr_in_momentum"]:
            step = gradient * lr
            buffer.mul_(momentum).sub_(step)
            parameter.add_((buffer * momentum).sub_(step) if group["nesterov"] else buffer)
        else:
            buffer.mul_(momentum).add_(gradient)
            parameter.sub_((gradient.add(buffer, alpha=momentum) if group["nesterov"] else buffer) * lr)
