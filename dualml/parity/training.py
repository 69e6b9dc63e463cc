"""Whether the update that trains is the update that was judged.

The judged update applies recorded gradients. The one that trains (``Trainer.run``) computes its own, in pieces of the
batch size, compiled where the backend compiles; so the two may differ by rounding, and by nothing else.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from dualml.parity.records import Record
from dualml.protocol import Array

FLOAT32_ROUNDING = 2.0**-26
"""A quarter of float32's unit roundoff: a float64 difference of this share of the update is not float64's rounding."""

LEAST_BITS = 20.0
"""``S`` from which a difference counts as rounding, as for any other."""


@dataclass
class TrainingPath:
    """How far the update that trains is from the judged one, on each side.

    Attributes:
        first_step: First update in which a float64 difference was larger than ``FLOAT32_ROUNDING``.
    """

    first_step: int = 0
    _gaps: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    _sizes: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))

    def add(self, side: str, precision: str, record: Record) -> None:
        """Remember one update of one side."""
        before, judged, trained = (record.parameters(phase) for phase in ("before", "update", "trained"))
        judged |= record.parameters("buffers")
        gap = math.hypot(*(_distance(trained[name], judged[name]) for name in judged))
        size = math.hypot(*(_distance(judged[name], before[name]) for name in judged))
        self._gaps[side, precision] = math.hypot(self._gaps[side, precision], gap)
        self._sizes[side, precision] = math.hypot(self._sizes[side, precision], size)
        if precision == "float64" and not gap <= FLOAT32_ROUNDING * size and not self.first_step:
            self.first_step = record.step

    def scaling(self, side: str) -> dict[str, float | None]:
        """Differences in both precisions, and their ratio in bits."""
        narrow, wide = self._gaps[side, "float32"], self._gaps[side, "float64"]
        bits = math.log2(narrow / wide) if 0 < narrow < math.inf and 0 < wide < math.inf else None
        return {"float32": narrow, "float64": wide, "bits": bits}

    def differs(self, side: str) -> bool:
        """Whether the difference is more than rounding.

        It is, if in float64 it is as large as float32's rounding and does not shrink from float32 to float64.
        NaN in what trains, where the judged update is finite, is a difference as well.
        """
        gap, size = self._gaps[side, "float64"], self._sizes[side, "float64"]
        if gap <= FLOAT32_ROUNDING * size or not math.isfinite(size):
            return False  # where the judged update is not finite itself, that is said elsewhere
        bits = self.scaling(side)["bits"]
        return bits is None or bits < LEAST_BITS


def _distance(left: Array, right: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.linalg.norm((left.astype(np.float64) - right.astype(np.float64)).ravel()))
