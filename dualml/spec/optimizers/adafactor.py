"""Adafactor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualml.spec.optimizers.base import Optimizer, Shape


class Adafactor(Optimizer):
    """Adafactor without momentum (Shazeer and Stern, arXiv:1804.04235, algorithms 4 and 5).

    ``k = t^beta2_decay``; ``rate = max(epsilon2, rms(p)) min(lr, 1 / sqrt(t))``. Arrays of two and more axes keep
    ``r <- (1 - k) r + k mean(q, last axis)`` and ``c <- (1 - k) c + k mean(q, last axis but one)``, and
    ``v = r c / mean(r, last axis)``; others keep ``v <- (1 - k) v + k q``. Then ``u = g / sqrt(v)`` and
    ``p <- p - rate u / max(1, rms(u) / clip_threshold)``.
    With ``epsilon1_placement: added`` (Keras, the paper) ``q = g^2 + epsilon1``. With ``floor`` (PyTorch) ``q = g^2``,
    ``mean(r)`` is at least ``epsilon1`` and ``v`` at least ``epsilon1^2``.
    Decoupled weight decay comes first; ``rms(p)`` is taken before it (PyTorch) or after it (Keras).

    The axes are those of the neutral layout, channels last: of a convolution's kernel the channels are factored, as in
    Keras. Differs from ``torch.optim.Adafactor``, which factors the window of a convolution (its last two axes),
    and whose default ``epsilon1`` is the machine epsilon of each parameter's dtype; here it is that of float32
    whatever the precision, so that a float64 run judges the formula that a float32 run trains with.
    """

    kind = "adafactor"
    memory = ("row_variance", "column_variance", "variance")

    beta2_decay: float | None = Field(default=None, le=0)
    """Exponent of ``k``; the nearer to 0, the shorter the memory."""
    epsilon1: float | None = Field(default=None, ge=0)
    """What keeps the divisor from 0."""
    epsilon1_placement: Literal["added", "floor"] | None = None
    """Whether it is added to the squared gradient or a lower limit of means."""
    epsilon2: float | None = Field(default=None, ge=0)
    """Least size of a parameter that its step is relative to."""
    clip_threshold: float | None = Field(default=None, ge=1)
    """Largest root mean square of ``u`` that is left as it is; below 1 it would act on every step."""
    rms_of: Literal["before_decay", "after_decay"] | None = None
    """Of which ``p`` the root mean square is taken, where weight decay is decoupled."""

    def formula_slot_shapes(self, name: str, shape: Shape) -> dict[str, Shape]:
        if len(shape) < 2:
            return {"variance": shape}
        return {"row_variance": shape[:-1], "column_variance": (*shape[:-2], shape[-1])}
