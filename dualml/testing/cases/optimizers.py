"""Each optimizer and each clipping: what each convention fills in, and every combination of settings."""

from __future__ import annotations

from typing import Any, Literal

from dualml.spec.config import Conventions
from dualml.spec.optimizers import Adam, AdamW, GlobalNorm, Sgd
from dualml.testing.cases.base import Update, update


def _optimizers() -> list[Update]:
    rows = []
    presets: tuple[Conventions, ...] = ("torch", "keras")
    for conventions in presets:
        rows += [
            update(f"sgd-{conventions}", Sgd(), conventions),
            update(f"adam-{conventions}", Adam(), conventions),
            update(f"adamw-{conventions}", AdamW(), conventions),
        ]
    decays: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {}),
        ("-coupled", {"weight_decay": 0.03, "decay": "coupled"}),
        ("-decoupled", {"weight_decay": 0.03, "decay": "decoupled"}),
    )
    for suffix, decay in decays:
        if decay:
            rows.append(update(f"sgd{suffix}", Sgd(**decay)))
        for nesterov in (False, True):
            for inside in (False, True):
                kind = "nesterov" if nesterov else "momentum"
                rows.append(
                    update(
                        f"sgd-{kind}{'-lr-inside' if inside else ''}{suffix}",
                        Sgd(momentum=0.9, nesterov=nesterov, lr_in_momentum=inside, **decay),
                    )
                )
        placements: tuple[Literal["corrected", "uncorrected"], ...] = ("corrected", "uncorrected")
        for placement in placements:
            # A large epsilon and fast betas: each of them matters from the first update.
            settings: dict[str, Any] = {"beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3, "epsilon_placement": placement}
            rows.append(update(f"adam-{placement}{suffix}", Adam(**settings, **decay)))
            if suffix == "-decoupled":
                rows.append(update(f"adamw-{placement}", AdamW(**settings, weight_decay=0.03)))
    rows.append(update("adam-no-memory", Adam(beta1=0.0, beta2=0.0, epsilon=1e-3)))
    return rows


OPTIMIZER_CASES: tuple[Update, ...] = tuple(_optimizers())
"""Each optimizer: what each convention fills in, and every combination of settings."""


CLIPPING_CASES: tuple[Update, ...] = (
    update("clip-active", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.0)),
    update("clip-active-epsilon", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.1)),
    update("clip-torch", Sgd(), "torch", clip=GlobalNorm(max_norm=0.7)),
    update("clip-keras", Sgd(), "keras", clip=GlobalNorm(max_norm=0.7)),
    update("clip-inactive", Sgd(), clip=GlobalNorm(max_norm=700.3, epsilon=0.0)),
    update("clip-adam", Adam(epsilon=0.1), clip=GlobalNorm(max_norm=0.7)),
    update("clip-decay", Sgd(weight_decay=0.3, decay="coupled"), clip=GlobalNorm(max_norm=0.7)),
)
"""Clipping that acts and clipping that does not, under each convention."""
