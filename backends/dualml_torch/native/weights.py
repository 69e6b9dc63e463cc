"""Between the arrays of a user's modules and the neutral layout: names, roles and axes.

A stock layer's arrays are named ``<path>.<role>`` and laid out as the spec has them; every other parameter or buffer
is ``<path>.<attribute>``, laid out as it is, until a function is seen to use it as a kernel (``Weights.use``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualml.errors import WeightsError
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Node
from dualml.spec.layers import DepthwiseConv1d, DepthwiseConv2d
from dualml_torch.layers import ROLES
from dualml_torch.layers.base import Role
from dualml_torch.layout import attribute, to_tensor

Change = Callable[[Array], Array]
"""From one layout to another."""


@dataclass(frozen=True)
class Kept:
    """Where an array of the neutral layout is in a module.

    Attributes:
        role: What it is to its layer.
        attribute: Of the module.
        to_neutral: From the module's layout.
        to_native: Back.
        rows: The part of the attribute's first axis that it is, as ``(start, stop)``; ``None``: all.
        prefix: What stands between the module's path and the role: ``l1`` of the second layer of a stack.
    """

    role: str
    attribute: str
    to_neutral: Change
    to_native: Change
    rows: tuple[int, int] | None = None
    prefix: str = ""

    @property
    def name(self) -> str:
        """Its name below the module's path."""
        return f"{self.prefix}.{self.role}" if self.prefix else self.role


def _as_it_is(array: Array) -> Array:
    return array


def plain(attribute: str, role: str = "") -> Kept:
    """An array that is kept as it is."""
    return Kept(role or attribute, attribute, _as_it_is, _as_it_is)


def kept(kind: str, role: str, node: Node | None = None, *, attribute: str = "", **more: Any) -> Kept:
    """An array kept as ``dualml_torch.layers`` keeps that of a spec layer.

    Args:
        kind: Kind of the layer.
        role: Which array.
        node: What the conversion needs to know of the layer, if anything.
        attribute: Of the module, if it is not the one of the table.
        more: Further fields of ``Kept``.
    """
    found: Role = ROLES[kind, role]
    like: Any = node
    return Kept(
        role,
        attribute or found.attribute,
        lambda array: found.to_neutral(array, like),
        lambda array: found.to_native(array, like),
        **more,
    )


def kept_all(kind: str, module: nn.Module, node: Node | None = None) -> tuple[Kept, ...]:
    """Every array of a layer of some kind that a module has."""
    roles = [role for operation, role in ROLES if operation == kind]
    found = [kept(kind, role, node) for role in roles]
    return tuple(item for item in found if getattr(module, item.attribute, None) is not None)


