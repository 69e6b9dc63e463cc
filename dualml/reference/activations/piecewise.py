"""Activations made of pieces, each a polynomial of degree 2 or less, between points called knots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualml.reference.activations.base import ActivationReference
from dualml.reference.rounding import Float, underflow_unit

_ROUNDINGS = 8.0
"""Of a piece: its coefficients, sums and products; measured 3.4 (sparse_plus, TensorFlow float32), 3.0 (hard_swish)."""


class Knot(NamedTuple):
    """Where one piece ends and the next begins.

    Attributes:
        at: The point.
        owner: Which piece holds the point itself: -1 the one before it, 0 the one after.
    """

    at: float
    owner: int


class Piece(NamedTuple):
    """``constant + slope x + square x^2``.

    Attributes:
        constant: Of degree 0.
        slope: Of degree 1.
        square: Of degree 2.
        product: Whether it is evaluated as a product, so that even ``x`` itself is rounded: ``x 6 / 6``.
    """

    constant: float
    slope: float
    square: float = 0.0
    product: bool = False

    def value(self, x: Float) -> Float:
        """At ``x``; a square that is not there does not overflow."""
        linear = self.constant + self.slope * x
        return np.asarray(linear + self.square * x * x if self.square else linear)

    def derivative(self, x: Float) -> Float:
        """At ``x``."""
        return np.asarray(self.slope + 2.0 * self.square * x)

    def magnitude(self, x: Float) -> Float:
        """Sum of the sizes of all terms; 0 for ``x`` itself and for 0, which are exact."""
        if self.square == 0 and self.constant == 0 and self.slope in (0.0, 1.0) and not self.product:
            return np.zeros_like(x)
        squares = np.abs(self.square) * x * x if self.square else 0.0
        return np.asarray(abs(self.constant) + np.abs(self.slope * x) + squares)

    def derivative_magnitude(self, x: Float) -> Float:
        """The same for the derivative."""
        if self.square == 0 and self.slope in (0.0, 1.0):
            return np.zeros_like(x)
        return np.asarray(abs(self.slope) + 2.0 * np.abs(self.square * x))


ZERO, IDENTITY = Piece(0.0, 0.0), Piece(0.0, 1.0)


@dataclass(frozen=True)
class Piecewise:
    """An activation made of pieces.

    A knot that is no number of the working precision moves when it is rounded, and so does ``x + 3`` near 6: within
    a few units of a knot either piece is right, which is what the bounds allow there.

    Attributes:
        pieces: From the settings, the knots in ascending order and the pieces, one more than knots.
    """

    pieces: Callable[[Any], tuple[Sequence[Knot], Sequence[Piece]]]

    def _choose(self, settings: Any, x: Float, of: Callable[[Piece], Float]) -> Float:
        knots, pieces = self.pieces(settings)
        found = of(pieces[0])
        for knot, piece in zip(knots, pieces[1:], strict=True):
            found = np.where(x > knot.at if knot.owner else x >= knot.at, of(piece), found)
        return np.asarray(found)

    def _rounding(
        self, settings: Any, x: Float, unit: float, of: Callable[[Piece], Float], size: Callable[[Piece], Float]
    ) -> Float:
        """Some roundings of the terms; as near to a knot as rounding can tell, those of both pieces and the jump.

        Args:
            settings: Of the activation.
            x: Where.
            unit: Unit roundoff.
            of: What is evaluated of a piece.
            size: Size of its terms.
        """
        knots, pieces = self.pieces(settings)
        total = self._choose(settings, x, size) * _ROUNDINGS * unit
        for knot, before, after in zip(knots, pieces, pieces[1:], strict=False):
            near = np.abs(x - knot.at) <= 4.0 * unit * abs(knot.at)
            if knot.at == 0:
                near = (x != 0) & (np.abs(x) < underflow_unit(unit))  # where denormal numbers count as zero
            both = np.abs(of(after) - of(before)) + _ROUNDINGS * unit * (size(before) + size(after))
            total = total + np.where(near, both, 0.0)
        return np.asarray(total)

    def value(self, settings: Any, x: Float) -> Float:
        """``f(x)``."""
        return self._choose(settings, x, lambda piece: piece.value(x))

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """``gradient f'(x)``; at a knot, the derivative of the piece that holds it."""
        return gradient * self._choose(settings, x, lambda piece: piece.derivative(x))

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """A few roundings of the terms, the jump next to a knot, and underflow."""
        rounding = self._rounding(settings, x, unit, lambda piece: piece.value(x), lambda piece: piece.magnitude(x))
        return np.asarray(rounding + 2.0 * underflow_unit(unit) * (1.0 + np.abs(x)))

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """The same for the derivative, times ``|gradient|``."""
        smallest = underflow_unit(unit)
        magnitude = self._choose(settings, x, lambda piece: piece.derivative_magnitude(x))
        error = self._rounding(
            settings, x, unit, lambda piece: piece.derivative(x), lambda piece: piece.derivative_magnitude(x)
        )
        error = error + 2.0 * smallest * (1.0 + np.abs(x))
        return np.asarray(np.abs(gradient) * error + 2.0 * smallest * (1.0 + np.abs(x) + magnitude))

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """Where ``f`` or ``f'`` jumps exactly at ``x``."""
        knots, pieces = self.pieces(settings)
        found = np.zeros(x.shape, dtype=np.bool_)
        for knot, before, after in zip(knots, pieces, pieces[1:], strict=False):
            at = np.asarray(knot.at)
            jumps = before.value(at) != after.value(at) or before.derivative(at) != after.derivative(at)
            found |= (x == knot.at) & bool(jumps)
        return found


