"""What a call claims to be, as a layer of a spec."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from dualml.conventions import KERAS, TORCH
from dualml.native.layouts import Axes, native_axis
from dualml.native.protocol import Call
from dualml.native.settled import settled
from dualml.spec.base import Keyed
from dualml.spec.layers import LAYERS, Activation, Layer, Shape

KINDS: dict[str, type[Layer]] = {layer.kind: layer for layer in LAYERS}
"""Every layer that is one operation, by kind."""


class UnreadableError(Exception):
    """A call that cannot be said in the terms of a spec; the message says why and follows the call's name.

    Attributes:
        mixes: Whether the reason is that it takes another axis for the examples than they are along.
    """

    def __init__(self, message: str, *, mixes: bool = False) -> None:
        super().__init__(message)
        self.mixes = mixes


def spec_layer(call: Call, **names: str) -> Layer:
    """The layer that a call claims to be.

    Args:
        call: A call of a known kind; a setting ``axis`` still counts the framework's axes.
        names: Settings that name another layer: an attention's mask, the embedding a dense layer is tied to.

    Raises:
        UnreadableError: There is no such layer, or its settings are no valid ones, or one of them is open.
    """
    kind = KINDS.get(call.kind)
    if kind is None:
        raise UnreadableError(f"there is no layer {call.kind!r} in a spec")
    try:
        layer = kind.found({**call.settings, **names})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableError(
            f"its settings do not fit a {call.kind}: {f'{where}: ' if where else ''}{first['msg']}"
        ) from None
    return layer


def completed(layer: Layer, inputs: tuple[Shape, ...]) -> Layer:
    """A layer with its settings said in one way, none of them open.

    Args:
        layer: Its axes are neutral ones.
        inputs: Shapes of one example's inputs.

    Raises:
        UnreadableError: Its settings do not fit its inputs, or one in which the frameworks differ has no value.
    """
    try:
        layer = settled(layer, inputs)
    except ValueError as error:
        raise UnreadableError(f"as a {layer.kind} it would not fit: {error}") from None
    holder: Any = layer.function if isinstance(layer, Activation) else layer
    rows = {**TORCH.get(type(holder), {}), **KERAS.get(type(holder), {})}
    unknown = [name for name in rows if not name.endswith("initializer") and getattr(holder, name) is None]
    if unknown:
        raise UnreadableError(f"its setting {unknown[0]} is not known")
    return layer


def axis_of(layer: Layer) -> int | None:
    """The axis that a layer works along, if it has such a setting."""
    holder: Any = layer.function if isinstance(layer, Activation) else layer
    axis = getattr(holder, "axis", None)
    return axis if isinstance(axis, int) else None


def with_axis(layer: Layer, axis: int) -> Layer:
    """The same layer along another axis."""
    if isinstance(layer, Activation):
        assert isinstance(layer.function, Keyed)
        return layer.model_copy(update={"function": layer.function.model_copy(update={"axis": axis})})
    return layer.model_copy(update={"axis": axis})


def neutral_axis(axis: int, axes: Axes) -> int:
    """The axis of one neutral example that a call's setting means; the last one is -1.

    Raises:
        UnreadableError: It is the batch, or there is none.
    """
    rank = len(axes)
    try:
        place = axes.index(native_axis(axis, rank))
    except ValueError as error:
        raise UnreadableError(f"it has no such axis: {error}") from None
    if place == 0:
        raise UnreadableError("it works along the axis of the examples", mixes=True)
    return -1 if place == rank - 1 else place - 1
