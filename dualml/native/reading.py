"""A native model in the terms of a spec: the graph it means, and where each node of it is in the native model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dualml.native.layouts import Axes
from dualml.native.protocol import Call
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph


@dataclass(frozen=True)
class Place:
    """Where a node (or an input) is in the native model.

    Attributes:
        value: Key of the value that holds its output.
        axes: The neutral array is the native one with its axes in this order (``array.transpose(axes)``), the batch
            axis included.
        calls: The calls it stands for, in order; none for an input, nor for a node that only turns the axes of a value
            from the order one call left it in to the order another takes it in.
    """

    value: int
    axes: Axes
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Held:
    """The neutral array that a native value holds.

    Attributes:
        node: Name of the node or of the input.
        axes: The neutral array is the native one with its axes in this order.
    """

    node: str
    axes: Axes


@dataclass(frozen=True)
class Reading:
    """What a native model means.

    Attributes:
        graph: The model as a spec's graph, channels last; opaque calls are nodes of the operation ``opaque``.
        places: Where each node and each input of the graph is in the native model.
        weights: Name of each parameter and buffer of the graph to its name in ``NativeModel.get_weights``; the array
            may have other axes of size 1 there, see ``neutral_weights``.
        notes: What could not be read, a sentence each.
        values: What each native value holds, by key, values that are another one's axes in another order included;
            those inside a node of several calls are missing, and so are constants.
        constants: Arrays that calls read and that no call made, by key, with the framework's axes.
        inputs: The native name of each input of the graph.
        outputs: The native name of each output node of the graph.
    """

    graph: Graph
    places: Mapping[str, Place]
    weights: Mapping[str, str]
    notes: tuple[str, ...] = ()
    values: Mapping[int, Held] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def neutral(self, node: str, array: Array) -> Array:
        """A native array of a node's (or an input's) value, as the graph has it."""
        return np.transpose(array, self.places[node].axes)

    def native(self, node: str, array: Array) -> Array:
        """A neutral array of a node (or an input), as its native value has it."""
        return np.transpose(array, np.argsort(self.places[node].axes))

    def native_value(self, key: int, neutral: Arrays) -> Array:
        """The native array of a value, from the graph's arrays by node."""
        held = self.values[key]
        return np.transpose(neutral[held.node], np.argsort(held.axes))

    def neutral_weights(self, native: Arrays) -> dict[str, Array]:
        """The graph's parameters and buffers, from native arrays (or gradients) by native name.

        Those that ``native`` lacks are missing.
        """
        shapes = {item.name: item.shape for item in self.graph.weights}
        return {
            name: np.asarray(native[other]).reshape(shapes[name])
            for name, other in self.weights.items()
            if other in native
        }
