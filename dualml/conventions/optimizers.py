"""Optimizers and clipping."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.optimizers import Adam, AdamW, GlobalNorm, Sgd

TORCH: Preset = {
    Sgd: {
        "lr": 1e-3,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay": "coupled",
        "lr_in_momentum": False,
    },
    Adam: {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_placement": "corrected",
        "weight_decay": 0.0,
        "decay": "coupled",
    },
    AdamW: {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "epsilon_placement": "corrected",
        "weight_decay": 1e-2,
        "decay": "decoupled",
    },
    GlobalNorm: {"epsilon": 1e-6},
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
    Adam: {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-7,
        "epsilon_placement": "uncorrected",
        "weight_decay": 0.0,
        "decay": "decoupled",
    },
    AdamW: {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-7,
        "epsilon_placement": "uncorrected",
        "weight_decay": 4e-3,
        "decay": "decoupled",
    },
    GlobalNorm: {"epsilon": 0.0},
}
