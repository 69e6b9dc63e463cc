"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from dualml.spec.optimizers.base import Optimizer, Shape


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum ``m``.

    With ``lr_in_momentum: false`` (PyTorch): ``b <- m b + g``; step ``b``, or ``g + m b`` if nesterov;
    ``p <- p - lr step``.
    With ``lr_in_momentum: true`` (Keras): ``v <- m v - lr g``; ``p <- p + v``, or ``p + m v - lr g`` if
    nesterov. The two agree as long as the learning rate stays the same.

    (Sutskever et al., ICML 2013; ``torch.optim.SGD``; ``keras.optimizers.SGD``.)
    """

    kind = "sgd"
    memory = ("momentum",)

    momentum: float | None = Field(default=None, ge=0, lt=1)
    """``m``."""
    nesterov: bool | None = None
    """Look ahead by one momentum step."""
    lr_in_momentum: bool | None = None
    """Whether the buffer holds steps (Keras) or gradients (PyTorch)."""

    @property
    def formula_slots(self) -> tuple[str, ...]:
        return self.memory if self.momentum else ()

    def problems(self, shapes: Mapping[str, Shape]) -> list[tuple[tuple[str | int, ...], str]]:
        found = super().problems(shapes)
        if self.nesterov and not self.momentum:
            found.append((("nesterov",), "nesterov needs a momentum above 0; set one"))
        return found
