"""The model an adapter builds: nodes in order, with shapes and parameters worked out.

All of it is plain Python on shapes: an adapter only executes. A layer with an activation becomes two
nodes, so each node is one operation that can be recorded and judged by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from dualml.errors import SpecError
from dualml.spec.layers import Activation, Layer, Shape
from dualml.spec.model import Model
from dualml.spelling import dotted, nearest

INPUT = "input"
"""Name of the model's input."""


@dataclass(frozen=True)
class Parameter:
    """One trainable array.

    Attributes:
        name: Neutral name, ``<node>.<role>``, for example ``dense_1.kernel``.
        shape: Neutral shape.
        initializer: How its first values are drawn.
        fan_in: Number of inputs that feed one output.
        fan_out: Number of outputs that one input feeds.
    """

    name: str
    shape: Shape
    initializer: Any
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique name.
        operation: The layer's kind, for example ``dense``: the key into an adapter's table of layers.
        settings: The layer's settings, every default filled in.
        inputs: Names of the nodes that feed it.
        input_shapes: Their shapes, without the batch axis.
        shape: Shape of one example's output.
        parameters: What it holds.
        path: Where it stands in the config, for messages.
    """

    name: str
    operation: str
    settings: Any
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    parameters: tuple[Parameter, ...]
    path: str

    def parameter(self, role: str) -> Parameter | None:
        """The parameter of that role, if the node has one."""
        return next((item for item in self.parameters if item.name == f"{self.name}.{role}"), None)


@dataclass(frozen=True)
class Graph:
    """A model with everything worked out.

    Attributes:
        input_shape: Shape of one example.
        nodes: The operations, each after those that feed it.
        output: Name of the node whose values the loss takes.
        precision: Number format of weights and arithmetic.
        prediction: What turns the output into a prediction.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str
    precision: Literal["float32", "float64"]
    prediction: Literal["softmax", "identity"]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter, in the order of the nodes."""
        return tuple(parameter for node in self.nodes for parameter in node.parameters)

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def output_shape(self) -> Shape:
        """Shape of one example's output."""
        return self.by_name[self.output].shape

    @property
    def chain(self) -> bool:
        """Whether each node is fed by the one before it alone."""
        names = (INPUT, *(node.name for node in self.nodes))
        return all(node.inputs == (before,) for before, node in zip(names, self.nodes, strict=False))

    @property
    def dropouts(self) -> tuple[Node, ...]:
        """The nodes that need a random mask in training."""
        return tuple(node for node in self.nodes if node.operation == "dropout")


@dataclass
class GraphProblem:
    """One thing that does not fit: ``location`` is the path of the config key at fault."""

    location: tuple[str | int, ...]
    message: str


