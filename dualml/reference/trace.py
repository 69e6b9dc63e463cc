"""Reverse-mode differentiation: values that remember what they were computed from.

A ``Traced`` holds a float64 array or a ``Rounded`` one, and for every operand that is differentiated a
function that takes the gradient for the result to the gradient for the operand. These functions use the same
arithmetic as the values, so the gradients of rounded values carry bounds of their own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from dualml.reference.arithmetic import Number, add, value_of
from dualml.reference.rounding import Float, Rounded, double

Pullback = Callable[[Number], Number]
"""From the gradient for a result to the gradient for one operand, of the operand's shape."""

_SERIAL = count()


class Traced:
    """A value in a formula; ``+ - * / ** @`` and indexing work on it, the rest is in ``dualml.reference.ops``.

    Attributes:
        number: The array, or the array with its bound.
        operands: What it was computed from and is differentiated for.
        differentiated: Whether gradients are wanted for it or for something it was computed from.
    """

    __array_ufunc__ = None  # makes ``ndarray * Traced`` call Traced.__rmul__
    __slots__ = ("differentiated", "number", "operands", "serial")

    def __init__(self, number: Number, *operands: tuple[Traced, Pullback], differentiated: bool | None = None) -> None:
        self.number = number
        self.differentiated: bool
        self.operands: tuple[tuple[Traced, Pullback], ...] = tuple(pair for pair in operands if pair[0].differentiated)
        self.differentiated = bool(self.operands) if differentiated is None else differentiated
        self.serial = next(_SERIAL)

    @property
    def value(self) -> Float:
        """The float64 array: for masks and indices, which are not differentiated."""
        return value_of(self.number)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.ndim

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return f"Traced({self.number!r})"

    def __add__(self, other: Any) -> Traced:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Traced:
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> Traced:
        return _apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Traced:
        return _apply("subtract", other, self)

    def __mul__(self, other: Any) -> Traced:
        return _apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Traced:
        return _apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Traced:
        return _apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Traced:
        return _apply("divide", other, self)

    def __neg__(self) -> Traced:
        return _apply("negative", self)

    def __pow__(self, exponent: float) -> Traced:
        return _apply("power", self, exponent)

    def __matmul__(self, other: Any) -> Traced:
        return _apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Traced:
        return _apply("matmul", other, self)

    def __getitem__(self, index: Any) -> Traced:
        return _apply("index", self, index)


def _apply(function: str, *operands: Any) -> Traced:
    """A function of ``dualml.reference.ops``, which in turn needs this class."""
    from dualml.reference import ops

    result: Traced = getattr(ops, function)(*operands)
    return result


def source(array: Any, unit: float | None = None) -> Traced:
    """Something a formula is handed and gradients are wanted for; with ``unit``, errors are followed."""
    return Traced(double(array) if unit is None else Rounded.given(array, unit), differentiated=True)


def gradients(result: Traced, gradient: Number, sources: Sequence[Traced]) -> list[Number | None]:
    """Gradients for ``sources`` from the ``gradient`` for ``result``; ``None`` for what it does not depend on.

    Raises:
        ValueError: ``gradient`` has another shape than ``result``.
    """
    if value_of(gradient).shape != result.shape:
        raise ValueError(f"the gradient must have the result's shape {result.shape}, got {value_of(gradient).shape}")
    pending = {result.serial: gradient}
    known = {result.serial: result}
    wanted = {item.serial for item in sources}
    found: dict[int, Number] = {}
    order = [-result.serial]
    while order:
        serial = -heapq.heappop(order)
        node, given = known.pop(serial), pending.pop(serial)
        if serial in wanted:
            found[serial] = given
        for operand, pull in node.operands:
            with np.errstate(over="ignore", invalid="ignore"):
                part = pull(given)
                if operand.serial in pending:
                    part = add(pending[operand.serial], part)
                else:
                    heapq.heappush(order, -operand.serial)
            pending[operand.serial], known[operand.serial] = part, operand
    return [found.get(item.serial) for item in sources]
