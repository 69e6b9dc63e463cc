"""Muon in full precision, with AdamW for what is no matrix."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from dualml_torch.formulas.adam import adam_step
from dualml_torch.formulas.base import Formula, Parameters, average, check, decayed, slot

Coefficients = tuple[float, float, float]


class FullPrecisionMuon(Formula):
    """Muon whose Newton-Schulz iteration runs in the parameters' own dtype.

    Groups with ``orthogonalise`` hold matrices: ``b`` collects gradients, as a sum or (``momentum_average``) as an
    average; ``X`` is ``b``, or ``g`` and ``b`` mixed if nesterov, divided by its norm; ``ns_steps`` times
    ``X <- a X + (b A + c A A) X``, ``A = X X^T``; ``p <- p - lr f X``. Other groups are updated by AdamW.

    Args:
        params: Groups of parameters.
        lr: Learning rate.
        weight_decay: Decoupled, of every group that has none of its own.
        momentum: Of the matrices, in [0, 1).
        nesterov: Look ahead by one momentum step.
        momentum_average: Whether the buffer is an average or a sum.
        ns_coefficients: ``(a, b, c)``.
        eps: What keeps the norm from 0.
        eps_added: Whether it is added to the norm or its lower limit.
        ns_steps: Iterations.
        rms_rate: ``f = rms_rate sqrt(max(rows, columns))``; ``None``: ``f = sqrt(max(1, outputs / inputs))``.
        adam_lr_factor: What ``lr`` is multiplied by in AdamW.
        adam_betas: Of AdamW.
        adam_eps: Of AdamW.
        adam_eps_corrected: Whether it joins the root of the corrected or of the raw second moment.
        orthogonalise: Whether a group holds matrices.
        outputs_first: Whether the first axis of a group's matrices are the outputs, as in ``torch.nn.Linear``.

    Raises:
        ValueError: A value is out of range.

    Differs from ``torch.optim.Muon``, which iterates in bfloat16 whatever the dtype and takes matrices alone.
    Source: ``torch/optim/_muon.py``; ``keras/src/optimizers/muon.py``.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        momentum_average: bool = True,
        ns_coefficients: Coefficients = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        eps_added: bool = False,
        ns_steps: int = 5,
        rms_rate: float | None = None,
        adam_lr_factor: float = 1.0,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_eps_corrected: bool = True,
        orthogonalise: bool = True,
        outputs_first: bool = True,
    ) -> None:
        check(
            "lr, weight_decay and adam_lr_factor must be 0 or more, eps above 0, momentum and adam_betas in [0, 1)",
            min(lr, weight_decay, adam_lr_factor) >= 0 and eps > 0,
            all(0 <= beta < 1 for beta in (momentum, *adam_betas)),
            lr=lr,
            weight_decay=weight_decay,
            adam_lr_factor=adam_lr_factor,
            eps=eps,
            momentum=momentum,
            adam_betas=adam_betas,
        )
        defaults = {name: value for name, value in locals().items() if name not in ("self", "params", "__class__")}
        super().__init__(params, {**defaults, "decoupled_weight_decay": True})

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        gradient = decayed(parameter, gradient, group)
        if not group["orthogonalise"]:
            adam_step(
                parameter,
                gradient,
                state,
                lr=lr * group["adam_lr_factor"],
                betas=group["adam_betas"],
                eps=group["adam_eps"],
                corrected=group["adam_eps_corrected"],
                amsgrad=False,
            )
            return
        buffer = slot(state, "momentum_buffer", parameter)
        if group["momentum_average"]:
            average(buffer, gradient, momentum)
            x = (gradient * (1 - momentum)).add_(buffer, alpha=momentum) if group["nesterov"] else buffer
        else:
            buffer.mul_(momentum).add_(gradient)
            x = gradient.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        norm = x.norm()
        divisor = norm.add_(group["eps"]) if group["eps_added"] else norm.clamp_(min=group["eps"])
        x = newton_schulz(x / divisor, group["ns_coefficients"], group["ns_steps"])
        first, second = parameter.shape
        if group["rms_rate"] is not None:
            factor = group["rms_rate"] * math.sqrt(max(first, second))
        else:
            factor = math.sqrt(max(1.0, first / second if group["outputs_first"] else second / first))
        parameter.sub_(x, alpha=lr * factor)


def newton_schulz(x: Tensor, coefficients: Coefficients, steps: int) -> Tensor:
    """Bring the singular values of a matrix of norm at most 1 near 1; its shorter axis comes first meanwhile."""
    a, b, c = coefficients
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
