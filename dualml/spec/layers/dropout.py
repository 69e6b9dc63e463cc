"""Layers that drop values at random in training."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape


class Dropout(Layer):
    """In training ``y = x m / (1 - rate)`` with a random mask ``m`` of zeros and ones; else ``y = x``.

    (Srivastava et al., JMLR 15, 2014, in the "inverted" form both frameworks use.)
    """

    kind = "dropout"

    rate: float = Field(ge=0, lt=1, kw_only=False)
    """Probability that a value is dropped."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]
