"""Update formulas that ``torch.optim`` does not have, as optimizers for any PyTorch loop.

They follow the order of Keras' operations, so that float32 results stay close to Keras'; scalars (rates,
bias corrections) are computed in double precision, as PyTorch does and Keras does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn


class _Formula(torch.optim.Optimizer):
    """A step over all parameters that have a gradient; subclasses say how one is updated."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Do one update; ``closure``, where given, first evaluates the loss again and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group, self.state[parameter])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError


def _decayed(parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """The gradient with coupled decay added; decoupled decay is taken off the parameter instead."""
    decay = group["weight_decay"]
    if decay == 0:
        return gradient
    if not group["decoupled_weight_decay"]:
        return gradient.add(parameter, alpha=decay)
    # keras/src/optimizers/base_optimizer.py, _apply_weight_decay: variable - variable * wd * lr
    parameter.sub_((parameter * decay).mul_(group["lr"]))
    return gradient


class GeneralSGD(_Formula):
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
        >>> weight = nn.Parameter(torch.tensor([1.0]))
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
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        lr_in_momentum: bool = True,
    ) -> None:
        if not (lr >= 0 and 0 <= momentum < 1 and weight_decay >= 0):
            raise ValueError(
                "lr and weight_decay must be 0 or more and momentum in [0, 1), "
                f"got lr={lr}, weight_decay={weight_decay}, momentum={momentum}"
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
        gradient = _decayed(parameter, gradient, group)
        if momentum == 0:
            parameter.sub_(gradient * lr)
            return
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        buffer: Tensor = state["momentum_buffer"]
        if group["lr_in_momentum"]:
            step = gradient * lr
            buffer.mul_(momentum).sub_(step)
            parameter.add_((buffer * momentum).sub_(step) if group["nesterov"] else buffer)
        else:
            buffer.mul_(momentum).add_(gradient)
            parameter.sub_((gradient.add(buffer, alpha=momentum) if group["nesterov"] else buffer) * lr)


class EpsilonHatAdam(_Formula):
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

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adam``, whose epsilon joins ``sqrt(v / (1 - b2^t))``, and from Keras in that
    ``alpha`` is computed in double precision (in float32 it is off by 7e-6 at the first update).
    Source: Kingma and Ba, arXiv:1412.6980, end of section 2; ``keras/src/optimizers/adam.py``, ``update_step``.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
    ) -> None:
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(
                "lr, eps and weight_decay must be 0 or more and betas in [0, 1), "
                f"got lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32)  # shape and dtype as in torch.optim.Adam
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["step"] += 1
        step = state["step"].item()
        beta1, beta2 = group["betas"]
        alpha = group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        gradient = _decayed(parameter, gradient, group)
        first: Tensor = state["exp_avg"]
        second: Tensor = state["exp_avg_sq"]
        scratch = gradient - first  # one temporary for all: fresh memory costs more than the arithmetic
        first.add_(scratch.mul_(1 - beta1))
        torch.mul(gradient, gradient, out=scratch)
        second.add_(scratch.sub_(second).mul_(1 - beta2))
        torch.sqrt(second, out=scratch).add_(group["eps"])
        parameter.addcdiv_(first, scratch, value=-alpha)  # alpha m first, then the division
