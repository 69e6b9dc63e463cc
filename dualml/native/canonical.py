"""One way to say what can be said in several: pooling to a single position, a bias added apart, the last step.

Two nodes become one only where the second alone reads the first, so that no value anybody asks for is lost; the node
has the calls of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dualml.native.layouts import Axes
from dualml.native.nodes import Nodes
from dualml.native.opaque import Opaque
from dualml.native.reading import Held, Place
from dualml.native.settled import said_position, shaped_to
from dualml.protocol import Array
from dualml.spec.graph import Node, Parameter
from dualml.spec.layers import (
    Concat,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Layer,
    PositionEmbedding,
    Recurrent,
    Select,
    Shape,
    Slice,
)
from dualml.spec.layers.convolution import Windowed
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.embedding import TiedDense
from dualml.spec.layers.shape import axis_of

MADE_ONLY = frozenset({"identity", "reshape", "flatten"})
"""Calls that a table of positions may go through between its embedding and the addition."""


class Canonical:
    """Rewrites the nodes of a reading in place.

    Args:
        nodes: The nodes.
        held: What each native value holds.
        outputs: Native name of each output, by node.
        constants: The trace's constants.
    """

    def __init__(
        self, nodes: Nodes, held: dict[int, Held], outputs: dict[str, str], constants: dict[int, Array]
    ) -> None:
        self.nodes = nodes
        self.held = held
        self.outputs = outputs
        self.constants = constants

    def run(self) -> None:
        """Apply every rule until none applies."""
        rules: tuple[Callable[[Node], bool], ...] = (
            self.pool_to_one,
            self.position_table,
            self.positions_of_constants,
            self.part_of_joined,
            self.with_reader,
        )
        while any(rule(node) for node in list(self.nodes.nodes.values()) for rule in rules):
            pass

    # One node alone

    def pool_to_one(self, node: Node) -> bool:
        """Adaptive pooling to one position is global pooling that keeps its axes."""
        found: Layer
        if node.operation.startswith("adaptive_average_pool") and set(node.shape[:-1]) == {1}:
            found = GlobalAveragePool(keep_axes=True)
        elif node.operation.startswith("adaptive_max_pool") and set(node.shape[:-1]) == {1}:
            found = GlobalMaxPool(keep_axes=True, ties="first")
        else:
            return False
        self.become(node, found, node.parameters)
        return True

    def position_table(self, node: Node) -> bool:
        """A table that is added to a sequence is an embedding of its positions."""
        if not self.adds_weight(node) or len(node.shape) != 2 or self.nodes.places[node.name].axes != (0, 1, 2):
            return False
        old = node.weights[0]
        shape = old.shape[1:] if len(old.shape) == 3 and old.shape[0] == 1 else old.shape
        if shape != node.shape or node.input_shapes != (node.shape,):
            return False
        self.positions(node, old.name, shape)
        return True

    def positions_of_constants(self, node: Node) -> bool:
        """An embedding of 0, 1, 2, ... that is added to a sequence, likewise."""
        calls = self.nodes.places[node.name].calls
        if not isinstance(node.settings, Opaque) or len(calls) < 2 or calls[-1].kind != "add":
            return False
        first, between = calls[0], calls[1:-1]
        if (
            first.kind != "embedding"
            or any(call.kind not in MADE_ONLY for call in between)
            or first.settings.get("scale")
            or first.settings.get("padding_index") is not None
            or node.input_shapes != (node.shape,)
            or len(node.shape) != 2
            or self.nodes.places[node.name].axes != (0, 1, 2)
            or len(node.weights) != 1
        ):
            return False
        ids = self.constants.get(first.inputs[0])
        if ids is None or not np.array_equal(np.ravel(ids), np.arange(node.shape[0])):
            return False
        self.positions(node, node.weights[0].name, node.weights[0].shape)
        return True

    def adds_weight(self, node: Node) -> bool:
        """Whether a node does nothing but add a weight to its input."""
        calls = self.nodes.places[node.name].calls
        return (
            isinstance(node.settings, Opaque)
            and len(calls) == 1
            and calls[0].kind == "add"
            and len(node.inputs) == 1
            and [item.role for item in node.weights] == ["operand"]
        )

    def positions(self, node: Node, weight: str, shape: Shape) -> None:
        """Read a node as an addition of rows for positions."""
        name = f"{node.name}.positions"
        parameter = Parameter(name, "positions", shape, None, *shape)
        if weight.startswith(f"{node.name}."):
            self.nodes.rename_weight(weight, name)
        else:
            parameter = replace(parameter, name=weight)
        self.become(node, PositionEmbedding(positions=shape[0]), (parameter,))

    def become(self, node: Node, layer: Layer, parameters: tuple[Parameter, ...]) -> None:
        """Read a node as another layer of the same output."""
        found = replace(node, operation=layer.kind, settings=layer, parameters=parameters, buffers=())
        self.nodes.put(node.name, found, self.nodes.places[node.name])

    def part_of_joined(self, node: Node) -> bool:
        """One position of what several nodes were joined to is one of one of them: a layer of ``h_n``."""
        joined = self.nodes.nodes.get(node.inputs[0]) if node.inputs else None
        if not isinstance(node.settings, Select) or joined is None or not isinstance(joined.settings, Concat):
            return False
        axis = axis_of(node.settings.axis, joined.shape)
        if axis_of(joined.settings.axis, joined.shape) != axis:
            return False
        position = node.settings.position(joined.shape)
        for name, shape in zip(joined.inputs, joined.input_shapes, strict=True):
            if position < shape[axis]:
                settings = node.settings.model_copy(update={"index": said_position(position, shape[axis])})
                found = replace(node, settings=settings, inputs=(name,), input_shapes=(shape,))
                self.nodes.put(node.name, found, self.nodes.places[node.name])
                break
            position -= shape[axis]
        self.nodes.prune(self.outputs)
        return True

    # Two nodes

    def with_reader(self, node: Node) -> bool:
        """A node and the only one that reads it."""
        readers = self.nodes.readers(node.name)
        if len(readers) != 1 or node.name in self.outputs:
            return False
        reader = self.nodes.nodes[readers[0]]
        if len(reader.inputs) != 1:
            return False
        layer = (
            _pool_and_flatten(node, reader)
            or _part_and_select(node, reader)
            or _last_step(node, reader)
            or _shapes_in_a_row(node, reader)
        )
        if layer is not None:
            self.merge(node, reader, layer, node.parameters)
            return True
        return self.bias_apart(node, reader)

    def bias_apart(self, node: Node, reader: Node) -> bool:
        """A layer without a bias, and a weight added to its channels."""
        settings: Any = node.settings
        if not self.adds_weight(reader) or not isinstance(settings, Dense | TiedDense | Windowed) or settings.bias:
            return False
        bias = reader.weights[0]
        place = self.nodes.places[reader.name]
        if not bias.name.startswith(f"{reader.name}.") or not _along_channels(bias.shape, place.axes, node.shape[-1]):
            return False
        name = f"{node.name}.bias"
        self.nodes.rename_weight(bias.name, name)
        own = Parameter(name, "bias", (node.shape[-1],), None, node.shape[-1], node.shape[-1])
        # The roles' order is that of the layer: its own weights, then what is tied.
        tied = tuple(item for item in node.parameters if item.role in settings.tied())
        rest = tuple(item for item in node.parameters if item not in tied)
        self.merge(node, reader, settings.model_copy(update={"bias": True}), (*rest, own, *tied))
        return True

    def merge(self, first: Node, second: Node, layer: Layer, parameters: tuple[Parameter, ...]) -> None:
        before, after = self.nodes.places[first.name], self.nodes.places[second.name]
        calls = tuple({call.name: call for call in (*before.calls, *after.calls)}.values())
        merged = replace(
            first,
            operation=layer.kind,
            settings=layer,
            shape=second.shape,
            parameters=parameters,
            random_mask=None,
        )
        self.nodes.merge(first, second, merged, Place(after.value, after.axes, calls))
        for key, held in list(self.held.items()):
            if held.node == first.name:
                del self.held[key]
            elif held.node == second.name:
                self.held[key] = Held(first.name, held.axes)
        renamed = {first.name if name == second.name else name: native for name, native in self.outputs.items()}
        self.outputs.clear()
        self.outputs.update(renamed)


def _along_channels(shape: Shape, axes: Axes, channels: int) -> bool:
    """Whether a weight of some shape, put against the last axes of a framework's array, lies along its channels."""
    lead = len(axes) - len(shape)
    long = [lead + axis for axis, size in enumerate(shape) if size != 1]
    lies = long == [axes[-1]] or (channels == 1 and not long)
    return lead >= 0 and math.prod(shape) == channels and lies


