"""What a family of layers tells the adapter: how a module is made, its order of axes, and where its weights are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from dualml.spec.graph import Node

Axes = Literal["first", "last", "any"]
"""Where a value's channels are: behind the batch axis, as ``torch.nn``'s images have them; at the end, as in the
neutral layout; or, of an operation, wherever they happen to be."""


@dataclass(frozen=True)
class Placement:
    """How a model is built.

    Attributes:
        device: Where its parameters live.
        dtype: Their number format.
        native_randomness: Whether random layers draw their own masks.
    """

    device: torch.device
    dtype: torch.dtype
    native_randomness: bool


Make: TypeAlias = Callable[[Node, Placement], nn.Module]
"""Makes the module of a node; it is called with the values of ``node.inputs``."""

Join: TypeAlias = Callable[[fx.Graph, Node, list[fx.Node], Literal["first", "last"]], fx.Node]
"""Adds function calls to a graph, for what PyTorch has no module; the last argument says where channels are."""


@dataclass(frozen=True)
class Role:
    """How a parameter or buffer is kept.

    Attributes:
        attribute: Of the module; may be dotted.
        to_native: From the neutral layout to the module's, given the node.
        to_neutral: Back.
    """

    attribute: str
    to_native: Callable[[NDArray[Any], Node], NDArray[Any]]
    to_neutral: Callable[[NDArray[Any], Node], NDArray[Any]]


Roles: TypeAlias = Mapping[tuple[str, str], Role]
"""By operation and role."""


def same(attribute: str) -> Role:
    """A weight kept in the neutral layout."""
    return Role(attribute, lambda array, node: array, lambda array, node: array)  # noqa: ARG005


def transposed(attribute: str, axes: tuple[int, ...]) -> Role:
    """A weight whose native axis ``i`` is the neutral axis ``axes[i]``."""
    back = tuple(int(axis) for axis in np.argsort(axes))
    return Role(attribute, lambda array, node: array.transpose(axes), lambda array, node: array.transpose(back))  # noqa: ARG005


def uninitialised(kind: type[nn.Module], placement: Placement, *values: Any, **settings: Any) -> nn.Module:
    """A stock module whose weights are unset: no random number is drawn for them."""
    return nn.utils.skip_init(  # type: ignore[no-any-return, no-untyped-call]
        kind, *values, device=placement.device, dtype=placement.dtype, **settings
    )


class Masked(nn.Module):
    """A module that takes its random mask from ``mask`` where one is set.

    Attributes:
        mask: Which values are kept, dtype bool; or ``None``.
    """

    mask: Tensor | None = None
