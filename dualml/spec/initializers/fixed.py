"""Initializers without random numbers."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from dualml.spec.initializers.base import Float, InitializerBase


class Zeros(InitializerBase):
    """All 0."""

    kind = "zeros"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return np.zeros(shape)


class Ones(InitializerBase):
    """All 1."""

    kind = "ones"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return np.ones(shape)


class Constant(InitializerBase):
    """All ``value``."""

    kind = "constant"

    value: float = Field(kw_only=False)
    """The value."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return np.full(shape, self.value)


class Identity(InitializerBase):
    """``gain`` on the main diagonal of a matrix, else 0: ``torch.nn.init.eye_``, ``keras.initializers.Identity``."""

    kind = "identity"

    gain: float = 1.0
    """The diagonal's value."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        rows, columns = shape
        return self.gain * np.eye(rows, columns)

    def problem(self, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 2 else "identity needs a parameter with 2 axes; use dirac for a convolution"


class Dirac(InitializerBase):
    """A convolution that passes on its input: 1 in the middle of the window from input ``d`` to output ``d``, else 0.

    The middle of a window of ``k`` is position ``k // 2``; of several groups each passes on its own inputs, as many as
    it has outputs (``torch.nn.init.dirac_``; Keras has no such initializer).
    """

    kind = "dirac"

    groups: int = Field(default=1, gt=0)
    """The convolution's groups."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        *window, inputs, outputs = shape
        kernel = np.zeros(shape)
        middle = kernel[tuple(size // 2 for size in window)]  # (inputs, outputs), a view
        per_group = outputs // self.groups
        kept = np.arange(min(per_group, inputs))
        for group in range(self.groups):
            middle[kept, group * per_group + kept] = 1.0
        return kernel

    def problem(self, shape: tuple[int, ...]) -> str | None:
        if not 3 <= len(shape) <= 5:
            return "dirac needs a convolution's kernel (3 to 5 axes); use identity for a matrix"
        if shape[-1] % self.groups:
            return f"dirac's groups must divide the {shape[-1]} outputs, but groups is {self.groups}"
        return None
