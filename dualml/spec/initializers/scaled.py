"""Initializers whose spread follows from the fans, so that signals keep their size from layer to layer."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from dualml.spec.initializers.base import Float, InitializerBase, normal, said, uniform
from dualml.spec.initializers.plain import standard_truncated

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg"]

CUT_DEVIATION = 0.87962566103423978
"""Standard deviation of a standard normal number cut at -2 and 2: ``sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))``."""


def fan(mode: Mode, fan_in: int, fan_out: int) -> float:
    """The number of connections that a variance is divided by, at least 1."""
    return max(1.0, {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[mode])


def gain_of(nonlinearity: str, negative_slope: float = 0.01) -> float:
    """What keeps the size of signals behind an activation: ``torch.nn.init.calculate_gain``.

    Example:
        >>> gain_of("leaky_relu", 0.0) == 2 ** 0.5
        True
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}
    return math.sqrt(2.0 / (1.0 + negative_slope**2)) if nonlinearity == "leaky_relu" else gains[nonlinearity]


class _Uniform(InitializerBase):
    """``U(-b, b)`` with a bound that depends on the fans."""

    gain: float = Field(default=1.0, gt=0)
    """Factor on the bound."""

    def bound(self, fan_in: int, fan_out: int) -> float:
        """The bound ``b`` before the gain."""
        raise NotImplementedError

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return symmetric(seed, path, shape, self.gain * self.bound(fan_in, fan_out))


class _Normal(InitializerBase):
    """``N(0, sigma^2)`` with a standard deviation that depends on the fans, cut or not."""

    mode: ClassVar[Mode]
    scale: ClassVar[float]

    gain: float = Field(default=1.0, gt=0)
    """Factor on the standard deviation."""
    truncated: bool | None = None
    """Whether the distribution is cut at 2 standard deviations of the uncut one, which is widened by 1 / 0.8796."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        deviation = self.gain * math.sqrt(self.scale / fan(self.mode, fan_in, fan_out))
        return centred(seed, path, shape, deviation, truncated=said(self.truncated, f"{self.kind}.truncated"))


def symmetric(seed: int, path: str, shape: tuple[int, ...], bound: float) -> Float:
    """``U(-bound, bound)``."""
    return bound * (2.0 * uniform(seed, path, shape) - 1.0)


def centred(seed: int, path: str, shape: tuple[int, ...], deviation: float, *, truncated: bool) -> Float:
    """Normal numbers of mean 0 with a standard deviation; if truncated, after the cut."""
    if truncated:
        return deviation / CUT_DEVIATION * standard_truncated(seed, path, shape, -2.0, 2.0)
    return deviation * normal(seed, path, shape)


class FanInUniform(_Uniform):
    """``U(-b, b)``, ``b = gain / sqrt(fan_in)``: what ``torch.nn.Linear`` draws weights and biases from.

    PyTorch writes it as ``kaiming_uniform_(a=sqrt 5)``: bound ``sqrt(3) sqrt(2 / (1 + 5)) / sqrt(fan_in)``.
    """

    kind = "fan_in_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return 1.0 / math.sqrt(fan_in)


class GlorotUniform(_Uniform):
    """``U(-b, b)``, ``b = gain sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, AISTATS 2010, eq. 16).

    ``torch.nn.init.xavier_uniform_``; ``keras.initializers.GlorotUniform``, which has no gain.
    """

    kind = "glorot_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(6.0 / (fan_in + fan_out))


class GlorotNormal(_Normal):
    """``N(0, gain^2 2 / (fan_in + fan_out))`` (Glorot and Bengio, AISTATS 2010).

    Differs between the frameworks: ``torch.nn.init.xavier_normal_`` is not cut, ``keras.initializers.GlorotNormal`` is.
    """

    kind = "glorot_normal"
    mode = "fan_avg"
    scale = 1.0


class HeUniform(_Uniform):
    """``U(-b, b)``, ``b = gain sqrt(6 / fan_in)`` (He et al., arXiv:1502.01852, eq. 10)."""

    kind = "he_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(6.0 / fan_in)


class HeNormal(_Normal):
    """``N(0, gain^2 2 / fan_in)`` (He et al., arXiv:1502.01852, eq. 10).

    Differs between the frameworks: ``torch.nn.init.kaiming_normal_`` is not cut, ``keras.initializers.HeNormal`` is.
    """

    kind = "he_normal"
    mode = "fan_in"
    scale = 2.0


class LecunUniform(_Uniform):
    """``U(-b, b)``, ``b = gain sqrt(3 / fan_in)`` (LeCun et al., "Efficient BackProp", 1998, section 4.6).

    ``keras.initializers.LecunUniform``; in PyTorch ``kaiming_uniform_(nonlinearity="linear")``.
    """

    kind = "lecun_uniform"

    def bound(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(3.0 / fan_in)


class LecunNormal(_Normal):
    """``N(0, gain^2 / fan_in)`` (LeCun et al., "Efficient BackProp", 1998, section 4.6).

    Differs between the frameworks: ``keras.initializers.LecunNormal`` is cut; PyTorch's way to write it,
    ``kaiming_normal_(nonlinearity="linear")``, is not.
    """

    kind = "lecun_normal"
    mode = "fan_in"
    scale = 1.0


class _Kaiming(InitializerBase):
    """``gain / sqrt(fan)`` as standard deviation, the gain following from the activation behind the layer."""

    a: float = 0.0
    """Negative slope, if the nonlinearity is leaky_relu."""
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    """Which fan: forward signals or gradients keep their size."""
    nonlinearity: Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"] = "leaky_relu"
    """The activation behind the layer."""

    def deviation(self, fan_in: int, fan_out: int) -> float:
        """Standard deviation."""
        return gain_of(self.nonlinearity, self.a) / math.sqrt(fan(self.mode, fan_in, fan_out))


class KaimingUniform(_Kaiming):
    """``U(-b, b)``, ``b = sqrt(3) gain / sqrt(fan)``: ``torch.nn.init.kaiming_uniform_`` with its gains.

    Gains: linear and sigmoid 1, tanh 5/3, relu ``sqrt 2``, leaky_relu ``sqrt(2 / (1 + a^2))``, selu 3/4.
    """

    kind = "kaiming_uniform"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return symmetric(seed, path, shape, math.sqrt(3.0) * self.deviation(fan_in, fan_out))


class KaimingNormal(_Kaiming):
    """``N(0, gain^2 / fan)``, not cut: ``torch.nn.init.kaiming_normal_``, with the gains of ``kaiming_uniform``."""

    kind = "kaiming_normal"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return self.deviation(fan_in, fan_out) * normal(seed, path, shape)


class VarianceScaling(InitializerBase):
    """Mean 0 and variance ``scale / fan``: ``keras.initializers.VarianceScaling``.

    Differs from Keras in one name: its ``normal`` means ``truncated_normal``, so it is not accepted here.
    """

    kind = "variance_scaling"

    scale: float = Field(default=1.0, gt=0)
    """The variance for one connection."""
    mode: Mode = "fan_in"
    """Inputs, outputs or the mean of both."""
    distribution: Literal["uniform", "truncated_normal", "untruncated_normal"] = "truncated_normal"
    """Shape of the distribution; the variance is that after the cut at 2 standard deviations."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        variance = self.scale / fan(self.mode, fan_in, fan_out)
        if self.distribution == "uniform":
            return symmetric(seed, path, shape, math.sqrt(3.0 * variance))
        truncated = self.distribution == "truncated_normal"
        return centred(seed, path, shape, math.sqrt(variance), truncated=truncated)