_BEFORE, _AFTER = -1, 0


def _clip(low: float, high: float, piece: Piece = IDENTITY) -> tuple[tuple[Knot, Knot], tuple[Piece, Piece, Piece]]:
    """A piece between two points and constant outside; the derivative is 0 at both."""
    ends = (float(piece.value(np.asarray(low))), float(piece.value(np.asarray(high))))
    return (Knot(low, _BEFORE), Knot(high, _AFTER)), (Piece(ends[0], 0.0), piece, Piece(ends[1], 0.0))


def _clipped_relu(settings: Any) -> tuple[Sequence[Knot], Sequence[Piece]]:
    slope, threshold, largest = settings.negative_slope, settings.threshold, settings.max_value
    knots, pieces = [Knot(threshold, _BEFORE)], [Piece(-slope * threshold, slope), IDENTITY]
    if largest != "none":
        knots.append(Knot(largest, _AFTER))
        pieces.append(Piece(largest, 0.0))
    return knots, pieces


def _shrink(threshold: float, offset: float) -> tuple[Sequence[Knot], Sequence[Piece]]:
    """0 between the thresholds; ``x`` moved towards 0 by ``offset`` outside."""
    knots = (Knot(-threshold, _AFTER), Knot(threshold, _BEFORE))
    return knots, (Piece(offset, 1.0), ZERO, Piece(-offset, 1.0))


_SPARSE_PLUS = ((Knot(-1.0, _BEFORE), Knot(1.0, _AFTER)), (ZERO, Piece(0.25, 0.5, 0.25), IDENTITY))
_HARD_SWISH = (
    (Knot(-3.0, _BEFORE), Knot(3.0, _AFTER)),
    (ZERO, Piece(0.0, 0.5, 1.0 / 6.0), Piece(0.0, 1.0, product=True)),
)

FUNCTIONS: Mapping[str, ActivationReference] = {
    "relu6": Piecewise(lambda _: _clip(0.0, 6.0)),
    "clipped_relu": Piecewise(_clipped_relu),
    "hard_sigmoid": Piecewise(lambda _: _clip(-3.0, 3.0, Piece(0.5, 1.0 / 6.0))),
    "hard_swish": Piecewise(lambda _: _HARD_SWISH),
    "hard_tanh": Piecewise(lambda settings: _clip(settings.minimum, settings.maximum)),
    "hard_shrink": Piecewise(lambda settings: _shrink(settings.threshold, 0.0)),
    "soft_shrink": Piecewise(lambda settings: _shrink(settings.threshold, settings.threshold)),
    "sparse_plus": Piecewise(lambda _: _SPARSE_PLUS),
    "sparse_sigmoid": Piecewise(lambda _: _clip(-1.0, 1.0, Piece(0.5, 0.5))),
    "threshold": Piecewise(lambda settings: ((Knot(settings.at, _BEFORE),), (Piece(settings.value, 0.0), IDENTITY))),
    "linear": Piecewise(lambda _: ((), (IDENTITY,))),
}
"""By kind."""