def _pool_and_flatten(node: Node, reader: Node) -> Layer | None:
    settings = node.settings
    pooled = isinstance(settings, GlobalAveragePool | GlobalMaxPool) and settings.keep_axes
    if pooled and reader.operation in ("flatten", "reshape") and reader.shape == node.shape[-1:]:
        changed: Layer = settings.model_copy(update={"keep_axes": False})
        return changed
    return None


def _part_and_select(node: Node, reader: Node) -> Layer | None:
    """One position cut out, then its axis taken away."""
    if not isinstance(node.settings, Slice):
        return None
    positions = node.settings.positions(node.input_shapes[0])
    axis = axis_of(node.settings.axis, node.input_shapes[0])
    whole = node.input_shapes[0]
    dropped = reader.shape == (*whole[:axis], *whole[axis + 1 :])
    selected = isinstance(reader.settings, Select) and axis_of(reader.settings.axis, node.shape) == axis
    if len(positions) != 1 or not dropped or not (selected or reader.operation in ("reshape", "flatten")):
        return None
    if not selected and isinstance(reader.settings, Flatten) and reader.settings.order == "channels_first":
        return None
    return Select(said_position(positions[0], whole[axis]), axis=-1 if axis == len(whole) - 1 else axis)


def _last_step(node: Node, reader: Node) -> Layer | None:
    """A recurrent layer of whose steps the last one read is wanted."""
    if not isinstance(node.settings, Recurrent) or not isinstance(reader.settings, Select):
        return None
    if node.settings.mask is not None or not node.settings.return_sequences:
        return None
    last = 0 if node.settings.reverse else node.shape[0] - 1
    if axis_of(reader.settings.axis, node.shape) != 0 or reader.settings.position(node.shape) != last:
        return None
    return node.settings.model_copy(update={"return_sequences": False})


def _shapes_in_a_row(node: Node, reader: Node) -> Layer | None:
    """Two reshapes one after the other."""
    for item in (node, reader):
        channels_first = isinstance(item.settings, Flatten) and item.settings.order == "channels_first"
        if item.operation not in ("reshape", "flatten") or channels_first:
            return None
    return Flatten() if len(reader.shape) == 1 else shaped_to(reader.shape)