def depthwise_node(rank: int, channels: int, filters: int, sizes: tuple[int, ...]) -> Node:
    """What the conversion of a depthwise kernel must know of its layer."""
    kind = {1: DepthwiseConv1d, 2: DepthwiseConv2d}[rank]
    settings = kind(sizes, multiplier=filters // channels)
    spatial = (1,) * rank
    return Node(
        name=kind.kind,
        operation=kind.kind,
        settings=settings,
        inputs=(),
        input_shapes=((*spatial, channels),),
        shape=(*spatial, filters),
        parameters=(),
        buffers=(),
        owner=kind.kind,
        random_mask=None,
        path="",
    )


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer of a model, or a part of one.

    Attributes:
        name: Its neutral name.
        path: The module's path.
        kept: Where it is in the module.
        trained: Whether it requires a gradient.
    """

    name: str
    path: str
    kept: Kept
    trained: bool

    def tensor(self, model: nn.Module) -> Tensor:
        """The whole native tensor."""
        found: Tensor = attribute(model.get_submodule(self.path), self.kept.attribute)
        return found

    def neutral(self, tensor: Tensor) -> Array:
        """A neutral array of its own from a tensor laid out as the native one: itself, its gradient or a slot."""
        rows = self.kept.rows
        part = tensor if rows is None else tensor[rows[0] : rows[1]]
        return np.array(self.kept.to_neutral(part.detach().cpu().numpy()), order="C", copy=True)

    def write(self, tensor: Tensor, array: Array) -> None:
        """Put a neutral array into a tensor laid out as the native one.

        Raises:
            WeightsError: It has another shape.
        """
        rows = self.kept.rows
        with torch.no_grad():
            part = tensor if rows is None else tensor[rows[0] : rows[1]]
            wanted = self.kept.to_neutral(part.detach().cpu().numpy()).shape
            if tuple(array.shape) != wanted:
                raise WeightsError(f"{self.name} must have shape {list(wanted)}, got {list(array.shape)}")
            native = self.kept.to_native(np.asarray(array))
            dtype = part.dtype if part.dtype in (torch.float32, torch.float64) else torch.float64
            part.copy_(to_tensor(native, dtype, part.device))


Roles = Callable[[nn.Module], tuple[Kept, ...] | None]
"""The arrays of a stock layer; ``None`` for any other module."""


class Weights:
    """Every parameter and buffer of a model by its neutral name.

    Args:
        model: The model.
        roles: What says which arrays a stock layer has.
        like: The weights of another copy of the model: they are laid out as those are.

    Attributes:
        by_name: In the order of the modules.
        ties: Names of one and the same native tensor, where it has several.
    """

    def __init__(self, model: nn.Module, roles: Roles, like: Weights | None = None) -> None:
        self.by_name: dict[str, Weight] = {}
        inside: set[str] = set()  # submodules whose arrays belong to the stock layer that holds them
        for path, module in model.named_modules():
            known = roles(module) or ()
            inside |= {_join(path, item.attribute.rpartition(".")[0]) for item in known if "." in item.attribute}
            for weight in () if path in inside else _of_module(path, module, known):
                kept = weight.kept if like is None else like.by_name[weight.name].kept
                self.by_name[weight.name] = replace(weight, kept=kept)
        self.ties = tuple(names for names in self._owners(model).values() if len(names) > 1)

    def _owners(self, model: nn.Module) -> dict[tuple[int, Any], list[str]]:
        owners: dict[tuple[int, Any], list[str]] = {}
        for name, weight in self.by_name.items():
            owners.setdefault((id(weight.tensor(model)), weight.kept.rows), []).append(name)
        return owners

    def first_names(self, model: nn.Module) -> dict[int, str]:
        """The first name of each native tensor that is one weight, by the tensor's identity."""
        return {place: names[0] for (place, rows), names in self._owners(model).items() if rows is None}

    def part_names(self, model: nn.Module) -> dict[int, tuple[str, ...]]:
        """The names of all weights in each native tensor, by the tensor's identity; of ties the first."""
        found: dict[int, tuple[str, ...]] = {}
        for (place, _), names in self._owners(model).items():
            found[place] = (*found.get(place, ()), names[0])
        return found

    def canonical(self, name: str) -> str:
        """The first name of a weight that has several and is laid out alike under both."""
        first = next((names[0] for names in self.ties if name in names), name)
        return first if self.by_name[first].kept.role == self.by_name[name].kept.role else name

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those that are trained."""
        return tuple(name for name, weight in self.by_name.items() if weight.trained)

    def use(self, name: str, kind: str, role: str) -> bool:
        """Lay a weight out as a layer of some kind wants it, for a function was seen to use it so.

        Returns:
            Whether it is laid out so now: not where it is a stock layer's, or used as something else, too.
        """
        weight = self.by_name[name]
        wanted = kept(kind, role, attribute=weight.kept.attribute)
        if weight.kept.role == weight.kept.attribute and weight.kept.to_neutral is _as_it_is:
            self.by_name[name] = replace(weight, kept=wanted)
            return True
        return weight.kept.role == role

    def adopt(self, path: str, arrays: tuple[Kept, ...]) -> dict[str, str] | None:
        """Lay the weights of a subclass of a stock layer out as the stock layer's.

        Returns:
            Their names by role; ``None`` where one is used as something else, too.
        """
        names = {item.role: _join(path, item.attribute) for item in arrays}
        for item in arrays:
            kept = self.by_name[names[item.role]].kept
            if kept.role != item.role and not (kept.role == kept.attribute and kept.to_neutral is _as_it_is):
                return None
        for item in arrays:
            weight = self.by_name[names[item.role]]
            if weight.kept.role == weight.kept.attribute and weight.kept.to_neutral is _as_it_is:
                self.by_name[weight.name] = replace(weight, kept=item)
        return {role: self.canonical(name) for role, name in names.items()}

    def use_as_it_is(self, name: str, role: str) -> bool:
        """Say that a weight is laid out as the spec has it, for a function was seen to use it so.

        Returns:
            Whether that is so: not where it is a stock layer's, or used as something else, too.
        """
        weight = self.by_name[name]
        if weight.kept.to_neutral is _as_it_is and weight.kept.role in (role, weight.kept.attribute):
            self.by_name[name] = replace(weight, kept=plain(weight.kept.attribute, role))
            return True
        return False

    def get(self, model: nn.Module) -> dict[str, Array]:
        """All of them."""
        return {name: weight.neutral(weight.tensor(model)) for name, weight in self.by_name.items()}

    def get_buffers(self, model: nn.Module) -> dict[str, Array]:
        """Those that are no parameters."""
        found = {name: weight.tensor(model) for name, weight in self.by_name.items()}
        return {
            name: self.by_name[name].neutral(tensor)
            for name, tensor in found.items()
            if not isinstance(tensor, nn.Parameter)
        }

    def set(self, model: nn.Module, arrays: Arrays) -> None:
        """Replace some or all.

        Raises:
            WeightsError: A name is unknown or a shape is wrong.
        """
        unknown = [name for name in arrays if name not in self.by_name]
        if unknown:
            raise WeightsError(
                f"weights must be among {', '.join(self.by_name) or 'none'}; got {', '.join(unknown)} as well"
            )
        for name, array in arrays.items():
            weight = self.by_name[name]
            weight.write(weight.tensor(model), array)

    def gradients(self, model: nn.Module) -> dict[str, Array]:
        """The gradient that each trained parameter holds, of those that hold one."""
        found = {}
        for name in self.parameters:
            weight = self.by_name[name]
            gradient = weight.tensor(model).grad
            if gradient is not None:
                found[name] = weight.neutral(gradient)
        return found


def _of_module(path: str, module: nn.Module, known: tuple[Kept, ...]) -> Iterator[Weight]:
    own: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    own |= dict(module.named_buffers(recurse=False))
    covered = {item.attribute for item in known}
    if known:
        covered.add("num_batches_tracked")  # changes no value where momentum is a number, as it is in a known layer
    for item in known:
        yield Weight(_join(path, item.name), path, item, attribute(module, item.attribute).requires_grad)
    for name, tensor in own.items():
        if name not in covered:
            yield Weight(_join(path, name), path, plain(name), tensor.requires_grad)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def names_by_role(weights: Weights, path: str, arrays: tuple[Kept, ...]) -> dict[str, str]:
    """The names of a stock layer's arrays by role, as a ``Call`` lists them."""
    return {item.role: weights.canonical(_join(path, item.name)) for item in arrays}
