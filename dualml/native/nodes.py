"""The nodes of a reading while it grows: unique names, parameters and their owners, places."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dualml.native.calls import UnreadableError
from dualml.native.layouts import neutral_shape
from dualml.native.opaque import Opaque
from dualml.native.protocol import Trace
from dualml.native.reading import Place
from dualml.protocol import Arrays
from dualml.spec.graph import Buffer, Node, Parameter
from dualml.spec.layers import Layer, Shape


def identifier(name: str) -> str:
    """A name as a spec allows it, from any path: ``features.4`` is ``features_4``."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "layer"
    return f"_{plain}" if plain[0].isdigit() else plain


class Nodes:
    """Nodes in order, each with its place.

    Attributes:
        nodes: By name.
        places: Place of each node and each input.
        weights: Native name of each parameter and buffer.
        shapes: Shape of one example of each node and each input.
        arrays: The model's weights, by native name.
    """

    def __init__(self, trace: Trace, arrays: Arrays, trained: Collection[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self.places: dict[str, Place] = {}
        self.weights: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {}
        self._trace = trace
        self.arrays = arrays
        self._trained = trained
        self._graph_names: dict[str, str] = {}  # of each weight, by native name

    def name(self, path: str) -> str:
        """A name nothing has, made of a native path."""
        wanted = identifier(path)
        name, number = wanted, 1
        while name in self.shapes:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def input(self, path: str, place: Place) -> str:
        """Add an input."""
        name = self.name(path)
        self.places[name] = place
        self.shapes[name] = self._neutral(place)
        return name

    def add(self, layer: Layer, path: str, sources: Sequence[str], place: Place, weights: Mapping[str, str]) -> str:
        """Add a node.

        Args:
            layer: What it is.
            path: The native path it is named after.
            sources: What feeds it.
            place: Where its output is.
            weights: Native names of its weights, by role.

        Raises:
            UnreadableError: Shapes of inputs, output or weights do not fit what it claims to be.
        """
        name = self.name(path)
        inputs = tuple(self.shapes[source] for source in sources)
        tied = {role: weights[role] for role in layer.tied()}
        known = (*inputs, *(self._shape(native) for native in tied.values()))
        try:
            shape, mask = layer.shape(known), layer.random_mask(inputs)
            parameters = [
                Parameter(f"{name}.{item.role}", item.role, item.shape, item.initializer, item.fan_in, item.fan_out)
                for item in layer.parameters(known)
            ]
            buffers = [
                Buffer(f"{name}.{item.role}", item.role, item.shape, item.value) for item in layer.buffers(inputs)
            ]
        except ValueError as error:
            raise UnreadableError(f"as a {layer.kind} it would not fit: {error}") from None
        parameters += [Parameter(f"{name}.{role}", role, self._shape(tied[role]), None, 1, 1) for role in tied]
        if shape != self._neutral(place):
            raise UnreadableError(
                f"as a {layer.kind} its output would have shape {list(shape)}, but it has {list(self._neutral(place))}"
            )
        self._check_weights(layer, parameters, buffers, weights)
        owner = self._owner(layer.kind, weights) or name
        if isinstance(layer, Opaque):
            frozen = [item for item in parameters if weights[item.role] not in self._trained]
            parameters = [item for item in parameters if item not in frozen]
            buffers = [Buffer(item.name, item.role, item.shape, 0.0) for item in frozen]
        self.nodes[name] = Node(
            name=name,
            operation=layer.kind,
            settings=layer,
            inputs=tuple(sources),
            input_shapes=inputs,
            shape=shape,
            parameters=tuple(replace(item, name=self._own(item.name, weights[item.role])) for item in parameters),
            buffers=tuple(replace(item, name=self._own(item.name, weights[item.role])) for item in buffers),
            owner=owner,
            random_mask=mask,
            path=path,
        )
        self.places[name] = place
        self.shapes[name] = shape
        return name

    def remove(self, name: str) -> None:
        """Take a node away that nothing reads."""
        del self.nodes[name], self.places[name], self.shapes[name]

    def merge(self, first: Node, second: Node, merged: Node, place: Place) -> None:
        """Replace two nodes, of which the second alone reads the first, by one that has the first one's name."""
        self.remove(first.name)
        at = list(self.nodes).index(second.name)
        self.remove(second.name)
        others = [
            replace(node, inputs=tuple(merged.name if name == second.name else name for name in node.inputs))
            for node in self.nodes.values()
        ]
        others.insert(at, merged)
        self.nodes = {node.name: node for node in others}
        self.places[merged.name], self.shapes[merged.name] = place, merged.shape

    def rename_weight(self, old: str, new: str) -> None:
        """Give a weight another name in the graph."""
        native = self.weights.pop(old)
        self.weights[new] = native
        self._graph_names[native] = new
        for node in list(self.nodes.values()):
            parameters = tuple(replace(item, name=new) if item.name == old else item for item in node.parameters)
            self.nodes[node.name] = replace(node, parameters=parameters)

    def put(self, name: str, node: Node, place: Place) -> None:
        """Replace a node by one of the same name."""
        self.nodes[name], self.places[name], self.shapes[name] = node, place, node.shape

    def prune(self, outputs: Iterable[str]) -> list[str]:
        """Take away what no output is made of.

        Returns:
            Native paths of nodes whose weights nothing else uses now.
        """
        wanted = set(outputs)
        lost = []
        for node in reversed(list(self.nodes.values())):
            if node.name in wanted:
                wanted.update(node.inputs)
                continue
            kept = {item.name for name in wanted & set(self.nodes) for item in self.nodes[name].parameters}
            if any(item.name not in kept for item in node.parameters):
                lost.append(node.path)
            self.remove(node.name)
        return lost[::-1]

    def readers(self, name: str) -> list[str]:
        """The nodes that a node (or an input) feeds."""
        return [node.name for node in self.nodes.values() if name in node.inputs]

    def graph_name(self, native: str) -> str | None:
        """The graph's name of a weight that a node holds already."""
        return self._graph_names.get(native)

    def arrays_of(self, weights: Mapping[str, str]) -> dict[str, Shape]:
        """Shape of each of some weights, by role; those the model has not are missing."""
        return {role: self._shape(native) for role, native in weights.items() if native in self.arrays}

    def _neutral(self, place: Place) -> Shape:
        return neutral_shape(self._trace.values[place.value].shape, place.axes)

    def _shape(self, native: str) -> Shape:
        if native not in self.arrays:
            raise UnreadableError(f"the model has no weight {native!r}")
        return tuple(self.arrays[native].shape)

    def _check_weights(
        self, layer: Layer, parameters: Sequence[Parameter], buffers: Sequence[Buffer], weights: Mapping[str, str]
    ) -> None:
        wanted = {item.role: item.shape for item in parameters} | {item.role: item.shape for item in buffers}
        if set(wanted) != set(weights):
            raise UnreadableError(
                f"a {layer.kind} of these settings holds {', '.join(sorted(wanted)) or 'no weights'}, but it holds "
                f"{', '.join(sorted(weights)) or 'none'}"
            )
        for role, native in weights.items():
            found = self._shape(native)
            if [size for size in found if size != 1] != [size for size in wanted[role] if size != 1]:
                raise UnreadableError(
                    f"as a {layer.kind} its {role} would have shape {list(wanted[role])}, but it has {list(found)}"
                )

    def _owner(self, kind: str, weights: Mapping[str, str]) -> str | None:
        """The earlier node that is the same layer."""
        for node in self.nodes.values():
            own = {item.role: self.weights[item.name] for item in node.weights}
            if weights and node.operation == kind and own == dict(weights):
                return node.owner
        return None

    def _own(self, name: str, native: str) -> str:
        """The graph's name of a weight: that of the first node that holds it."""
        known = self._graph_names.setdefault(native, name)
        self.weights[known] = native
        return known
