"""What every optimizer has: a learning rate, weight decay, groups of parameters, an average of weights, slots."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from dualml.spec.base import Keyed, Settings

LARGEST = 1e10
"""Largest learning rate and weight decay: divided by Adam's bias correction they must still fit into float32."""

Shape: TypeAlias = tuple[int, ...]

DecayScope: TypeAlias = Literal["all", "no_bias_no_norm", "kernels"]

AVERAGE = "average"
"""The slot that holds the moving average of the weights."""


def role_of(name: str) -> str:
    """What a parameter is to the node that owns it: ``kernel`` of ``dense_1.kernel``."""
    return name.rpartition(".")[2]


def is_kernel(name: str) -> bool:
    """Whether a parameter multiplies values and adds them up: ``kernel``, ``recurrent_kernel``, ``query_kernel``.

    Example:
        >>> is_kernel("lstm.recurrent_kernel"), is_kernel("dense.bias"), is_kernel("norm.scale")
        (True, False, False)
    """
    return role_of(name).rpartition("_")[2] == "kernel"


_TABLES = frozenset({"embedding", "embeddings", "table", "positions"})


def in_scope(name: str, scope: DecayScope) -> bool:
    """Whether the parameter of a neutral name decays.

    Of ``no_bias_no_norm`` kernels and tables of embeddings decay and nothing else: biases, scales and offsets of
    normalisations, slopes of activations and whatever a future layer adds stay as they are.
    """
    if scope == "all" or is_kernel(name):
        return True
    return scope == "no_bias_no_norm" and role_of(name).rpartition("_")[2] in _TABLES


class Ema(Settings):
    """Exponential moving average of the weights, beside the training: ``a <- decay a + (1 - decay) p``.

    It is taken after every ``every``-th update, and the first time it is a copy of ``p``. The weights themselves go on
    untouched; the average is the slot ``average`` of the optimizer's state.

    (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992; ``torch.optim.swa_utils.AveragedModel`` with
    ``get_ema_multi_avg_fn``; ``use_ema`` of ``keras.optimizers``.) Differs from Keras in that the end of a training
    does not overwrite the weights by their average. Running statistics are no parameters and are not averaged.
    """

    decay: float | None = Field(default=None, ge=0, lt=1)
    """How much of the average stays."""
    every: int = Field(default=1, ge=1)
    """Updates from one averaging to the next."""


class ParameterGroup(Settings):
    """Parameters that are updated in their own way.

    Example:
        >>> group = ParameterGroup(match="embedding_*", lr_factor=0.1)
        >>> group.holds("embedding_1.table"), group.holds("dense_1.kernel")
        (True, False)
    """

    match: str = Field(min_length=1)
    """Pattern of their neutral names, ``*`` for anything: ``embedding_*``, ``*.bias``."""
    lr_factor: float = Field(default=1.0, ge=0, le=LARGEST)
    """What the learning rate is multiplied by, for the step and for the decay."""
    weight_decay: float | None = Field(default=None, ge=0, le=LARGEST)
    """Their weight decay, whatever ``decay_scope`` says; left out, it is the optimizer's."""

    def holds(self, name: str) -> bool:
        """Whether the parameter of a neutral name belongs to it; upper and lower case differ."""
        return fnmatch.fnmatchcase(name, self.match)


class Optimizer(Keyed):
    """What every optimizer has.

    Weight decay ``w``: ``coupled`` adds ``w p`` to the gradient ``g`` (L2 regularisation of factor ``w / 2``);
    ``decoupled`` takes ``lr w p`` off ``p`` before the step. In PyTorch the class decides which, in Keras it is always
    decoupled.
    """

    memory: ClassVar[tuple[str, ...]] = ()
    """Names of the slots that the formula may have, in order."""

    lr: float | None = Field(default=None, ge=0, le=LARGEST, kw_only=False)
    """Learning rate before the schedule."""
    weight_decay: float | None = Field(default=None, ge=0, le=LARGEST)
    """``w``."""
    decay: Literal["coupled", "decoupled"] | None = None
    """How the weight decay enters."""
    decay_scope: DecayScope = "all"
    """Which parameters decay: all; all but biases and those of normalisations and activations; kernels alone."""
    groups: tuple[ParameterGroup, ...] = Field(default=(), strict=False)
    """Parameters with a learning rate or a decay of their own; the first group that matches counts."""
    ema: Ema | None = None
    """Moving average of the weights; left out, there is none."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays that are kept; not every parameter must have each of them."""
        return (*self.formula_slots, *((AVERAGE,) if self.ema is not None else ()))

    @property
    def formula_slots(self) -> tuple[str, ...]:
        """Those of ``slots`` that the update formula itself needs."""
        return self.memory

    def formula_slot_shapes(self, name: str, shape: Shape) -> dict[str, Shape]:
        """Shape of each of ``formula_slots`` that a parameter has; as a rule the parameter's own."""
        return dict.fromkeys(self.formula_slots, shape)

    def slot_shapes(self, name: str, shape: Shape) -> dict[str, Shape]:
        """Shape of each slot that a parameter has.

        Args:
            name: Neutral name of the parameter.
            shape: Its neutral shape.
        """
        shapes = self.formula_slot_shapes(name, shape)
        return {**shapes, AVERAGE: shape} if self.ema is not None else shapes

    def slot_start(self, slot: str) -> float:
        """What every number of a slot is before the first update."""
        return 0.0

    def group(self, name: str) -> ParameterGroup | None:
        """The first group that holds a parameter."""
        return next((group for group in self.groups if group.holds(name)), None)

    def lr_factor(self, name: str) -> float:
        """What the learning rate is multiplied by for a parameter."""
        group = self.group(name)
        return 1.0 if group is None else group.lr_factor

    def decay_of(self, name: str, shape: Shape) -> float:
        """Weight decay of a parameter: its group's, else the optimizer's where the parameter is in ``decay_scope``."""
        group = self.group(name)
        if group is not None and group.weight_decay is not None:
            return group.weight_decay
        return self.usual_decay(name, shape) if in_scope(name, self.decay_scope) else 0.0

    def usual_decay(self, name: str, shape: Shape) -> float:
        """Weight decay of a parameter in scope and in no group with a decay of its own."""
        return self.weight_decay or 0.0

    def problems(self, shapes: Mapping[str, Shape]) -> list[tuple[tuple[str | int, ...], str]]:
        """What does not go together, as the location below ``optimizer.<kind>`` and a sentence.

        Args:
            shapes: Neutral shape of each parameter of the model, by neutral name.
        """
        return [
            (
                ("groups", place, "match"),
                f"must match a parameter's name, but {group.match!r} matches none of {', '.join(shapes)}",
            )
            for place, group in enumerate(self.groups)
            if not any(group.holds(name) for name in shapes)
        ]
