"""Regularisers: penalties on parameters that are added to the loss.

``factor sum |w|`` or ``factor sum w^2`` over the parameters in scope, Keras' definition. Differs from the
``weight_decay`` of PyTorch's optimizers, which adds ``weight_decay w`` to the gradient: ``l2`` adds ``2 factor w``, so
``weight_decay = 2 factor``. The penalty is added once for each update, whatever the number of examples or pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from dualml.spec.base import Keyed, OneKey

NonNegativeFloat = Annotated[float, Field(ge=0)]


class Regularizer(Keyed):
    """What every regulariser has."""

    scope: str = Field(default="kernels", min_length=1)
    """Which parameters: ``kernels`` (every kernel, no bias, scale or table), ``all``, or a pattern of parameter names
    with ``*`` and ``?``: ``block_*.kernel``."""

    @property
    def factors(self) -> tuple[float, float]:
        """The factors of ``sum |w|`` and of ``sum w^2``."""
        raise NotImplementedError

    def applies(self, name: str) -> bool:
        """Whether a parameter is in scope.

        Args:
            name: Neutral name, ``<node>.<role>``.
        """
        if self.scope == "all":
            return True
        if self.scope == "kernels":
            role = name.rpartition(".")[2]
            return role == "kernel" or role.endswith("_kernel")
        return fnmatchcase(name, self.scope)

    def check(self, names: Iterable[str]) -> None:
        """Refuse a scope without parameters.

        Args:
            names: Of all parameters.

        Raises:
            ValueError: None of them is in scope.
        """
        known = list(names)
        if not any(self.applies(name) for name in known):
            raise ValueError(
                f"scope must name at least one parameter, but {self.scope!r} matches none of {', '.join(known)}; "
                "use kernels, all, or a pattern such as dense_*.kernel"
            )


class L1(Regularizer):
    """``factor sum |w|``; the derivative at 0 is 0."""

    kind = "l1"

    factor: NonNegativeFloat = Field(kw_only=False)
    """Of the sum."""

    @property
    def factors(self) -> tuple[float, float]:
        return self.factor, 0.0


class L2(Regularizer):
    """``factor sum w^2``; PyTorch's ``weight_decay`` is twice the factor."""

    kind = "l2"

    factor: NonNegativeFloat = Field(kw_only=False)
    """Of the sum."""

    @property
    def factors(self) -> tuple[float, float]:
        return 0.0, self.factor


class L1L2(Regularizer):
    """``l1 sum |w| + l2 sum w^2``."""

    kind = "l1_l2"

    l1: NonNegativeFloat = 0.0
    """Factor of the sum of sizes."""
    l2: NonNegativeFloat = 0.0
    """Factor of the sum of squares."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.l1 == self.l2 == 0:
            raise ValueError("l1_l2 needs l1 or l2 above 0, got 0 for both; give one, or leave the regulariser out")
        return self

    @property
    def factors(self) -> tuple[float, float]:
        return self.l1, self.l2


REGULARIZERS: tuple[type[Regularizer], ...] = (L1, L2, L1L2)
"""Every regulariser, in the order of the documentation."""

AnyRegularizer: TypeAlias = Annotated[Regularizer, OneKey(*REGULARIZERS)]
"""The type of an entry of the spec's ``regularizers``."""
