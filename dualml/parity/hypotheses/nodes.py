"""A node with other settings, and its weights by role: what counterfactuals are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.protocol import Array, Arrays
from dualml.reference import forward_bound, node_forward
from dualml.reference.layers import OPERATIONS
from dualml.reference.rounding import Float, Rounded
from dualml.reference.trace import Traced
from dualml.spec.base import Settings
from dualml.spec.graph import Buffer, Node, Parameter

Roles = Mapping[str, Array]
"""Weights of a node by role."""

Function = Callable[..., Traced]
"""A formula of one or several arrays, written with ``dualml.reference.ops``."""


def changed(settings: Any, **changes: Any) -> Any:
    """Settings with some changed, checked again.

    Raises:
        ValueError: The settings do not go together.
    """
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return type(settings).found({**values, **changes})


def with_settings(node: Node, settings: Any) -> Node:
    """A node that does something else with the same inputs; weights it has already keep their names.

    Raises:
        ValueError: The settings do not fit its inputs.
    """
    shapes = node.input_shapes
    shape = settings.shape(shapes)
    parameters = []
    for item in settings.parameters(shapes):
        known = node.parameter(item.role)
        name = known.name if known is not None else f"{node.name}.{item.role}"
        parameters.append(Parameter(name, item.role, item.shape, item.initializer, item.fan_in, item.fan_out))
    roles = {item.role for item in parameters}
    parameters += [item for item in node.parameters if item.role in settings.tied() and item.role not in roles]
    buffers = tuple(
        Buffer(f"{node.name}.{item.role}", item.role, item.shape, item.value) for item in settings.buffers(shapes)
    )
    return replace(
        node,
        operation=settings.kind,
        settings=settings,
        shape=shape,
        parameters=tuple(parameters),
        buffers=buffers,
        random_mask=settings.random_mask(shapes),
    )


def by_role(weights: Arrays, *nodes: Node | None) -> dict[str, Array]:
    """A node's weights by role, from a mapping by the names that any of the claims gives them, or by role."""
    found: dict[str, Array] = {}
    for node in nodes:
        for item in () if node is None else node.weights:
            for name in (item.name, item.role):
                if item.role not in found and name in weights:
                    found[item.role] = weights[name]
    return found


@dataclass(frozen=True)
class Setting:
    """One evaluation of one node on the deviating side's own data.

    Attributes:
        node: What is evaluated.
        roles: Its weights by role.
        inputs: Its inputs, by position.
        training: Whether it is a pass in training mode.
        mask: Which values it keeps, if it draws.
        unit: Unit roundoff of the precision the data are in.
    """

    node: Node
    roles: Roles
    inputs: tuple[Array, ...]
    training: bool
    mask: NDArray[np.bool_] | None
    unit: float
    _cache: dict[str, Float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def weights(self) -> dict[str, Array]:
        """Weights by the node's own names.

        Raises:
            KeyError: The deviating side has no such weight.
            ValueError: It has another shape.
        """
        found = {item.name: self.roles[item.role] for item in self.node.weights}
        for item in self.node.weights:
            if tuple(np.shape(found[item.name])) != item.shape and item.role in self.roles:
                raise ValueError(f"{item.name} must have shape {item.shape}")
        return found

    def value(self) -> Float:
        """What the reference gives."""
        if "value" not in self._cache:
            self._cache["value"] = node_forward(
                self.node, self.weights, self.inputs, training=self.training, mask=self.mask
            )
        return self._cache["value"]

    def bound(self) -> Float:
        """How far correct rounding may lie from it."""
        if "bound" not in self._cache:
            self._cache["bound"] = forward_bound(
                self.node, self.weights, self.inputs, training=self.training, mask=self.mask, unit=self.unit
            )
        return self._cache["bound"]

    def with_(self, **changes: Any) -> Setting:
        """The same with some of it changed; ``settings`` stands for the node's."""
        settings = changes.pop("settings", None)
        if settings is not None:
            changes["node"] = with_settings(self.node, settings)
        return replace(self, **changes, _cache={})

    def settings_changed(self, **changes: Any) -> Setting:
        """The same with some settings of the node changed."""
        return self.with_(settings=changed(self.node.settings, **changes))


def known_operation(node: Node) -> bool:
    """Whether the reference has a formula for a node; an opaque one has none."""
    return node.operation in OPERATIONS and isinstance(node.settings, Settings)


def evaluated(function: Function, arrays: Sequence[Array], unit: float | None = None) -> Traced:
    """A formula of some arrays: its value, and with ``unit`` its bound; see ``dualml.reference.trace``."""
    from dualml.reference.trace import source

    with np.errstate(all="ignore"):
        return function(*(source(array, unit) for array in arrays))


def bound_of(traced: Traced) -> Float:
    """The bound that a formula's value carries; of an array without one, nothing is promised to be off."""
    number = traced.number
    if isinstance(number, Rounded):
        error = np.broadcast_to(number.error, number.value.shape)
        return np.where(np.isnan(error), np.inf, error)
    return np.zeros(np.shape(number))
