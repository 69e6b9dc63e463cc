"""Adam and its variants."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dualml.spec.optimizers.base import Optimizer


class Moments(Optimizer):
    """What the family has: an average of the gradients and a measure of their size.

    ``m <- b1 m + (1 - b1) g``; ``c1 = 1 - b1^t``, ``c2 = 1 - b2^t``.
    """

    memory: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")

    beta1: float | None = Field(default=None, ge=0, lt=1)
    """``b1``, decay of the first moment."""
    beta2: float | None = Field(default=None, ge=0, lt=1)
    """``b2``, decay of the second moment, or of the largest gradient."""
    epsilon: float | None = Field(default=None, ge=0)
    """What keeps the divisor from 0."""


class Adam(Moments):
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1).

    ``m <- b1 m + (1 - b1) g``; ``v <- b2 v + (1 - b2) g^2``; ``c1 = 1 - b1^t``, ``c2 = 1 - b2^t``;
    with ``epsilon_placement: corrected`` (PyTorch) ``p <- p - lr (m / c1) / (sqrt(v / c2) + epsilon)``,
    with ``uncorrected`` (Keras; section 2 of the paper, "epsilon hat")
    ``p <- p - lr (sqrt(c2) / c1) m / (sqrt(v) + epsilon)``.
    ``amsgrad`` (Reddi, Kale and Kumar, ICLR 2018) divides by the largest ``v`` so far in place of ``v``; both
    frameworks take it of the raw ``v``, the paper's appendix of the corrected one.

    Differs between the frameworks in epsilon, its placement, and in what ``weight_decay`` means.
    """

    kind = "adam"
    memory = ("first_moment", "second_moment", "largest_second_moment")

    epsilon_placement: Literal["corrected", "uncorrected"] | None = None
    """Whether epsilon joins the root of the bias-corrected or of the raw second moment."""
    amsgrad: bool | None = None
    """Divide by the largest second moment so far."""

    @property
    def formula_slots(self) -> tuple[str, ...]:
        return self.memory if self.amsgrad else self.memory[:2]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2)."""

    kind = "adamw"

    decay: Literal["decoupled"] | None = None
    """Always decoupled."""


class NAdam(Moments):
    """Adam with Nesterov momentum (Dozat, ICLR workshop 2016; the schedule of Sutskever et al., 2013).

    ``mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)``; ``P <- P mu_t``, from 1, is the ``momentum_product``;
    ``m`` and ``v`` as in Adam; then ``d = sqrt(v / c2) + epsilon`` and
    ``p <- p - lr ((1 - mu_t) g / (1 - P) + mu_{t+1} m / (1 - P mu_{t+1})) / d``.

    Differs between the frameworks in ``momentum_decay`` (0.004 in ``torch.optim.NAdam``, 1 in
    ``keras.optimizers.Nadam``), ``epsilon`` and ``lr``. Keras keeps one product, PyTorch one for each parameter, in its
    default dtype; here it is a slot of shape ``()`` for each, in the working precision.
    """

    kind = "nadam"
    memory = ("first_moment", "second_moment", "momentum_product")

    momentum_decay: float | None = Field(default=None, ge=0)
    """How fast the momentum grows to ``b1``."""

    def formula_slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"first_moment": shape, "second_moment": shape, "momentum_product": ()}

    def slot_start(self, slot: str) -> float:
        return 1.0 if slot == "momentum_product" else 0.0


class Adamax(Moments):
    """Adam with the largest gradient in place of the second moment (Kingma and Ba, algorithm 2).

    With ``epsilon_placement: gradient`` (PyTorch) ``u <- max(b2 u, |g| + epsilon)``; ``p <- p - lr (m / c1) / u``,
    with ``norm`` (Keras) ``u <- max(b2 u, |g|)``; ``p <- p - lr (m / c1) / (u + epsilon)``.

    Differs between the frameworks in epsilon, its placement, and ``lr``.
    """

    kind = "adamax"
    memory = ("first_moment", "largest_gradient")

    epsilon_placement: Literal["gradient", "norm"] | None = None
    """Whether epsilon is added to each gradient's size or to the largest of them."""
