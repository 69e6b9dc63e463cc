"""Optimizers: the stock ``torch.optim`` class where it computes the spec's formula, else one of ``formulas``.

Every argument is given, so no default of PyTorch is in play. ``fused`` stays off: on a CPU its results differ
from those of the default in the last bits. ``foreach`` on a CPU gives the same bits as the default (off) and
halves the time of Adam's many small passes; for SGD it gains nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn, optim

from dualml.spec.optimizers import Adam, Sgd
from dualml_torch.formulas import EpsilonHatAdam, GeneralSGD

Parameters = list[nn.Parameter]


def sgd(settings: Sgd, parameters: Parameters) -> optim.Optimizer:
    """``torch.optim.SGD``; ``GeneralSGD`` for Keras' formula or decoupled decay."""
    momentum = _number(settings.momentum)
    nesterov = bool(settings.nesterov and momentum)  # the same without momentum, where torch refuses it
    if settings.lr_in_momentum or (settings.weight_decay and settings.decay == "decoupled"):
        return GeneralSGD(
            parameters,
            lr=_number(settings.lr),
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=_number(settings.weight_decay),
            decoupled_weight_decay=settings.decay == "decoupled",
            lr_in_momentum=bool(settings.lr_in_momentum),
        )
    return optim.SGD(
        parameters,
        lr=_number(settings.lr),
        momentum=momentum,
        dampening=0.0,
        weight_decay=_number(settings.weight_decay),
        nesterov=nesterov,
        maximize=False,
        foreach=parameters[0].is_cuda,
        differentiable=False,
        fused=False,
    )


def adam(settings: Adam, parameters: Parameters) -> optim.Optimizer:
    """``torch.optim.Adam``, or ``AdamW`` for decoupled decay; ``EpsilonHatAdam`` for Keras' epsilon."""
    lr, decay = _number(settings.lr), _number(settings.weight_decay)
    betas, epsilon = (_number(settings.beta1), _number(settings.beta2)), _number(settings.epsilon)
    if settings.epsilon_placement == "uncorrected":
        return EpsilonHatAdam(
            parameters,
            lr=lr,
            betas=betas,
            eps=epsilon,
            weight_decay=decay,
            decoupled_weight_decay=settings.decay == "decoupled",
        )
    native = optim.AdamW if settings.decay == "decoupled" else optim.Adam
    return native(
        parameters,
        lr=lr,
        betas=betas,
        eps=epsilon,
        weight_decay=decay,
        amsgrad=False,
        maximize=False,
        foreach=True,
        capturable=False,
        differentiable=False,
        fused=False,
    )


def _number(value: float | None) -> float:
    if value is None:
        raise ValueError("every setting of the optimizer must be filled in, found None; pass spec.resolved.optimizer")
    return float(value)


OPTIMIZERS: Mapping[str, Callable[[Any, Parameters], optim.Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adam}
"""The native optimizer of each kind, from its resolved settings."""
