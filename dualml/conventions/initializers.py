"""Initializers."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import GlorotNormal, HeNormal, LecunNormal, Normal, TruncatedNormal, Uniform

TORCH: Preset = {
    Uniform: {"low": 0.0, "high": 1.0},
    Normal: {"std": 1.0},
    TruncatedNormal: {"std": 1.0, "bounds": "absolute"},
    GlorotNormal: {"truncated": False},
    HeNormal: {"truncated": False},
    LecunNormal: {"truncated": False},
}


KERAS: Preset = {
    Uniform: {"low": -0.05, "high": 0.05},
    Normal: {"std": 0.05},
    TruncatedNormal: {"std": 0.05, "bounds": "deviations"},
    GlorotNormal: {"truncated": True},
    HeNormal: {"truncated": True},
    LecunNormal: {"truncated": True},
}
