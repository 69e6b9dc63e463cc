"""Initializers whose distribution does not depend on the parameter's size.

PyTorch's functions and Keras' classes of the same names differ in their defaults, so each setting left unsaid is
filled by the conventions.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from dualml import randomness
from dualml.gaussian import log, quantile
from dualml.spec.initializers.base import Float, InitializerBase, normal, said, uniform

LEAST_SHARE = 0.3
"""Share of the normal distribution from which on it is cut by drawing again; below, a uniform proposal is better."""
NEGLIGIBLE = 84.0
"""Where the density has fallen by ``exp(-NEGLIGIBLE / 2)``, far below what 53 bits of a random number resolve."""


class Uniform(InitializerBase):
    """``U(low, high)``.

    Differs between the frameworks in its defaults: 0 and 1 in ``torch.nn.init.uniform_``, -0.05 and 0.05 in
    ``keras.initializers.RandomUniform``.
    """

    kind = "uniform"

    low: float | None = None
    """Lower bound, included."""
    high: float | None = None
    """Upper bound, excluded."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high go together; set both or neither")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        low, high = said(self.low, "uniform.low"), said(self.high, "uniform.high")
        return low + (high - low) * uniform(seed, path, shape)


class Normal(InitializerBase):
    """``N(mean, std^2)``, not truncated.

    Differs between the frameworks in its default: ``std`` is 1 in ``torch.nn.init.normal_``, 0.05 in
    ``keras.initializers.RandomNormal``.
    """

    kind = "normal"

    mean: float = 0.0
    """Mean."""
    std: float | None = Field(default=None, ge=0)
    """Standard deviation."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return self.mean + said(self.std, "normal.std") * normal(seed, path, shape)


class TruncatedNormal(InitializerBase):
    """``N(mean, std^2)`` cut at ``low`` and ``high``: values outside are drawn again.

    Differs between the frameworks: ``torch.nn.init.trunc_normal_`` cuts at *absolute* values (-2 and 2 with std 1; at
    std 0.02 that cuts nothing), ``keras.initializers.TruncatedNormal`` at *deviations* from the mean (2 of them; std
    0.05). The cut shrinks the standard deviation, with 2 deviations to 0.8796 ``std``; neither corrects for that.
    """

    kind = "truncated_normal"

    mean: float = 0.0
    """Mean before the cut."""
    std: float | None = Field(default=None, gt=0)
    """Standard deviation before the cut."""
    low: float = -2.0
    """Lower bound."""
    high: float = 2.0
    """Upper bound."""
    bounds: Literal["absolute", "deviations"] | None = None
    """Whether the bounds are values, or standard deviations from the mean."""

    @model_validator(mode="after")
    def _ordered(self) -> TruncatedNormal:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        std, low, high = said(self.std, "truncated_normal.std"), self.low, self.high
        if said(self.bounds, "truncated_normal.bounds") == "absolute":
            low, high = (low - self.mean) / std, (high - self.mean) / std
        return self.mean + std * standard_truncated(seed, path, shape, low, high)


def standard_truncated(seed: int, path: str, shape: tuple[int, ...], low: float, high: float) -> Float:
    """Standard normal numbers between two bounds, by rejection.

    Attempt ``i`` draws from the stream's step ``i``, only for the values that are still outside. Rejection needs no
    distribution function, whose last bit would differ between machines. Far from the middle, where few normal numbers
    fall between the bounds, uniform ones are accepted with the density's height (von Neumann, 1951).
    """
    share = _cumulative(high) - _cumulative(low)
    nearest = min(max(low, 0.0), high)  # where the density is highest
    reach = math.sqrt(nearest * nearest + NEGLIGIBLE)
    left, right = max(low, -reach), min(high, reach)
    values = np.empty(math.prod(shape))
    pending, attempt = np.arange(len(values)), 0
    while len(pending):
        raw = randomness.words(seed, f"weights/{path}", 2 * len(pending), step=attempt)
        first, second = ((raw >> np.uint64(12)).astype(np.float64) + 0.5).reshape(2, -1) * 2.0**-52
        if share > LEAST_SHARE:
            drawn = quantile(first)
            good = (drawn >= low) & (drawn <= high)
        else:
            drawn = left + (right - left) * first
            good = log(second) <= 0.5 * (nearest * nearest - drawn * drawn)
        values[pending[good]] = drawn[good]
        pending, attempt = pending[~good], attempt + 1
    return values.reshape(shape)


def _cumulative(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))
