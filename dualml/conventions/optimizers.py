"""Optimizers and clipping."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.optimizers import (
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
    ParameterNorm,
    RMSprop,
    Sgd,
)

_TORCH_MOMENTS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "decay": "coupled"}
_KERAS_MOMENTS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7, "weight_decay": 0.0, "decay": "decoupled"}
_LION = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "decay": "decoupled"}
_MUON = {
    "lr": 1e-3,
    "decay": "decoupled",
    "momentum": 0.95,
    "nesterov": True,
    "ns_steps": 5,
    "ns_coefficients": (3.4445, -4.7750, 2.0315),
    "epsilon": 1e-7,
    "rms_rate": 0.2,
    "adam_lr_factor": 1.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
}

FLOAT32_EPSILON = 2.0**-23
"""``torch.finfo(torch.float32).eps``."""

TORCH: Preset = {
    Sgd: {
        "lr": 1e-3,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay": "coupled",
        "lr_in_momentum": False,
    },
    Adam: {**_TORCH_MOMENTS, "lr": 1e-3, "epsilon_placement": "corrected", "amsgrad": False},
    AdamW: {
        **_TORCH_MOMENTS,
        "lr": 1e-3,
        "epsilon_placement": "corrected",
        "amsgrad": False,
        "weight_decay": 1e-2,
        "decay": "decoupled",
    },
    NAdam: {**_TORCH_MOMENTS, "lr": 2e-3, "momentum_decay": 4e-3},
    Adamax: {**_TORCH_MOMENTS, "lr": 2e-3, "epsilon_placement": "gradient"},
    RMSprop: {
        "lr": 1e-2,
        "rho": 0.99,
        "momentum": 0.0,
        "centered": False,
        "epsilon": 1e-8,
        "epsilon_placement": "outside",
        "lr_in_momentum": False,
        "weight_decay": 0.0,
        "decay": "coupled",
    },
    Adagrad: {
        "lr": 1e-2,
        "initial_accumulator": 0.0,
        "lr_decay": 0.0,
        "epsilon": 1e-10,
        "epsilon_placement": "outside",
        "weight_decay": 0.0,
        "decay": "coupled",
    },
    Adadelta: {"lr": 1.0, "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.0, "decay": "coupled"},
    Lion: _LION,
    Adafactor: {
        "lr": 1e-2,
        "beta2_decay": -0.8,
        "epsilon1": FLOAT32_EPSILON,
        "epsilon1_placement": "floor",
        "epsilon2": 1e-3,
        "clip_threshold": 1.0,
        "rms_of": "before_decay",
        "weight_decay": 0.0,
        "decay": "decoupled",
    },
    Muon: {
        **_MUON,
        "weight_decay": 0.1,
        "momentum_average": True,
        "norm_epsilon": "floor",
        "scale": "spectral",
        "adam_epsilon": 1e-8,
        "adam_epsilon_placement": "corrected",
        "adam_weight_decay": 1e-2,
    },
    Ema: {"decay": 0.999},
    GlobalNorm: {"epsilon": 1e-6},
    ParameterNorm: {"epsilon": 1e-6},
}


KERAS: Preset = {
    Sgd: {
        "lr": 1e-2,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay": "decoupled",
        "lr_in_momentum": True,
    },
    Adam: {**_KERAS_MOMENTS, "lr": 1e-3, "epsilon_placement": "uncorrected", "amsgrad": False},
    AdamW: {
        **_KERAS_MOMENTS,
        "lr": 1e-3,
        "epsilon_placement": "uncorrected",
        "amsgrad": False,
        "weight_decay": 4e-3,
    },
    NAdam: {**_KERAS_MOMENTS, "lr": 1e-3, "momentum_decay": 1.0},
    Adamax: {**_KERAS_MOMENTS, "lr": 1e-3, "epsilon_placement": "norm"},
    RMSprop: {
        "lr": 1e-3,
        "rho": 0.9,
        "momentum": 0.0,
        "centered": False,
        "epsilon": 1e-7,
        "epsilon_placement": "inside",
        "lr_in_momentum": True,
        "weight_decay": 0.0,
        "decay": "decoupled",
    },
    Adagrad: {
        "lr": 1e-3,
        "initial_accumulator": 0.1,
        "lr_decay": 0.0,
        "epsilon": 1e-7,
        "epsilon_placement": "inside",
        "weight_decay": 0.0,
        "decay": "decoupled",
    },
    Adadelta: {"lr": 1e-3, "rho": 0.95, "epsilon": 1e-7, "weight_decay": 0.0, "decay": "decoupled"},
    Lion: _LION,
    Adafactor: {
        "lr": 1e-3,
        "beta2_decay": -0.8,
        "epsilon1": 1e-30,
        "epsilon1_placement": "added",
        "epsilon2": 1e-3,
        "clip_threshold": 1.0,
        "rms_of": "after_decay",
        "weight_decay": 0.0,
        "decay": "decoupled",
    },
    Muon: {
        **_MUON,
        "weight_decay": 4e-3,
        "momentum_average": False,
        "norm_epsilon": "added",
        "scale": "rms",
        "adam_epsilon": 1e-7,
        "adam_epsilon_placement": "uncorrected",
        "adam_weight_decay": 4e-3,
    },
    Ema: {"decay": 0.99},
    GlobalNorm: {"epsilon": 0.0},
    ParameterNorm: {"epsilon": 0.0},
}
