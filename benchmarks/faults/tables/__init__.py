"""The faults, by what they are in: weights, layers, loss, optimizer, loop, and what no catalogue holds."""

from __future__ import annotations

from benchmarks.faults.fault import Fault
from benchmarks.faults.tables import layers, loop, losses, norms, optimizers, structure, uncatalogued, weights


def all_faults() -> list[Fault]:
    """Every fault, in a fixed order."""
    return [
        *weights.faults(),
        *norms.faults(),
        *layers.faults(),
        *structure.faults(),
        *losses.faults(),
        *optimizers.faults(),
        *loop.faults(),
        *uncatalogued.faults(),
    ]
