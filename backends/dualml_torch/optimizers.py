"""Optimizers: the stock ``torch.optim`` class where it computes the spec's formula, else one of ``formulas``.

Every argument is given, so no default of PyTorch is in play. ``fused`` kernels differ from the default in the last
bits, so they are on only where the trainer may differ from the eager one by rounding. ``foreach`` on a CPU gives the
same bits as the default (off) and halves the time of Adam's many small passes; for the others it is on where PyTorch's
own default is, on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn, optim

from dualml.slots import start_state
from dualml.spec.optimizers import (
    AVERAGE,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    Ema,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    RMSprop,
    Sgd,
)
from dualml_torch import formulas
from dualml_torch.layout import Layout
from dualml_torch.slots import UPDATES, native_axes, native_order, set_state

Groups = list[dict[str, Any]]
"""Groups of parameters with what each has of its own, as ``torch.optim`` takes them."""


FUSED = (optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad)
"""Stock optimizers that PyTorch has a fused kernel for on every device."""


def build_optimizer(settings: Optimizer, layout: Layout, *, fused: bool = False) -> optim.Optimizer:
    """A native optimizer of all parameters.

    Args:
        settings: Every setting filled in.
        layout: Of the model's parameters.
        fused: Use PyTorch's fused kernel where it has one for this optimizer.
    """
    optimizer = OPTIMIZERS[settings.kind](settings, _groups(settings, layout))
    if fused and type(optimizer) in FUSED:
        for group in (optimizer.defaults, *optimizer.param_groups):
            group.update(fused=True, foreach=False)
    set_state(optimizer, settings, layout, start_state(settings, layout.graph))
    if settings.ema is not None:
        _average(optimizer, settings.ema)
    return optimizer


def _groups(settings: Optimizer, layout: Layout) -> Groups:
    """Parameters that share everything the core says about them, in the graph's order."""
    grouped: dict[tuple[Any, ...], list[nn.Parameter]] = {}
    for item in layout.graph.parameters:
        own: dict[str, Any] = {
            "lr_factor": settings.lr_factor(item.name),
            "weight_decay": settings.decay_of(item.name, item.shape),
        }
        if isinstance(settings, Adafactor) and len(item.shape) > 1:
            axes = native_axes(layout, item.name)
            own["order"] = native_order(layout, item.name) if axes is None else None
            own["factored"] = (-2, -1) if axes is None else axes[-2:]
        if isinstance(settings, Muon):
            own["orthogonalise"] = settings.orthogonalises(item.name, item.shape)
            own["outputs_first"] = own["orthogonalise"] and native_axes(layout, item.name) == (1, 0)
        grouped.setdefault(tuple(own.items()), []).append(layout.parameters[item.name])
    lr = _number(settings.lr)
    return [{"params": parameters, "lr": lr * own[0][1], **dict(own)} for own, parameters in grouped.items()]


