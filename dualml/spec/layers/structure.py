"""Layers about layers: groups, residuals, repetitions, shared layers and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dualml.spec.activations import ActivationFunction
from dualml.spec.layers.activation import Activation
from dualml.spec.layers.base import Composite, Layer, LayerName, PositiveInt, Shape
from dualml.spec.layers.merge import Add

if TYPE_CHECKING:
    from dualml.spec.layers import AnyLayer


class Group(Composite):
    """Layers under one name; inside, ``input`` is what feeds the group."""

    kind = "group"

    layers: tuple[AnyLayer, ...] = Field(strict=False, min_length=1, kw_only=False)
    """The layers, each fed by the one before it unless it names its ``inputs``."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        return self.layers


class Repeat(Composite):
    """The same layers several times in a row, each time with parameters of its own.

    Inside, ``input`` is what feeds that time. The nodes of time ``i`` are named ``<name>_time_<i>_...``, ``i`` from 1.
    """

    kind = "repeat"

    times: PositiveInt
    """How often."""
    layers: tuple[AnyLayer, ...] = Field(strict=False, min_length=1)
    """The layers of one time."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        return tuple(Group(self.layers, name=f"time_{time}") for time in range(1, self.times + 1))


class Residual(Composite):
    """``f(F(x) + S(x))`` (He et al., arXiv:1512.03385): layers ``F``, a shortcut ``S`` and an activation ``f``."""

    kind = "residual"

    layers: tuple[AnyLayer, ...] = Field(strict=False, min_length=1, kw_only=False)
    """The layers ``F``."""
    shortcut: tuple[AnyLayer, ...] = Field(default=(), strict=False)
    """The layers ``S``; left out, the identity."""
    activation: ActivationFunction | None = None
    """Function ``f`` of the sum; left out, the identity."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        main = Group(self.layers, name="main")
        ends: list[Layer] = [main]
        if self.shortcut:
            ends.append(Group(self.shortcut, name="shortcut", inputs="input"))
        total = Add(name="add", inputs=["main", "shortcut" if self.shortcut else "input"])
        bent = () if self.activation is None else (Activation(function=self.activation, name="activation"),)
        return (*ends, total, *bent)


class Shared(Layer):
    """An earlier layer once more, on another input, with the same parameters."""

    kind = "shared"

    layer: LayerName = Field(kw_only=False)
    """Name of the layer whose parameters it uses."""


class Block(Layer):
    """A use of a definition under ``model.blocks``, with values for its parameters."""

    kind = "block"

    use: LayerName = Field(kw_only=False)
    """Name of the definition."""
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """A value for each parameter that has no default, and for any other."""
