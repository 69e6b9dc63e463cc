"""RMSprop, Adagrad and Adadelta as Keras does them, or with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dualml_torch.formulas.base import Formula, Parameters, average, check, decayed, slot


class GeneralRMSprop(Formula):
    """RMSprop with epsilon under the root, the learning rate inside the momentum, or decoupled weight decay.

    ``v <- alpha v + (1 - alpha) g^2``; ``centered``: less the square of the mean gradient; ``d = sqrt(v + eps)`` with
    ``eps_inside``, else ``sqrt(v) + eps``; with ``lr_in_momentum`` ``b <- m b + lr g / d`` and ``p <- p - b``,
    else ``b <- m b + g / d`` and ``p <- p - lr b``.

    Args:
        params: What is updated.
        lr: Learning rate.
        alpha: Decay of the means, in [0, 1).
        eps: Epsilon.
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        momentum: ``m``, in [0, 1).
        centered: Divide by an estimate of the standard deviation.
        decoupled_weight_decay: How ``w`` enters.
        eps_inside: Where epsilon stands.
        lr_in_momentum: Whether the buffer holds steps (Keras) or scaled gradients (PyTorch).

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.RMSprop``, which has none of the last three.
    Source: ``keras/src/optimizers/rmsprop.py``, ``update_step``; ``torch/optim/rmsprop.py``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        alpha: float = 0.9,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        decoupled_weight_decay: bool = True,
        eps_inside: bool = True,
        lr_in_momentum: bool = True,
    ) -> None:
        check(
            "lr, eps and weight_decay must be 0 or more, alpha and momentum in [0, 1)",
            lr >= 0 and eps >= 0 and weight_decay >= 0 and 0 <= alpha < 1 and 0 <= momentum < 1,
            lr=lr,
            eps=eps,
            weight_decay=weight_decay,
            alpha=alpha,
            momentum=momentum,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_inside": eps_inside,
                "lr_in_momentum": lr_in_momentum,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        gradient = decayed(parameter, gradient, group)
        square = slot(state, "square_avg", parameter)
        average(square, gradient.square(), group["alpha"])
        if group["centered"]:
            mean = slot(state, "grad_avg", parameter)
            average(mean, gradient, group["alpha"])
            square = square - mean.square()
        divisor = square.add(group["eps"]).sqrt_() if group["eps_inside"] else square.sqrt().add_(group["eps"])
        if momentum == 0:
            parameter.sub_((gradient * lr).div_(divisor))
            return
        buffer = slot(state, "momentum_buffer", parameter).mul_(momentum)
        if group["lr_in_momentum"]:
            parameter.sub_(buffer.add_((gradient * lr).div_(divisor)))
        else:
            parameter.sub_(buffer.add_(gradient / divisor) * lr)


class GeneralAdagrad(Formula):
    """Adagrad with epsilon under the root, or with decoupled weight decay.

    ``s <- s + g^2``; ``d = sqrt(s + eps)`` with ``eps_inside``, else ``sqrt(s) + eps``;
    ``p <- p - lr / (1 + (t - 1) lr_decay) g / d``.

    Args:
        params: What is updated.
        lr: Learning rate.
        lr_decay: How the learning rate falls.
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        initial_accumulator_value: What ``s`` starts from.
        eps: Epsilon.
        decoupled_weight_decay: How ``w`` enters.
        eps_inside: Where epsilon stands.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adagrad``, which has neither of the last two.
    Source: ``keras/src/optimizers/adagrad.py``, ``update_step``; ``torch/optim/adagrad.py``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.1,
        eps: float = 1e-7,
        decoupled_weight_decay: bool = True,
        eps_inside: bool = True,
    ) -> None:
        check(
            "lr, lr_decay, weight_decay, initial_accumulator_value and eps must be 0 or more",
            min(lr, lr_decay, weight_decay, initial_accumulator_value, eps) >= 0,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_inside": eps_inside,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        gradient = decayed(parameter, gradient, group)
        total = slot(state, "sum", parameter, group["initial_accumulator_value"]).add_(gradient.square())
        divisor = total.add(group["eps"]).sqrt_() if group["eps_inside"] else total.sqrt().add_(group["eps"])
        rate = group["lr"] / (1 + (state["step"].item() - 1) * group["lr_decay"])
        parameter.sub_((gradient * rate).div_(divisor))


class GeneralAdadelta(Formula):
    """Adadelta with weight decay of either kind.

    ``v <- rho v + (1 - rho) g^2``; ``x = sqrt(y + eps) g / sqrt(v + eps)``; ``y <- rho y + (1 - rho) x^2``;
    ``p <- p - lr x``.

    Args:
        params: What is updated.
        lr: Learning rate.
        rho: Decay of both means, in [0, 1).
        eps: Epsilon.
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        decoupled_weight_decay: How ``w`` enters.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Adadelta``, which has coupled decay alone.
    Source: Zeiler, arXiv:1212.5701, algorithm 1; ``keras/src/optimizers/adadelta.py``, ``update_step``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        rho: float = 0.95,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
    ) -> None:
        check(
            "lr, eps and weight_decay must be 0 or more and rho in [0, 1)",
            min(lr, eps, weight_decay) >= 0 and 0 <= rho < 1,
            lr=lr,
            eps=eps,
            weight_decay=weight_decay,
            rho=rho,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        gradient = decayed(parameter, gradient, group)
        square, squared_step = slot(state, "square_avg", parameter), slot(state, "acc_delta", parameter)
        average(square, gradient.square(), rho)
        step = squared_step.add(eps).sqrt_().mul_(gradient).div_(square.add(eps).sqrt_())
        average(squared_step, step.square(), rho)
        parameter.sub_(step.mul_(group["lr"]))
