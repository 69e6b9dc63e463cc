"""Each optimizer and each clipping: what each convention fills in, and every combination that changes the formula."""

from __future__ import annotations

from typing import Any, TypeAlias

from dualml.spec.config import Conventions
from dualml.spec.optimizers import (
    OPTIMIZERS,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ema,
    GlobalNorm,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    ParameterGroup,
    ParameterNorm,
    RMSprop,
    Sgd,
    ValueLimit,
)
from dualml.testing.cases.base import Update, update

_PRESETS: tuple[Conventions, ...] = ("torch", "keras")
_Settings: TypeAlias = dict[str, Any]
_COUPLED: _Settings = {"weight_decay": 0.03, "decay": "coupled"}
_DECOUPLED: _Settings = {"weight_decay": 0.03, "decay": "decoupled"}
_DECAYS: tuple[tuple[str, _Settings], ...] = (("", {}), ("-coupled", _COUPLED), ("-decoupled", _DECOUPLED))
_MEMORIES: tuple[tuple[str, _Settings], ...] = (
    ("", {}),
    ("-momentum", {"momentum": 0.7, "lr_in_momentum": False}),
    ("-momentum-lr-inside", {"momentum": 0.7, "lr_in_momentum": True}),
)
_FAST: _Settings = {"beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3}
"""A large epsilon and fast betas: each of them matters from the first update."""


def _presets() -> list[Update]:
    """What each convention fills in."""
    return [update(f"{kind.kind}-{preset}", kind(), preset) for kind in OPTIMIZERS for preset in _PRESETS]


def _sgd() -> list[Update]:
    rows = [update(f"sgd{suffix}", Sgd(**decay)) for suffix, decay in _DECAYS[1:]]
    for suffix, decay in _DECAYS:
        for nesterov in (False, True):
            for inside in (False, True):
                name = f"sgd-{'nesterov' if nesterov else 'momentum'}{'-lr-inside' if inside else ''}{suffix}"
                rows.append(update(name, Sgd(momentum=0.9, nesterov=nesterov, lr_in_momentum=inside, **decay)))
    return rows


def _adam() -> list[Update]:
    rows = [update("adam-no-memory", Adam(beta1=0.0, beta2=0.0, epsilon=1e-3))]
    for placement in ("corrected", "uncorrected"):
        settings = {**_FAST, "epsilon_placement": placement}
        for suffix, decay in _DECAYS:
            rows.append(update(f"adam-{placement}{suffix}", Adam(**settings, **decay)))
            rows.append(update(f"adam-amsgrad-{placement}{suffix}", Adam(amsgrad=True, **settings, **decay)))
        rows.append(update(f"adamw-{placement}", AdamW(**settings, weight_decay=0.03)))
    for suffix, decay in _DECAYS:
        rows.append(update(f"nadam-fast{suffix}", NAdam(momentum_decay=0.3, **_FAST, **decay)))
        adamaxes = (Adamax(epsilon_placement=placement, **_FAST, **decay) for placement in ("gradient", "norm"))
        rows += [update(f"adamax-{item.epsilon_placement}{suffix}", item) for item in adamaxes]
    return rows


def _adaptive() -> list[Update]:
    rows = []
    for suffix, decay in _DECAYS:
        for placement in ("outside", "inside"):
            under: _Settings = {"epsilon": 1e-3, "epsilon_placement": placement, **decay}
            rows.append(update(f"adagrad-{placement}{suffix}", Adagrad(initial_accumulator=0.3, lr_decay=0.2, **under)))
            for centered in (False, True):
                for memory, momentum in _MEMORIES:
                    name = f"rmsprop-{placement}{'-centered' if centered else ''}{memory}{suffix}"
                    if not decay or (centered and memory):
                        rows.append(update(name, RMSprop(rho=0.7, centered=centered, **momentum, **under)))
        rows.append(update(f"adadelta-fast{suffix}", Adadelta(rho=0.7, epsilon=1e-3, **decay)))
        rows.append(update(f"lion-fast{suffix}", Lion(beta1=0.7, beta2=0.9, **decay)))
    return rows


def _adafactor() -> list[Update]:
    settings: _Settings = {"beta2_decay": -0.6, "epsilon1": 1e-3, "epsilon2": 0.3, "clip_threshold": 1.01}
    rows = []
    for placement in ("added", "floor"):
        settings["epsilon1_placement"] = placement
        rows.append(update(f"adafactor-{placement}", Adafactor(**settings)))
        rows.append(update(f"adafactor-{placement}-coupled", Adafactor(**settings, **_COUPLED)))
        for rms_of in ("before_decay", "after_decay"):
            name = f"adafactor-{placement}-{rms_of.replace('_', '-')}"
            rows.append(update(name, Adafactor(**settings, **_DECOUPLED, rms_of=rms_of)))
    return rows


def _muon() -> list[Update]:
    settings: _Settings = {"momentum": 0.7, "epsilon": 0.1, "weight_decay": 0.03, "adam_weight_decay": 0.07}
    settings |= {"adam_lr_factor": 0.3, "adam_epsilon": 1e-3, "adam_beta1": 0.7, "adam_beta2": 0.9, "rms_rate": 0.3}
    rows = []
    for average in (False, True):
        for nesterov in (False, True):
            for norm, scale, placement in (("floor", "spectral", "corrected"), ("added", "rms", "uncorrected")):
                own: _Settings = {"norm_epsilon": norm, "scale": scale, "adam_epsilon_placement": placement}
                name = f"muon-{'average' if average else 'sum'}{'-nesterov' if nesterov else ''}-{norm}-{scale}"
                rows.append(
                    update(name, Muon(momentum_average=average, nesterov=nesterov, ns_steps=3, **own, **settings))
                )
    return rows


_GROUPS = (
    ParameterGroup(match="dense_1.*", lr_factor=0.1, weight_decay=0.3),
    ParameterGroup(match="*.bias", lr_factor=0.7),
)


def _parameters() -> list[Update]:
    """What some parameters have of their own, and the average of all: every optimizer must obey."""

    def memory(kind: type[Optimizer]) -> _Settings:
        return {"momentum": 0.9} if kind is Sgd else {}

    rows = []
    for kind in OPTIMIZERS:
        for preset in _PRESETS:
            scope = kind(weight_decay=0.03, decay_scope="kernels", ema=Ema(decay=0.7), **memory(kind))
            rows.append(update(f"{kind.kind}-scope-ema-as-{preset}", scope, preset))
        groups = kind(weight_decay=0.03, groups=_GROUPS, ema=Ema(decay=0.7, every=2), **memory(kind))
        rows.append(update(f"{kind.kind}-groups-ema-every", groups))
    return rows


OPTIMIZER_CASES: tuple[Update, ...] = (
    *_presets(),
    *_sgd(),
    *_adam(),
    *_adaptive(),
    *_adafactor(),
    *_muon(),
    *_parameters(),
)
"""Each optimizer: what each convention fills in, and every combination of settings that changes the formula."""


CLIPPING_CASES: tuple[Update, ...] = (
    update("clip-active", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.0)),
    update("clip-active-epsilon", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.1)),
    update("clip-torch", Sgd(), "torch", clip=GlobalNorm(max_norm=0.7)),
    update("clip-keras", Sgd(), "keras", clip=GlobalNorm(max_norm=0.7)),
    update("clip-inactive", Sgd(), clip=GlobalNorm(max_norm=700.3, epsilon=0.0)),
    update("clip-adam", Adam(epsilon=0.1), clip=GlobalNorm(max_norm=0.7)),
    update("clip-decay", Sgd(weight_decay=0.3, decay="coupled"), clip=GlobalNorm(max_norm=0.7)),
    update("clip-active-norm", Sgd(), clip=ParameterNorm(max_norm=0.7, epsilon=0.0)),
    update("clip-active-norm-epsilon", Sgd(), clip=ParameterNorm(max_norm=0.7, epsilon=0.1)),
    update("clip-norm-torch", Sgd(), "torch", clip=ParameterNorm(max_norm=0.7)),
    update("clip-norm-keras", Sgd(), "keras", clip=ParameterNorm(max_norm=0.7)),
    update("clip-norm-inactive", Sgd(), clip=ParameterNorm(max_norm=700.3, epsilon=0.0)),
    update("clip-active-value", Sgd(), clip=ValueLimit(max_value=0.7)),
    update("clip-value-inactive", Sgd(), clip=ValueLimit(max_value=700.3)),
)
"""Clipping that acts and clipping that does not, under each convention."""
