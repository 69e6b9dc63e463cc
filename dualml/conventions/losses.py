"""Losses."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.losses import CosineDistance, CrossEntropy, Poisson

TORCH: Preset = {
    CrossEntropy: {"normalization": "weights", "weighted_smoothing": "per_class"},
    CosineDistance: {"offset": 1.0, "epsilon": 1e-12, "guard": "add"},
    Poisson: {"log_input": True, "epsilon": 1e-8},
}


KERAS: Preset = {
    CrossEntropy: {"normalization": "positions", "weighted_smoothing": "per_target"},
    CosineDistance: {"offset": 0.0, "epsilon": 1e-7, "guard": "maximum"},
    Poisson: {"log_input": False, "epsilon": 1e-7},
}
