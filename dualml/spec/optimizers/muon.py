"""Muon."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from dualml.spec.optimizers.base import LARGEST, Optimizer, Shape, is_kernel

_Number: TypeAlias = Annotated[float, Field(strict=True)]


class Muon(Optimizer):
    """Muon for matrices, AdamW for everything else (Jordan et al., "Muon", 2024; Liu et al., arXiv:2502.16982).

    A kernel of two axes: with ``momentum_average: false`` (Keras) ``b <- m b + g``, step ``x = b``, or ``g + m b`` if
    nesterov; with ``true`` (PyTorch) ``b <- m b + (1 - m) g``, ``x = b``, or ``m b + (1 - m) g`` if nesterov.
    ``X_0 = x / max(norm(x), epsilon)`` with ``norm_epsilon: floor`` (PyTorch), ``x / (norm(x) + epsilon)`` with
    ``added`` (Keras); ``ns_steps`` times ``A = X X^T``, ``X <- a X + (b A + c A A) X`` with ``ns_coefficients``
    ``(a, b, c)``; ``p <- p - lr f X``, where for a kernel of shape (inputs, units) ``f = sqrt(max(1, units / inputs))``
    with ``scale: spectral`` (PyTorch's ``original``), ``f = rms_rate sqrt(max(inputs, units))`` with ``rms`` (Keras,
    PyTorch's ``match_rms_adamw``).
    All other parameters are updated as ``AdamW`` with ``lr adam_lr_factor``, ``adam_beta1``, ``adam_beta2``,
    ``adam_epsilon``, ``adam_epsilon_placement`` and ``adam_weight_decay``; their decay takes ``lr w p``, without the
    factor.

    Differs from ``torch.optim.Muon``, which iterates in bfloat16 whatever the parameters' dtype: no other framework
    can repeat those roundings, so both iterate in the working precision here; and which refuses all but matrices.
    Differs from ``keras.optimizers.Muon`` in what is a matrix: Keras goes by the word "embedding" in a variable's
    path, the name of the layer included; here the parameter's role decides.
    """

    kind = "muon"
    memory = ("momentum", "first_moment", "second_moment")

    decay: Literal["decoupled"] | None = None
    """Always decoupled: a part of the gradient would be lost in the orthogonalisation."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """``m``."""
    momentum_average: bool | None = None
    """Whether the buffer is an average of gradients (PyTorch) or a sum (Keras); the two differ by epsilon alone."""
    nesterov: bool | None = None
    """Look ahead by one momentum step."""
    ns_steps: int | None = Field(default=None, ge=1, le=20)
    """Newton-Schulz iterations."""
    ns_coefficients: tuple[_Number, _Number, _Number] | None = Field(default=None, strict=False)
    """``(a, b, c)``."""
    epsilon: float | None = Field(default=None, gt=0)
    """What keeps the norm from 0."""
    norm_epsilon: Literal["floor", "added"] | None = None
    """Whether epsilon is a lower limit of the norm or added to it."""
    scale: Literal["spectral", "rms"] | None = None
    """How the step depends on the kernel's shape."""
    rms_rate: float | None = Field(default=None, gt=0, le=LARGEST)
    """Root mean square that ``scale: rms`` aims at."""
    adam_lr_factor: float | None = Field(default=None, ge=0, le=LARGEST)
    """What the learning rate is multiplied by in AdamW."""
    adam_beta1: float | None = Field(default=None, ge=0, lt=1)
    """AdamW's decay of the first moment."""
    adam_beta2: float | None = Field(default=None, ge=0, lt=1)
    """AdamW's decay of the second moment."""
    adam_epsilon: float | None = Field(default=None, ge=0)
    """AdamW's epsilon."""
    adam_epsilon_placement: Literal["corrected", "uncorrected"] | None = None
    """Where it stands; see ``Adam``."""
    adam_weight_decay: float | None = Field(default=None, ge=0, le=LARGEST)
    """AdamW's weight decay."""

    def orthogonalises(self, name: str, shape: Shape) -> bool:
        """Whether a parameter is a matrix to be updated by Muon."""
        return len(shape) == 2 and is_kernel(name)

    def formula_slot_shapes(self, name: str, shape: Shape) -> dict[str, Shape]:
        slots = ("momentum",) if self.orthogonalises(name, shape) else ("first_moment", "second_moment")
        return dict.fromkeys(slots, shape)

    def usual_decay(self, name: str, shape: Shape) -> float:
        return (self.weight_decay if self.orthogonalises(name, shape) else self.adam_weight_decay) or 0.0