@dataclass
class _Builder:
    model: Model
    shapes: dict[str, Shape | None] = field(default_factory=dict)  # None: unknown after an error
    ends: dict[str, str] = field(default_factory=dict)  # layer name -> its last node
    nodes: list[Node] = field(default_factory=list)
    problems: list[GraphProblem] = field(default_factory=list)

    def problem(self, index: int, layer: Layer, key: str, message: str) -> None:
        self.problems.append(GraphProblem(("layers", index, layer.kind, key), message))

    def names(self) -> list[str]:
        taken: set[str] = {INPUT}
        for index, layer in enumerate(self.model.layers):
            if layer.name is None:
                continue
            if layer.name in taken:
                why = "is the model's input" if layer.name == INPUT else "names another layer"
                self.problem(index, layer, "name", f"{layer.name!r} {why}; names must be unique")
            taken.add(layer.name)
        counts: dict[str, int] = {}
        names = []
        for layer in self.model.layers:
            name = layer.name
            while name is None or (layer.name is None and name in taken):
                counts[layer.kind] = counts.get(layer.kind, 0) + 1
                name = f"{layer.kind}_{counts[layer.kind]}"
            taken.add(name)
            names.append(name)
        return names

    def sources(self, index: int, layer: Layer, before: str, names: list[str]) -> list[str] | None:
        given = layer.inputs
        if given is None:
            sources = [before]
        else:
            sources = [given] if isinstance(given, str) else list(given)
            for source in sources:
                if source in self.ends:
                    continue
                if source in names:
                    self.problem(index, layer, "inputs", f"{source!r} comes later; a layer's inputs must stand before")
                else:
                    self.problem(index, layer, "inputs", f"no layer is named {source!r}{nearest(source, self.ends)}")
                return None
        fewest, most = layer.fewest_inputs, layer.most_inputs
        if len(sources) < fewest or (most is not None and len(sources) > most):
            wanted = f"exactly {fewest}" if fewest == most else f"at least {fewest}"
            hint = "; name them: inputs: [a, b]" if given is None else ""
            self.problem(index, layer, "inputs", f"takes {wanted} input{'s' * (fewest > 1)}, got {len(sources)}{hint}")
            return None
        return sources

    def append(self, name: str, settings: Layer, sources: list[str], path: str) -> None:
        shapes = tuple(self.shapes[source] or () for source in sources)
        parameters = tuple(
            Parameter(f"{name}.{item.role}", item.shape, item.initializer, item.fan_in, item.fan_out)
            for item in settings.parameters(shapes)
        )
        node = Node(name, settings.kind, settings, tuple(sources), shapes, settings.shape(shapes), parameters, path)
        self.nodes.append(node)
        self.shapes[name] = node.shape

    def run(self) -> str:
        names = self.names()
        self.shapes[INPUT] = self.model.input
        self.ends[INPUT] = INPUT
        before = INPUT
        for index, (layer, name) in enumerate(zip(self.model.layers, names, strict=True)):
            sources = self.sources(index, layer, before, names)
            before = self.ends[name] = name
            self.shapes[name] = None
            ends = [self.ends[source] for source in sources or ()]
            if sources is None or any(self.shapes[end] is None for end in ends):
                continue
            path = f"model.layers[{index}]"
            try:
                self.append(name, layer, ends, path)
            except ValueError as error:
                self.problems.append(GraphProblem(("layers", index, layer.kind), f"layer {name!r}: {error}"))
                continue
            function = getattr(layer, "activation", None)
            if function is not None:
                end = f"{name}_{function.kind}"
                while end in self.shapes or end in names:
                    end += "_"
                self.append(end, Activation(function=function), [name], path)
                self.ends[name] = end
        self.unused(names)
        return self.ends[before]

    def unused(self, names: list[str]) -> None:
        fed = {source for node in self.nodes for source in node.inputs}
        for index, (layer, name) in enumerate(zip(self.model.layers[:-1], names, strict=False)):
            if not self.problems and self.ends[name] not in fed:
                self.problem(
                    index, layer, "name", f"nothing uses layer {name!r}; feed it to a later layer or remove it"
                )


def layer_names(model: Model) -> list[str]:
    """The name of every layer: its own, or its kind and a running number."""
    return _Builder(model).names()


def graph_problems(model: Model) -> list[GraphProblem]:
    """Everything that does not fit in a model's graph: names, inputs, shapes."""
    builder = _Builder(model)
    builder.run()
    return builder.problems


def build_graph(
    model: Model, precision: Literal["float32", "float64"], prediction: Literal["softmax", "identity"]
) -> Graph:
    """Work out a model's graph.

    Args:
        model: The model, every default filled in.
        precision: Number format of weights and arithmetic.
        prediction: What turns the output into a prediction.

    Raises:
        SpecError: Names, inputs or shapes do not fit; the message holds every problem.
    """
    builder = _Builder(model)
    output = builder.run()
    if builder.problems:
        lines = [f"model.{dotted(problem.location)}: {problem.message}" for problem in builder.problems]
        raise SpecError("\n".join(lines))
    return Graph(model.input, tuple(builder.nodes), output, precision, prediction)


def parameter_count(graph: Graph) -> int:
    """Number of trainable values."""
    return sum(math.prod(parameter.shape) for parameter in graph.parameters)
