"""The model as the user wrote it: an input shape and a list of layers."""

from __future__ import annotations

from pydantic import Field, field_validator

from dualml.spec.base import Settings
from dualml.spec.layers import AnyLayer, PositiveInt


class Model(Settings):
    """A graph of layers; without names and inputs, a chain. The last layer is the output.

    Example:
        >>> from dualml import Dense
        >>> Model(input=(4,), layers=[Dense(3, activation="relu"), Dense(2)]).input
        (4,)
    """

    input: tuple[PositiveInt, ...] = Field(strict=False, min_length=1)
    """Shape of one example, channels last."""
    layers: tuple[AnyLayer, ...] = Field(strict=False, min_length=1)
    """The layers, each fed by the one before it unless it names its ``inputs``."""

    @field_validator("input", mode="before")
    @classmethod
    def _single_size(cls, value: object) -> object:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value
