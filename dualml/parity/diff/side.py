"""One side of a comparison in one precision: the native model, its reading, and its arrays in neutral axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dualml import randomness, reference
from dualml.native.protocol import NativeModel, Observation, Precision, Trace
from dualml.native.reading import Reading
from dualml.parity.diff.features import Ordered
from dualml.protocol import Array, Arrays, State
from dualml.spec.graph import Graph, Node

SideName = Literal["left", "right"]

SEED = 0
"""Of everything that a comparison draws."""


class Values(Mapping[str, Array]):
    """Arrays of one pass by the names of the graph, with neutral axes; views, made when they are asked for.

    Args:
        arrays: By value key, with the framework's axes.
        reading: Where each name's value is.
    """

    def __init__(self, arrays: Mapping[int, Array], reading: Reading) -> None:
        self._arrays = arrays
        self._reading = reading

    def __getitem__(self, name: str) -> Array:
        return self._reading.neutral(name, np.asarray(self._arrays[self._reading.places[name].value]))

    def __contains__(self, name: object) -> bool:
        place = self._reading.places.get(name) if isinstance(name, str) else None
        return place is not None and place.value in self._arrays

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._reading.places if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class Side:
    """One side, begun in a precision.

    Attributes:
        name: ``left`` or ``right``.
        model: The native model.
        trace: What it does.
        reading: What that means.
        inputs: Its inputs by name, with its framework's axes.
        targets: Its targets as its loss takes them, or ``None``.
        precision: Number format.
    """

    name: SideName
    model: NativeModel
    trace: Trace
    reading: Reading
    inputs: dict[str, Array]
    targets: dict[str, Array] | None
    precision: Precision
    _weights: dict[str, Array] | None = field(default=None, repr=False)

    @property
    def graph(self) -> Graph:
        """What the model means."""
        return self.reading.graph

    @property
    def unit(self) -> float:
        """Unit roundoff of the precision."""
        return reference.unit_roundoff(self.precision)

    def weights(self) -> dict[str, Array]:
        """Every weight by its name in the graph; read once as long as nothing here changes them."""
        if self._weights is None:
            self._weights = self.reading.neutral_weights(self.model.get_weights())
        return self._weights

    def forget(self) -> None:
        """The weights were changed, or are not needed for a while."""
        self._weights = None

    def again(self) -> None:
        """Begin anew: the user's own weights, and an optimizer that has done nothing."""
        self.forget()
        self.model.start(self.precision)

    def train(self, masks: Mapping[str, Array]) -> float:
        """One whole update as the user's own loop would do it; returns the loss before it."""
        self.forget()
        return self.model.train(self.inputs, self.targets or {}, self.native_masks(masks))

    def apply(self, gradients: Arrays, lr: float | None) -> None:
        """One update by the native optimizer, gradients by the names of the graph."""
        self.forget()
        natives = self.reading.weights
        own = self.model.get_weights()
        self.model.apply(
            {
                natives[name]: self._native(name, array).reshape(own[natives[name]].shape)
                for name, array in gradients.items()
            },
            lr,
        )

    def memory(self) -> State | None:
        """The optimizer's memory by the names of the graph; ``None`` if it cannot be read."""
        state = self.model.get_state()
        if state is None:
            return None
        return State(state.step, {slot: self._slots(arrays) for slot, arrays in state.slots.items()})

    def _slots(self, arrays: Arrays) -> dict[str, Array]:
        """One slot's arrays; those of another shape than their weight's stay as they are."""
        shapes = {item.name: item.shape for item in self.graph.weights}
        found: dict[str, Array] = {}
        for name, native in self.reading.weights.items():
            if native not in arrays:
                continue
            array = np.asarray(arrays[native])
            if array.size == math.prod(shapes[name]):
                found |= self.reading.neutral_weights({native: array})
                found = {key: value for key, value in found.items() if key in shapes}
            else:
                found[name] = array
        return found

    def _native(self, name: str, array: Array) -> Array:
        """A weight of the graph with its first axis as the framework has it."""
        return self.reading.native_rows(name, array) if isinstance(self.reading, Ordered) else np.asarray(array)

    def put_weights(self, weights: Arrays) -> None:
        """Replace some weights, by their names in the graph."""
        own, natives = self.model.get_weights(), self.reading.weights
        given = {natives[name]: self._native(name, array) for name, array in weights.items()}
        self.model.set_weights({name: array.reshape(own[name].shape) for name, array in given.items()})
        self.forget()

    def values(self, observation: Observation) -> Values:
        """What a pass recorded."""
        return Values(self.with_constants(observation.values), self.reading)

    def with_constants(self, arrays: Mapping[int, Array]) -> dict[int, Array]:
        """Values of a pass and those the trace itself holds."""
        return {**self.trace.constants, **self.as_traced(arrays)}

    def as_traced(self, arrays: Mapping[int, Array]) -> dict[int, Array]:
        """Those that have the shape they had in the trace: code that does something else in training has others."""
        known = self.trace.values
        return {
            key: array for key, array in arrays.items() if key in known and np.shape(array) == tuple(known[key].shape)
        }

    def value_gradients(self, observation: Observation) -> Values:
        """The gradients a pass recorded."""
        return Values(self.as_traced(observation.value_gradients), self.reading)

    def gradients(self, observation: Observation) -> dict[str, Array]:
        """Gradients of the weights by name in the graph; those that the framework leaves out are missing."""
        return self.reading.neutral_weights(observation.gradients)

    def buffers(self, observation: Observation) -> dict[str, Array]:
        """What the buffers became, by name in the graph."""
        return self.reading.neutral_weights(observation.buffers)

    @property
    def trained(self) -> set[str]:
        """Names in the graph of the weights that are trained: not frozen, and known to an optimizer there may be."""
        own = set(self.model.parameters)
        if self.model.optimizer is not None:
            own &= set(self.model.optimizer.parameters)
        return {name for name, native in self.reading.weights.items() if native in own}

    def native_masks(self, masks: Mapping[str, Array]) -> dict[str, Array] | None:
        """Masks by node as the native model takes them: by call, of the shape of its output where that is possible."""
        found: dict[str, Array] = {}
        for name, mask in masks.items():
            node, place = self.graph.by_name[name], self.reading.places[name]
            random = next((call for call in place.calls if _draws(call.kind, node)), place.calls[-1])
            whole = (len(mask), *node.shape)
            fits = mask.ndim == len(whole) and all(
                own in (1, size) for own, size in zip(mask.shape, whole, strict=True)
            )
            whole_mask = np.broadcast_to(mask, whole) if fits else mask
            found[random.name] = np.ascontiguousarray(self.reading.native(name, whole_mask)) if fits else mask
        return found or None

    def given(self, name: str) -> Array:
        """The batch of one input of the graph, neutral axes."""
        native = self.reading.inputs.get(name, name)
        array = self.inputs[native] if native in self.inputs else next(iter(self.inputs.values()))
        return self.reading.neutral(name, array)

    def examples(self) -> int:
        """Number of examples in the batch."""
        return len(self.given(self.graph.input_names[0]))  # their axis is not always the first one


def _draws(kind: str, node: Node) -> bool:
    return kind == node.operation


def draw_masks(graph: Graph, examples: int, step: int = 0) -> dict[str, Array]:
    """A mask for each node that draws, shape ``(examples, *node.random_mask)``.

    Args:
        graph: The left side's.
        examples: Number of examples.
        step: Number of the update.
    """
    return {
        node.name: randomness.keep_mask(
            SEED, f"diff/{node.name}", (examples, *(node.random_mask or ())), _rate(node), step=step
        )
        for node in graph.dropouts
    }


def _rate(node: Node) -> float:
    """A rate between 0 and 1, so that something is dropped and something is kept, whatever the layer's own is."""
    rate = float(getattr(node.settings, "rate", None) or getattr(node.settings, "dropout", None) or 0.5)
    return min(max(rate, 0.1), 0.9)


def converted(arrays: Arrays, precision: Precision) -> dict[str, Array]:
    """Arrays in a precision; whole numbers and truth values stay what they are."""
    return {
        name: array.astype(precision) if np.issubdtype(array.dtype, np.floating) else array
        for name, array in arrays.items()
    }
