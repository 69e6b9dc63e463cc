"""What a convention is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dualml.parity.hypotheses.nodes import Function, Setting, bound_of, evaluated
from dualml.protocol import Array
from dualml.reference.rounding import Float, underflow_unit


class Evaluated(Protocol):
    """Something that has a value and a bound."""

    @property
    def unit(self) -> float:
        """Unit roundoff of the working precision."""

    def value(self) -> Float:
        """What the reference gives."""

    def bound(self) -> Float:
        """How far correct rounding may lie from it."""


@dataclass(frozen=True)
class Written:
    """A formula that no layer of the catalogue has, of some arrays.

    Attributes:
        function: The formula, in ``dualml.reference.ops``.
        arrays: Its arguments.
        unit: Unit roundoff of the working precision.
    """

    function: Function
    arrays: Sequence[Array]
    unit: float

    def value(self) -> Float:
        """See ``Evaluated``."""
        return evaluated(self.function, self.arrays).value

    def bound(self) -> Float:
        """See ``Evaluated``."""
        return bound_of(evaluated(self.function, self.arrays, self.unit)) + underflow_unit(self.unit)


@dataclass(frozen=True)
class Moved:
    """What a layer gives, with its values elsewhere: some of them, or other axes."""

    inner: Setting
    move: Callable[[Float], Float]

    @property
    def unit(self) -> float:
        """See ``Evaluated``."""
        return self.inner.unit

    def value(self) -> Float:
        """See ``Evaluated``."""
        return self.move(self.inner.value())

    def bound(self) -> Float:
        """See ``Evaluated``."""
        return self.move(self.inner.bound())


@dataclass(frozen=True)
class Flip:
    """One convention flipped.

    Attributes:
        cause: Cause id.
        said: What it says.
        meant: The meaning's value.
        instead: The flipped one.
        make: Makes the evaluation with it; raises ``ValueError`` where it does not fit.
        fitted: What a fit found.
        setting: The setting it is, where a cause has several.
    """

    cause: str
    said: str
    meant: Any
    instead: Any
    make: Callable[[], Evaluated]
    fitted: float | None = None
    setting: str = ""


Source = Callable[[Setting, Array], Iterator[Flip]]
"""Conventions of an operation, from the meaning and what was recorded."""
