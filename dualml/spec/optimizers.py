"""Optimizers and gradient clipping. ``g`` is the gradient, ``p`` a parameter, ``t`` counts updates from 1.

A setting left at ``None`` is filled by the conventions; each difference between the frameworks' formulas
is a setting of its own, so a resolved spec says which formula it means.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from dualml.spec.base import Keyed, OneKey

LARGEST = 1e10
"""Largest learning rate and weight decay: divided by Adam's bias correction they must still fit into float32."""


class Optimizer(Keyed):
    """What every optimizer has."""

    lr: float | None = Field(default=None, ge=0, le=LARGEST, kw_only=False)
    """Learning rate before the schedule."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter; all are zeros before the first update."""
        raise NotImplementedError


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum ``m``.

    With ``lr_in_momentum: false`` (PyTorch): ``b <- m b + g``; step ``b``, or ``g + m b`` if nesterov;
    ``p <- p - lr step``.
    With ``lr_in_momentum: true`` (Keras): ``v <- m v - lr g``; ``p <- p + v``, or ``p + m v - lr g`` if
    nesterov. The two agree as long as the learning rate stays the same.
    Weight decay ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.

    (Sutskever et al., ICML 2013; ``torch.optim.SGD``; ``keras.optimizers.SGD``.)
    """

    kind = "sgd"

    momentum: float | None = Field(default=None, ge=0, lt=1)
    """``m``."""
    nesterov: bool | None = None
    """Look ahead by one momentum step."""
    weight_decay: float | None = Field(default=None, ge=0, le=LARGEST)
    """``w``."""
    decay: Literal["coupled", "decoupled"] | None = None
    """How the weight decay enters."""
    lr_in_momentum: bool | None = None
    """Whether the buffer holds steps (Keras) or gradients (PyTorch)."""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()


class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1).

    ``m <- b1 m + (1 - b1) g``; ``v <- b2 v + (1 - b2) g^2``; ``c1 = 1 - b1^t``, ``c2 = 1 - b2^t``;
    with ``epsilon_placement: corrected`` (PyTorch) ``p <- p - lr (m / c1) / (sqrt(v / c2) + epsilon)``,
    with ``uncorrected`` (Keras; section 2 of the paper, "epsilon hat")
    ``p <- p - lr (sqrt(c2) / c1) m / (sqrt(v) + epsilon)``.
    Weight decay ``w``: coupled adds ``w p`` to ``g``; decoupled first does ``p <- p - lr w p``.

    Differs between the frameworks in epsilon, its placement, and in what ``weight_decay`` means.
    """

    kind = "adam"

    beta1: float | None = Field(default=None, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float | None = Field(default=None, ge=0, lt=1)
    """Decay of the second moment."""
    epsilon: float | None = Field(default=None, ge=0)
    """Added to the root of the second moment."""
    epsilon_placement: Literal["corrected", "uncorrected"] | None = None
    """Whether epsilon joins the root of the bias-corrected or of the raw second moment."""
    weight_decay: float | None = Field(default=None, ge=0, le=LARGEST)
    """``w``."""
    decay: Literal["coupled", "decoupled"] | None = None
    """How the weight decay enters."""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2)."""

    kind = "adamw"

    decay: Literal["decoupled"] | None = None
    """Always decoupled."""


OPTIMIZERS: tuple[type[Optimizer], ...] = (Sgd, Adam, AdamW)
"""Every optimizer, in the order of the documentation."""

AnyOptimizer: TypeAlias = Annotated[Optimizer, OneKey(*OPTIMIZERS)]
"""The type of the spec's ``optimizer``."""


class Clipping(Keyed):
    """What every way to clip gradients has."""


class GlobalNorm(Clipping):
    """Clip by global norm: ``g <- g min(1, max_norm / (norm + epsilon))``, ``norm`` over all parameters together.

    (Pascanu et al., arXiv:1211.5063, algorithm 1.) Differs between the frameworks in epsilon: 1e-6 in
    ``torch.nn.utils.clip_grad_norm_``, none in Keras' ``global_clipnorm``. What becomes of gradients whose norm is not
    finite is not defined: PyTorch makes them 0, Keras NaN.
    """

    kind = "global_norm"

    max_norm: float = Field(gt=0, kw_only=False)
    """Largest norm that is left as it is."""
    epsilon: float | None = Field(default=None, ge=0)
    """Added to the norm."""


CLIPPINGS: tuple[type[Clipping], ...] = (GlobalNorm,)
"""Every way to clip gradients, in the order of the documentation."""

AnyClipping: TypeAlias = Annotated[Clipping, OneKey(*CLIPPINGS)]
"""The type of ``train.clip``."""
