"""Lion."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.optimizers.base import Optimizer


class Lion(Optimizer):
    """Lion (Chen et al., arXiv:2302.06675, algorithm 2).

    ``p <- p - lr sign(b1 m + (1 - b1) g)``, ``sign(0) = 0``; then ``m <- b2 m + (1 - b2) g``.

    PyTorch has no Lion, so with its conventions the settings are those of ``keras.optimizers.Lion`` too. Where
    ``b1 m + (1 - b1) g`` is lost in rounding the sign may fall either way: two correct trainings may then part by
    ``2 lr`` in that number.
    """

    kind = "lion"
    memory = ("momentum",)

    beta1: float | None = Field(default=None, gt=0, lt=1)
    """``b1``, share of the memory in the direction."""
    beta2: float | None = Field(default=None, ge=0, lt=1)
    """``b2``, decay of the memory."""
