"""Optimizers that divide by the root of squared gradients: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualml.spec.optimizers.base import LARGEST, Optimizer


class RMSprop(Optimizer):
    """RMSprop (Hinton, Coursera lecture 6e, 2012; centred: Graves, arXiv:1308.0850, equations 38 to 45).

    ``v <- rho v + (1 - rho) g^2``; centred: ``a <- rho a + (1 - rho) g`` and ``v - a^2`` in place of ``v`` below;
    with ``epsilon_placement: outside`` (PyTorch) ``d = sqrt(v) + epsilon``, with ``inside`` (Keras)
    ``d = sqrt(v + epsilon)``. Without momentum ``p <- p - lr g / d``. With momentum ``m`` and
    ``lr_in_momentum: false`` (PyTorch) ``b <- m b + g / d``, ``p <- p - lr b``; with ``true`` (Keras)
    ``b <- m b + lr g / d``, ``p <- p - b``.

    Differs between the frameworks in ``rho`` (0.99 and 0.9), epsilon, its placement, ``lr`` and the place of ``lr``.
    Without epsilon the centred divisor may be 0, or the root of a rounding error below 0.
    """

    kind = "rmsprop"
    memory = ("mean_square", "mean_gradient", "momentum")

    rho: float | None = Field(default=None, ge=0, lt=1)
    """Decay of the mean square; ``alpha`` in PyTorch."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """``m``."""
    centered: bool | None = None
    """Divide by an estimate of the standard deviation in place of the root mean square."""
    epsilon: float | None = Field(default=None, ge=0)
    """What keeps the divisor from 0."""
    epsilon_placement: Literal["outside", "inside"] | None = None
    """Whether epsilon is added to the root or under it."""
    lr_in_momentum: bool | None = None
    """Whether the buffer holds steps (Keras) or scaled gradients (PyTorch)."""

    @property
    def formula_slots(self) -> tuple[str, ...]:
        used = {"mean_square": True, "mean_gradient": self.centered, "momentum": self.momentum}
        return tuple(slot for slot in self.memory if used[slot])


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011, figure 1 with diagonal matrices).

    ``s <- s + g^2``, from ``initial_accumulator``; ``r = lr / (1 + (t - 1) lr_decay)``;
    with ``epsilon_placement: outside`` (PyTorch) ``p <- p - r g / (sqrt(s) + epsilon)``,
    with ``inside`` (Keras) ``p <- p - r g / sqrt(s + epsilon)``.

    Differs between the frameworks in where ``s`` starts (0 and 0.1), epsilon, its placement, and ``lr``; Keras has no
    ``lr_decay``. Decoupled weight decay takes ``lr w p``, not ``r w p``.
    """

    kind = "adagrad"
    memory = ("sum_of_squares",)

    initial_accumulator: float | None = Field(default=None, ge=0, le=LARGEST)
    """What the sum of squares starts from."""
    lr_decay: float | None = Field(default=None, ge=0)
    """How the learning rate falls with the number of updates."""
    epsilon: float | None = Field(default=None, ge=0)
    """What keeps the divisor from 0."""
    epsilon_placement: Literal["outside", "inside"] | None = None
    """Whether epsilon is added to the root or under it."""

    def slot_start(self, slot: str) -> float:
        return float(self.initial_accumulator or 0.0) if slot == "sum_of_squares" else 0.0


class Adadelta(Optimizer):
    """Adadelta (Zeiler, arXiv:1212.5701, algorithm 1).

    ``v <- rho v + (1 - rho) g^2``; ``x = sqrt(y + epsilon) / sqrt(v + epsilon) g``; ``p <- p - lr x``;
    ``y <- rho y + (1 - rho) x^2``.

    Differs between the frameworks in ``lr`` (1 and 0.001), ``rho`` (0.9 and 0.95) and epsilon; the formula is the same.
    """

    kind = "adadelta"
    memory = ("mean_square", "mean_square_step")

    rho: float | None = Field(default=None, ge=0, lt=1)
    """Decay of both means."""
    epsilon: float | None = Field(default=None, ge=0)
    """Added under both roots."""
