"""What an ONNX graph is put together with: a writer for the whole, and a site for each node of the spec's graph.

A value with positions and channels has its channels last (as in specs) or first (as ONNX' convolutions and pools want
them). Each layer says in which order it gives its output, and asks for inputs in the order it needs; a transposition
is written where the two differ, once for each value.

Operators are named after the node they belong to, weights have their neutral names, and all other tensors are numbered
in the order of their making, as long names would make small files longer: equal graphs and weights give equal bytes,
and nothing of the machine gets into the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dualml.errors import UnsupportedError
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph, Node
from dualml.spec.layers import Shape

Channels = Literal["first", "last"]

FLOAT32_ONLY = frozenset({"AveragePool", "Conv", "ConvTranspose", "Erf", "GRU", "Gelu", "LSTM", "RNN", "Softplus"})
"""Operators for which ONNX Runtime has no float64 kernel on a CPU."""


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph.

    Attributes:
        tensor: Its name.
        channels: Where its channels are, if it has positions as well.
    """

    tensor: str
    channels: Channels = "last"


class Writer:
    """Collects operators and initializers.

    Args:
        graph: The model.
        weights: All parameters and buffers, neutral names and layout.
    """

    def __init__(self, graph: Graph, weights: Arrays) -> None:
        self.graph = graph
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[Any, onnx.TensorProto] = {}
        self.shapes: dict[str, Shape] = {item.name: item.shape for item in graph.inputs}
        self.shapes |= {node.name: node.shape for node in graph.nodes}
        self.values = {item.name: Value(item.name) for item in graph.inputs}
        self._moved: dict[tuple[str, Channels], str] = {}
        self._counts: dict[str, int] = {}
        self._tensors = 0

    def initializer(self, key: Any, name: str, make: Callable[[], Array]) -> str:
        """Name of an array of the file, stored once for each key."""
        if key not in self.initializers:
            self.initializers[key] = numpy_helper.from_array(np.asarray(make(), order="C"), name)
        return str(self.initializers[key].name)

    def constant(self, array: Array) -> str:
        """Name of an array that is no weight; equal ones are stored once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key in self.initializers:
            return str(self.initializers[key].name)
        return self.initializer(key, self._number(), lambda: array)

    def _number(self) -> str:
        """A name that no input, output or weight has: those begin with a letter."""
        self._tensors += 1
        return str(self._tensors)

    def add(self, where: str, operator: str, inputs: Sequence[str], outputs: Sequence[str], **settings: Any) -> None:
        """Write an operator whose outputs have names already."""
        self.nodes.append(
            helper.make_node(operator, inputs, outputs, name=self._free(f"{where}/{operator}"), **settings)
        )

    def named(self, where: str, operator: str, inputs: Sequence[str], outputs: int, **settings: Any) -> list[str]:
        """Write an operator; the names of its outputs."""
        names = [self._number() for _ in range(outputs)]
        self.add(where, operator, inputs, names, **settings)
        return names

    def _free(self, stem: str) -> str:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return stem if self._counts[stem] == 1 else f"{stem}_{self._counts[stem]}"

    def tensor(self, name: str, channels: Channels) -> str:
        """The tensor of an input or node, with its channels where they are wanted."""
        value, rank = self.values[name], len(self.shapes[name])
        if rank < 2 or value.channels == channels:
            return value.tensor
        key = (value.tensor, channels)
        if key not in self._moved:
            order = [0, rank, *range(1, rank)] if channels == "first" else [0, *range(2, rank + 1), 1]
            (self._moved[key],) = self.named(name, "Transpose", [value.tensor], 1, perm=order)
        return self._moved[key]


class Site:
    """Where one node of the spec's graph is written.

    Attributes:
        node: The node.
        settings: Its settings.
        precision: ``float32`` or ``float64``.
    """

    def __init__(self, writer: Writer, node: Node) -> None:
        self.writer = writer
        self.node = node
        self.settings: Any = node.settings
        self.precision = writer.graph.precision

    # What comes in.

    def value(self, place: int = 0) -> Value:
        """An input as it is."""
        return self.writer.values[self.node.inputs[place]]

    def input(self, place: int = 0, channels: Channels = "last") -> str:
        """An input's tensor with its channels where they are wanted."""
        return self.writer.tensor(self.node.inputs[place], channels)

    @property
    def common(self) -> Channels:
        """Where the channels are in all inputs; last, if they differ or there is nothing but channels."""
        found = {
            self.value(place).channels if len(shape) > 1 else "last"
            for place, shape in enumerate(self.node.input_shapes)
        }
        return "first" if found == {"first"} else "last"

    def axis(self, axis: int, channels: Channels = "last", place: int = 0) -> int:
        """An axis of one example (negative ones count from the end) as an axis of a tensor."""
        rank = len(self.node.input_shapes[place])
        axis %= rank
        if channels == "last":
            return axis + 1
        return 1 if axis == rank - 1 else axis + 2

    # What it holds.

    def array(self, role: str) -> Array | None:
        """A parameter or buffer in the neutral layout, in the graph's precision; ``None`` if there is none."""
        weight = self.node.weight(role)
        return None if weight is None else np.asarray(self.writer.weights[weight.name], dtype=self.precision)

    def weight(self, role: str, arranged: Callable[[Array], Array] | None = None, layout: str = "") -> str | None:
        """Name of a parameter or buffer in the file; ``None`` if the node has none.

        Args:
            role: Its role.
            arranged: Puts it into another layout.
            layout: Name of that layout: a weight that two nodes read in different ones is stored in both.
        """
        weight = self.node.weight(role)
        if weight is None:
            return None

        def make() -> Array:
            array = self.array(role)
            assert array is not None
            return array if arranged is None else arranged(array)

        name = f"{weight.name}.{layout}" if layout else weight.name
        return self.writer.initializer(name, name, make)

    def required(self, role: str, arranged: Callable[[Array], Array] | None = None, layout: str = "") -> str:
        """``weight`` of a role that every such node has."""
        name = self.weight(role, arranged, layout)
        assert name is not None, f"{self.node.operation} has no {role}"
        return name

    def number(self, value: Any) -> str:
        """A constant in the graph's precision."""
        return self.writer.constant(np.asarray(value, dtype=self.precision))

    def whole(self, value: Any) -> str:
        """A constant of whole numbers."""
        return self.writer.constant(np.asarray(value, dtype=np.int64))

    # What is written.

    def op(self, operator: str, *inputs: str, **settings: Any) -> str:
        """Write an operator of one output; its tensor's name."""
        return self.ops(operator, inputs, 1, **settings)[0]

    def ops(self, operator: str, inputs: Sequence[str], outputs: int, **settings: Any) -> list[str]:
        """Write an operator of several outputs.

        Raises:
            UnsupportedError: There is none in the graph's precision.
        """
        if self.precision == "float64" and operator in FLOAT32_ONLY:
            raise self.refused(
                f"in float64: ONNX Runtime computes its operator {operator} in float32 only; "
                "export in float32: --format onnx --precision float32"
            )
        return self.writer.named(self.node.name, operator, list(inputs), outputs, **settings)

    def reshaped(self, tensor: str, shape: Iterable[int]) -> str:
        """Another shape for one example."""
        return self.op("Reshape", tensor, self.whole([0, *shape]))

    def expanded(self, tensor: str, *axes: int) -> str:
        """New axes of size 1."""
        return self.op("Unsqueeze", tensor, self.whole(axes))

    def gathered(self, tensor: str, positions: Any, axis: int) -> str:
        """Values at positions of an axis; a single position takes the axis away."""
        return self.op("Gather", tensor, self.whole(positions), axis=axis)

    def sliced(self, tensor: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """A part of an axis."""
        return self.op("Slice", tensor, self.whole([start]), self.whole([stop]), self.whole([axis]), self.whole([step]))

    def chained(self, operator: str, tensors: Sequence[str]) -> str:
        """An operator of two inputs from the first to the last."""
        found = tensors[0]
        for other in tensors[1:]:
            found = self.op(operator, found, other)
        return found

    def refused(self, why: str) -> UnsupportedError:
        """The error for a part that ONNX cannot express."""
        what = f"the layer {self.node.operation!r}"
        if self.node.operation == "activation":
            what = f"the activation {self.settings.function.kind!r}"
        return UnsupportedError(f"ONNX cannot express {what} ({self.node.path}) {why}")


Emit = Callable[[Site], Value]
"""Writes a node's operators and gives its output."""
