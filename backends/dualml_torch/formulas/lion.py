"""Lion, which ``torch.optim`` does not have."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dualml_torch.formulas.base import Formula, Parameters, average, check, decayed, slot


class Lion(Formula):
    """Steps of one size: ``p <- p - lr sign(b1 m + (1 - b1) g)``, then ``m <- b2 m + (1 - b2) g``.

    Args:
        params: What is updated.
        lr: Learning rate.
        betas: ``(b1, b2)``, each in [0, 1).
        weight_decay: ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.
        decoupled_weight_decay: How ``w`` enters.

    Raises:
        ValueError: A value is out of range.

    Source: Chen et al., arXiv:2302.06675, algorithm 2; ``keras/src/optimizers/lion.py``, ``update_step``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
    ) -> None:
        check(
            "lr and weight_decay must be 0 or more and betas in [0, 1)",
            lr >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas),
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradient = decayed(parameter, gradient, group)
        momentum = slot(state, "momentum_buffer", parameter)
        direction = (momentum * beta1).add_(gradient, alpha=1 - beta1)
        parameter.sub_(direction.sign_().mul_(group["lr"]))
        average(momentum, gradient, beta2)
