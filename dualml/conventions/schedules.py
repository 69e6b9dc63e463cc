"""Schedules."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.schedules import Cosine, CosineRestarts, MultiStep, Piecewise, Polynomial, ReduceOnPlateau

TORCH: Preset = {
    MultiStep: {"at_boundary": "new"},
    Piecewise: {"at_boundary": "new"},
    Polynomial: {"final_lr": 0.0},
    Cosine: {"afterwards": "rise"},
    CosineRestarts: {"multiplier": 1.0},
    ReduceOnPlateau: {
        "reduces": "after_patience",
        "threshold_mode": "relative",
        "cooldown_end": "ignored",
        "smallest_change": 1e-8,
    },
}


KERAS: Preset = {
    MultiStep: {"at_boundary": "old"},
    Piecewise: {"at_boundary": "old"},
    Polynomial: {"final_lr": 1e-4},
    Cosine: {"afterwards": "stay"},
    CosineRestarts: {"multiplier": 2.0},
    ReduceOnPlateau: {
        "reduces": "at_patience",
        "threshold_mode": "absolute",
        "cooldown_end": "counted",
        "smallest_change": 0.0,
    },
}
