"""What every initializer has."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dualml import randomness
from dualml.spec.base import Keyed

Float: TypeAlias = NDArray[np.float64]

_Value = TypeVar("_Value")


class InitializerBase(Keyed):
    """What an initializer must do."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        """Draw one parameter.

        Args:
            seed: The spec's seed.
            path: The parameter's neutral name; two parameters never share numbers.
            shape: The parameter's neutral shape: kernels are ``(spatial..., inputs, outputs)``.
            fan_in: Number of inputs that feed one output.
            fan_out: Number of outputs that one input feeds.

        Returns:
            The values, dtype float64, a pure function of the arguments, bit for bit the same on every machine.
        """
        raise NotImplementedError

    def problem(self, shape: tuple[int, ...]) -> str | None:
        """Why a parameter of this neutral shape cannot be drawn; ``None`` if it can."""
        return None


def said(value: _Value | None, name: str) -> _Value:
    """A setting that the conventions fill when a spec is resolved."""
    assert value is not None, f"{name} is filled by the conventions: draw from a resolved spec"
    return value


def uniform(seed: int, path: str, shape: tuple[int, ...]) -> Float:
    """Numbers in [0, 1) for one parameter."""
    return randomness.uniform(seed, f"weights/{path}", shape)


def normal(seed: int, path: str, shape: tuple[int, ...]) -> Float:
    """Standard normal numbers for one parameter."""
    return randomness.normal(seed, f"weights/{path}", shape)
