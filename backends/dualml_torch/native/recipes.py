"""How each call of a trace is done again with other inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from dualml_torch.layout import attribute

FLOATING = (torch.float32, torch.float64)
"""The number formats a pass can have."""


@dataclass(frozen=True)
class Pass:
    """What an operation must know of the pass it is part of.

    Attributes:
        model: Whose weights are used.
        training: Whether the pass is one of training.
        dtype: Number format of values.
        mask: Of a random operation: which values it keeps.
    """

    model: nn.Module
    training: bool
    dtype: torch.dtype
    mask: Tensor | None = None


Recipe = Callable[[Pass, Sequence[Tensor]], Any]
"""Does an operation; what it returns holds the outputs, in order."""


@dataclass(frozen=True)
class Slot:
    """Where an input stands among the arguments."""

    place: int


@dataclass(frozen=True)
class WeightSlot:
    """Where a weight stands among the arguments."""

    path: str
    attribute: str


@dataclass(frozen=True)
class ConstantSlot:
    """A tensor that is the same in every pass."""

    tensor: Tensor


@dataclass(frozen=True)
class Template:
    """Arguments with holes."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        weights: Mapping[int, tuple[str, str]],
    ) -> Template:
        """Make the holes.

        Args:
            args: Of the operation.
            kwargs: Of the operation.
            inputs: Tensors that change from pass to pass; one may stand several times in a row of equal ones.
            weights: Module path and attribute of each weight, by the tensor's identity.
        """
        places: dict[int, list[int]] = {}
        for place, tensor in enumerate(inputs):
            places.setdefault(id(tensor), []).append(place)

        def hole(item: Any) -> Any:
            if not isinstance(item, Tensor):
                return item
            if id(item) in places:
                own = places[id(item)]
                return Slot(own.pop(0) if len(own) > 1 else own[0])
            if id(item) in weights:
                return WeightSlot(*weights[id(item)])
            return ConstantSlot(item.detach().clone())

        return cls(tuple(tree_map(hole, tuple(args))), tree_map(hole, dict(kwargs)))

    def fill(self, of: Pass, inputs: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of another pass."""

        def filled(item: Any) -> Any:
            if isinstance(item, Slot):
                return inputs[item.place]
            if isinstance(item, WeightSlot):
                return attribute(of.model.get_submodule(item.path), item.attribute)
            if isinstance(item, ConstantSlot):
                return item.tensor.to(of.dtype) if item.tensor.dtype in FLOATING else item.tensor
            return item

        holes = (Slot, WeightSlot, ConstantSlot)
        args, kwargs = tree_map(filled, (self.args, dict(self.kwargs)), is_leaf=lambda item: isinstance(item, holes))
        return args, kwargs


@dataclass(frozen=True)
class Function:
    """A function, with the arguments it was called with."""

    function: Callable[..., Any]
    template: Template
    mutated: tuple[int, ...] = ()

    def __call__(self, of: Pass, inputs: Sequence[Tensor]) -> Any:
        """What it returns, and the inputs that it changes in place and does not return."""
        args, kwargs = self.template.fill(of, inputs)
        found = self.function(*args, **kwargs)
        return (found, *(inputs[place] for place in self.mutated)) if self.mutated else found


@dataclass(frozen=True)
class Module:
    """A stock layer, with the arguments it was called with."""

    path: str
    template: Template

    def __call__(self, of: Pass, inputs: Sequence[Tensor]) -> Any:
        """What it returns."""
        args, kwargs = self.template.fill(of, inputs)
        module = of.model.get_submodule(self.path)
        return type(module).forward(module, *args, **kwargs)


def tensors_of(structure: Any) -> list[Tensor]:
    """Every tensor in a structure of lists, tuples and mappings, in order."""
    return [item for item in tree_leaves(structure) if isinstance(item, Tensor)]
