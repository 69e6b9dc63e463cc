"""One call of a function, as those who say what it is look at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dualml_torch.native.settings import Said
from dualml_torch.native.trace import Observer


@dataclass(frozen=True)
class Seen:
    """One call of a function.

    Attributes:
        observer: Who saw it.
        name: The function's, without underscores.
        args: What it was called with.
        kwargs: The same, by name.
        result: What it returned; ``None`` before it has run.
    """

    observer: Observer
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any = None

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        if place < len(self.args):
            return self.args[place]
        return self.kwargs.get(name, default)

    def rest(self, place: int, *names: str) -> Any:
        """An argument that may be given as several: ``x.permute(0, 2, 1)``."""
        if len(self.args) > place + 1:
            return self.args[place:]
        return (
            self.get(place, names[0])
            if len(self.args) > place
            else next((self.kwargs[name] for name in names if name in self.kwargs), ())
        )

    @property
    def x(self) -> Tensor:
        """The first argument."""
        found: Tensor = self.get(0, "input", self.kwargs.get("self"))
        return found

    def weight(self, kind: str, role: str, tensor: Tensor | None) -> dict[str, str] | None:
        """A weight by role, laid out as a layer of some kind has it.

        Returns:
            Empty for no tensor; ``None`` if it is none of the model's, or laid out otherwise.
        """
        if tensor is None:
            return {}
        name = self.observer.weight_name(tensor)
        if name is None or not self.observer.weights.use(name, kind, role):
            return None
        return {role: name}

    def weights(self, kind: str, **tensors: Tensor | None) -> dict[str, str] | None:
        """Several weights by role."""
        found: dict[str, str] = {}
        for role, tensor in tensors.items():
            one = self.weight(kind, role, tensor)
            if one is None:
                return None
            found |= one
        return found

    def values(self, *tensors: Any) -> bool:
        """Whether all of these are values that calls or inputs made."""
        return all(isinstance(tensor, Tensor) and self.observer.is_value(tensor) for tensor in tensors)


Reader = Callable[[Seen], Said | None]
"""Says what a function did; ``None``: nothing the spec has."""
