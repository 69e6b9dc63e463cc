"""How initial weights are drawn. Every family is a formula on numbers from ``dualml.randomness``."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dualml import randomness
from dualml.spec.base import Keyed, OneKey


class InitializerBase(Keyed):
    """What an initializer must do."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        """Draw one parameter.

        Args:
            seed: The spec's seed.
            path: The parameter's neutral name; two parameters never share numbers.
            shape: The parameter's neutral shape.
            fan_in: Number of inputs that feed one output.
            fan_out: Number of outputs that one input feeds.

        Returns:
            The values, dtype float64, a pure function of the arguments.
        """
        raise NotImplementedError


class Zeros(InitializerBase):
    """All 0."""

    kind = "zeros"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        return np.zeros(shape)


class Ones(InitializerBase):
    """All 1."""

    kind = "ones"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        return np.ones(shape)


class Constant(InitializerBase):
    """All ``value``."""

    kind = "constant"

    value: float = Field(kw_only=False)
    """The value."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        return np.full(shape, self.value)


class Uniform(InitializerBase):
    """``U(low, high)``."""

    kind = "uniform"

    low: float
    """Lower bound, included."""
    high: float
    """Upper bound, excluded."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        return self.low + (self.high - self.low) * randomness.uniform(seed, f"weights/{path}", shape)


class Normal(InitializerBase):
    """``N(mean, std^2)``, not truncated."""

    kind = "normal"

    mean: float = 0.0
    """Mean."""
    std: float = Field(default=1.0, ge=0)
    """Standard deviation."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        return self.mean + self.std * randomness.normal(seed, f"weights/{path}", shape)


class _SymmetricUniform(InitializerBase):
    """``U(-b, b)`` with a bound that depends on the fans."""

    gain: float = Field(default=1.0, gt=0)
    """Factor on the bound."""

    def bound(self, fan_in: int, fan_out: int) -> float:
        """The bound ``b`` before the gain."""
        raise NotImplementedError

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> NDArray[np.float64]:
        bound = self.gain * self.bound(fan_in, fan_out)
        return bound * (2.0 * randomness.uniform(seed, f"weights/{path}", shape) - 1.0)


class FanInUniform(_SymmetricUniform):
    """``U(-b, b)``, ``b = gain / sqrt(fan_in)``: what ``torch.nn.Linear`` draws weights and biases from.

    PyTorch writes it as ``kaiming_uniform_(a=sqrt 5)``: bound ``sqrt(3) sqrt(2 / (1 + 5)) / sqrt(fan_in)``.
    """

    kind = "fan_in_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return 1.0 / math.sqrt(fan_in)


class GlorotUniform(_SymmetricUniform):
    """``U(-b, b)``, ``b = gain sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, AISTATS 2010, eq. 16)."""

    kind = "glorot_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(6.0 / (fan_in + fan_out))


class HeUniform(_SymmetricUniform):
    """``U(-b, b)``, ``b = gain sqrt(6 / fan_in)`` (He et al., arXiv:1502.01852, eq. 10)."""

    kind = "he_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(6.0 / fan_in)


INITIALIZERS: tuple[type[InitializerBase], ...] = (
    Zeros,
    Ones,
    Constant,
    Uniform,
    Normal,
    FanInUniform,
    GlorotUniform,
    HeUniform,
)
"""Every initializer, in the order of the documentation."""

Initializer: TypeAlias = Annotated[InitializerBase | str, OneKey(*INITIALIZERS)]
"""The type of a setting that names an initializer."""