def _average(optimizer: optim.Optimizer, ema: Ema) -> None:
    """Average the weights after every step of the optimizer, as ``AveragedModel`` of ``torch.optim.swa_utils`` does."""
    decay = _number(ema.decay)

    def hook(optimizer: optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            group[UPDATES] += 1
            for parameter in group["params"] if group[UPDATES] % ema.every == 0 else ():
                state = optimizer.state[parameter]
                if group[UPDATES] == ema.every:
                    state[AVERAGE] = parameter.detach().clone()
                else:
                    state[AVERAGE].lerp_(parameter.detach(), 1 - decay)

    optimizer.register_step_post_hook(hook)


def sgd(settings: Sgd, groups: Groups) -> optim.Optimizer:
    """``torch.optim.SGD``; ``GeneralSGD`` for Keras' formula or decoupled decay."""
    momentum = _number(settings.momentum)
    nesterov = bool(settings.nesterov and momentum)  # the same without momentum, where torch refuses it
    common: dict[str, Any] = {
        "lr": _number(settings.lr),
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": 0.0,
    }
    if settings.lr_in_momentum or _decay(settings, groups) == "decoupled":
        return formulas.GeneralSGD(
            groups,
            **common,
            decoupled_weight_decay=settings.decay == "decoupled",
            lr_in_momentum=bool(settings.lr_in_momentum),
        )
    return optim.SGD(groups, **common, dampening=0.0, fused=False, **_stock(groups, capturable=False))


def adam(settings: Adam, groups: Groups) -> optim.Optimizer:
    """``torch.optim.Adam``, or ``AdamW`` for decoupled decay; ``EpsilonHatAdam`` for Keras' epsilon."""
    common = {**_moments(settings), "amsgrad": bool(settings.amsgrad)}
    if settings.epsilon_placement == "uncorrected":
        return formulas.EpsilonHatAdam(groups, **common, decoupled_weight_decay=settings.decay == "decoupled")
    native = optim.AdamW if settings.decay == "decoupled" else optim.Adam
    return native(groups, **common, fused=False, **{**_stock(groups), "foreach": True})


def nadam(settings: NAdam, groups: Groups) -> optim.Optimizer:
    """``torch.optim.NAdam``, which can do Keras' formula too."""
    return optim.NAdam(
        groups,
        **_moments(settings),
        momentum_decay=_number(settings.momentum_decay),
        decoupled_weight_decay=settings.decay == "decoupled",
        **_stock(groups),
    )


def adamax(settings: Adamax, groups: Groups) -> optim.Optimizer:
    """``torch.optim.Adamax``; ``GeneralAdamax`` for Keras' epsilon or decoupled decay."""
    if settings.epsilon_placement == "norm" or _decay(settings, groups) == "decoupled":
        return formulas.GeneralAdamax(
            groups,
            **_moments(settings),
            decoupled_weight_decay=settings.decay == "decoupled",
            eps_in_norm=settings.epsilon_placement == "gradient",
        )
    return optim.Adamax(groups, **_moments(settings), **_stock(groups))


def rmsprop(settings: RMSprop, groups: Groups) -> optim.Optimizer:
    """``torch.optim.RMSprop``; ``GeneralRMSprop`` for Keras' formula or decoupled decay."""
    common: dict[str, Any] = {
        "lr": _number(settings.lr),
        "alpha": _number(settings.rho),
        "eps": _number(settings.epsilon),
        "weight_decay": 0.0,
        "momentum": _number(settings.momentum),
        "centered": bool(settings.centered),
    }
    inside, lr_inside = settings.epsilon_placement == "inside", bool(settings.lr_in_momentum and settings.momentum)
    if inside or lr_inside or _decay(settings, groups) == "decoupled":
        return formulas.GeneralRMSprop(
            groups,
            **common,
            decoupled_weight_decay=settings.decay == "decoupled",
            eps_inside=inside,
            lr_in_momentum=lr_inside,
        )
    return optim.RMSprop(groups, **common, **_stock(groups))


def adagrad(settings: Adagrad, groups: Groups) -> optim.Optimizer:
    """``torch.optim.Adagrad``; ``GeneralAdagrad`` for Keras' epsilon or decoupled decay."""
    common: dict[str, Any] = {
        "lr": _number(settings.lr),
        "lr_decay": _number(settings.lr_decay),
        "weight_decay": 0.0,
        "initial_accumulator_value": _number(settings.initial_accumulator),
        "eps": _number(settings.epsilon),
    }
    inside = settings.epsilon_placement == "inside"
    if inside or _decay(settings, groups) == "decoupled":
        return formulas.GeneralAdagrad(
            groups, **common, decoupled_weight_decay=settings.decay == "decoupled", eps_inside=inside
        )
    return optim.Adagrad(groups, **common, fused=False, **_stock(groups, capturable=False))


def adadelta(settings: Adadelta, groups: Groups) -> optim.Optimizer:
    """``torch.optim.Adadelta``; ``GeneralAdadelta`` for decoupled decay."""
    common: dict[str, Any] = {
        "lr": _number(settings.lr),
        "rho": _number(settings.rho),
        "eps": _number(settings.epsilon),
        "weight_decay": 0.0,
    }
    if _decay(settings, groups) == "decoupled":
        return formulas.GeneralAdadelta(groups, **common, decoupled_weight_decay=True)
    return optim.Adadelta(groups, **common, **_stock(groups))


def lion(settings: Lion, groups: Groups) -> optim.Optimizer:
    """``formulas.Lion``: PyTorch has none."""
    return formulas.Lion(
        groups,
        lr=_number(settings.lr),
        betas=(_number(settings.beta1), _number(settings.beta2)),
        weight_decay=0.0,
        decoupled_weight_decay=settings.decay == "decoupled",
    )


def adafactor(settings: Adafactor, groups: Groups) -> optim.Optimizer:
    """``torch.optim.Adafactor`` where its axes and its formula are meant, else ``GeneralAdafactor``."""
    common: dict[str, Any] = {
        "lr": _number(settings.lr),
        "beta2_decay": _number(settings.beta2_decay),
        "eps": (_number(settings.epsilon1), _number(settings.epsilon2)),
        "d": _number(settings.clip_threshold),
        "weight_decay": 0.0,
    }
    decay = _decay(settings, groups)
    axes_last = all(
        {parameter.dim() - 2, parameter.dim() - 1} == set(group.get("factored", ()))
        for group in groups
        for parameter in group["params"]
        if parameter.dim() > 1
    )
    stock = settings.epsilon1_placement == "floor" and (not decay or settings.rms_of == "before_decay")
    if stock and decay != "coupled" and axes_last:
        return optim.Adafactor(groups, **common, foreach=bool(groups[0]["params"][0].is_cuda), maximize=False)
    return formulas.GeneralAdafactor(
        groups,
        **common,
        decoupled_weight_decay=settings.decay == "decoupled",
        eps_added=settings.epsilon1_placement == "added",
        rms_after_decay=settings.rms_of == "after_decay",
    )


def muon(settings: Muon, groups: Groups) -> optim.Optimizer:
    """``FullPrecisionMuon``: ``torch.optim.Muon`` iterates in bfloat16 and takes matrices alone."""
    assert settings.ns_coefficients is not None
    assert settings.ns_steps is not None
    return formulas.FullPrecisionMuon(
        groups,
        lr=_number(settings.lr),
        weight_decay=0.0,
        momentum=_number(settings.momentum),
        nesterov=bool(settings.nesterov),
        momentum_average=bool(settings.momentum_average),
        ns_coefficients=settings.ns_coefficients,
        eps=_number(settings.epsilon),
        eps_added=settings.norm_epsilon == "added",
        ns_steps=settings.ns_steps,
        rms_rate=_number(settings.rms_rate) if settings.scale == "rms" else None,
        adam_lr_factor=_number(settings.adam_lr_factor),
        adam_betas=(_number(settings.adam_beta1), _number(settings.adam_beta2)),
        adam_eps=_number(settings.adam_epsilon),
        adam_eps_corrected=settings.adam_epsilon_placement == "corrected",
    )


def _moments(settings: Any) -> dict[str, Any]:
    return {
        "lr": _number(settings.lr),
        "betas": (_number(settings.beta1), _number(settings.beta2)),
        "eps": _number(settings.epsilon),
        "weight_decay": 0.0,  # each group has its own
    }


def _stock(groups: Groups, *, capturable: bool = True) -> dict[str, Any]:
    """Arguments of stock optimizers that change no formula."""
    common = {"maximize": False, "foreach": bool(groups[0]["params"][0].is_cuda), "differentiable": False}
    return {**common, "capturable": False} if capturable else common


def _decay(settings: Optimizer, groups: Groups) -> str:
    """How weight decay enters; empty where nothing decays."""
    return str(settings.decay) if any(group["weight_decay"] for group in groups) else ""


def _number(value: float | None) -> float:
    if value is None:
        raise ValueError("every setting of the optimizer must be filled in, found None; pass spec.resolved.optimizer")
    return float(value)


OPTIMIZERS: Mapping[str, Callable[[Any, Groups], optim.Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,
    "nadam": nadam,
    "adamax": adamax,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "lion": lion,
    "adafactor": adafactor,
    "muon": muon,
}
"""The native optimizer of each kind, from its resolved settings and the groups of parameters."""
