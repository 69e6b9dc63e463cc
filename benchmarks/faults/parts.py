"""How one network is changed in one place: every layer is made through ``Parts``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Make = Callable[..., Any]
Change = Callable[[Make, tuple[Any, ...], dict[str, Any]], Any]
"""What makes a part: is given the layer's class, its arguments and its settings, and returns the layer."""


class Parts:
    """Makes the layers of a network.

    Args:
        changes: What to make otherwise, by the name of the part.
        named: Whether layers take their name as an argument (Keras).
    """

    def __init__(self, changes: Mapping[str, Change], *, named: bool) -> None:
        self.changes = changes
        self.named = named
        self.made: set[str] = set()

    def __call__(self, name: str, kind: Make, *arguments: Any, **settings: Any) -> Any:
        """Make one part; ``settings`` are the layer's own."""
        self.made.add(name)
        if self.named:
            settings["name"] = name
        change = self.changes.get(name)
        return kind(*arguments, **settings) if change is None else change(kind, arguments, settings)

    def optional(self, name: str) -> Any:
        """A part that the network has only if a change makes it."""
        if name not in self.changes:
            return None
        return self(name, _missing)

    def check(self) -> None:
        """Every change must have met its part.

        Raises:
            KeyError: One did not; a fault that is not there would count as missed.
        """
        if left_over := set(self.changes) - self.made:
            raise KeyError(f"no part of these names in the network: {sorted(left_over)}; it has {sorted(self.made)}")


def _missing(*_: Any, **__: Any) -> Any:
    raise TypeError("an optional part must be made by `instead`")


def setting(**changed: Any) -> Change:
    """The same layer with other settings."""

    def make(kind: Make, arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        return kind(*arguments, **{**settings, **changed})

    return make


def instead(other: Make, *arguments: Any, **changed: Any) -> Change:
    """Another layer with arguments of its own; a Keras layer keeps its name."""

    def make(_kind: Make, _: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        name = {"name": settings["name"]} if "name" in settings else {}
        return other(*arguments, **changed, **name)

    return make


def subclass(other: Make) -> Change:
    """Another class with the arguments of the layer: a subclass that does something else."""

    def make(_kind: Make, arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        return other(*arguments, **settings)

    return make


def then(change: Change | None, act: Callable[[Any], None]) -> Change:
    """The layer, changed or not, on which something is done afterwards."""

    def make(kind: Make, arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        layer = kind(*arguments, **settings) if change is None else change(kind, arguments, settings)
        act(layer)
        return layer

    return make
