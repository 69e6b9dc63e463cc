"""The model an adapter builds: nodes in order, with shapes and parameters worked out.

All of it is plain Python on shapes: an adapter only executes. A layer with an activation becomes two
nodes, so each node is one operation that can be recorded and judged by itself. ``dualml.spec.graph_builder``
makes a graph of a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from dualml.spec.layers import Shape
from dualml.spec.model import INPUT

Precision = Literal["float32", "float64"]
"""How a model's numbers are kept."""
Arithmetic = Literal["float32", "float64", "mixed_bfloat16"]
"""What a spec's ``precision`` can say; the last is explained in ``dualml.spec.mixed``."""
Prediction = Literal["softmax", "sigmoid", "identity"]


@dataclass(frozen=True)
class Parameter:
    """One trainable array.

    Attributes:
        name: Neutral name, ``<node>.<role>`` of the node that owns it, for example ``dense_1.kernel``.
        role: What it is to the node that holds this object; a tied parameter has another role for its owner.
        shape: Neutral shape.
        initializer: How its first values are drawn.
        fan_in: Number of inputs that feed one output.
        fan_out: Number of outputs that one input feeds.
    """

    name: str
    role: str
    shape: Shape
    initializer: Any
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Buffer:
    """One array that is not trained but changes in training: a running statistic.

    Attributes:
        name: Neutral name, ``<node>.<role>``.
        role: What it is to its node.
        shape: Neutral shape.
        value: What every number of it is at first.
    """

    name: str
    role: str
    shape: Shape
    value: float


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique name.
        operation: The layer's kind, for example ``dense``: the key into an adapter's table of layers.
        settings: The layer's settings, every default filled in.
        inputs: Names of the nodes and model inputs that feed it.
        input_shapes: Their shapes, without the batch axis.
        shape: Shape of one example's output.
        parameters: What it trains; a shared layer's and a tied one's belong to another node.
        buffers: What it remembers of the examples it has seen in training.
        owner: Name of the node whose native layer it is: its own, but for a shared layer.
        random_mask: Shape, for one example, of the mask it needs in training; ``None`` if it draws nothing.
        path: Where it stands in the config, for messages.
    """

    name: str
    operation: str
    settings: Any
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    owner: str
    random_mask: Shape | None
    path: str

    def parameter(self, role: str) -> Parameter | None:
        """The parameter of that role, if the node has one."""
        return next((item for item in self.parameters if item.role == role), None)

    @property
    def weights(self) -> tuple[Parameter | Buffer, ...]:
        """Every array it holds: parameters, then buffers."""
        return (*self.parameters, *self.buffers)

    def weight(self, role: str) -> Parameter | Buffer | None:
        """The parameter or buffer of that role, if the node has one."""
        return next((item for item in self.weights if item.role == role), None)


@dataclass(frozen=True)
class GraphInput:
    """One input of the model.

    Attributes:
        name: What nodes call it.
        shape: Shape of one example.
        integer: Whether it holds whole numbers (int64) rather than values in the graph's precision.
    """

    name: str
    shape: Shape
    integer: bool


@dataclass(frozen=True)
class Graph:
    """A model with everything worked out.

    Attributes:
        inputs: What it reads.
        nodes: The operations, each after those that feed it.
        outputs: Names of the nodes whose values the losses take; the first is the main one.
        output_names: The layers' names as the model lists them, by which targets are given.
        precision: Number format of weights, of arrays that come and go, and, unless ``mixed``, of arithmetic.
        predictions: What turns each output into a prediction.
        mixed: Whether layers compute in bfloat16; see ``dualml.spec.mixed``.
    """

    inputs: tuple[GraphInput, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    precision: Precision
    predictions: Mapping[str, Prediction]
    mixed: bool = False

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter once, in the order of the nodes."""
        owned: dict[str, Parameter] = {}
        for node in self.nodes:
            for parameter in node.parameters:
                owned.setdefault(parameter.name, parameter)
        return tuple(owned.values())

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every buffer, in the order of the nodes."""
        return tuple(buffer for node in self.nodes for buffer in node.buffers)

    @property
    def weights(self) -> tuple[Parameter | Buffer, ...]:
        """Every array of the model: parameters, then buffers."""
        return (*self.parameters, *self.buffers)

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(item.name for item in self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of everything that has values: inputs, then nodes."""
        return (*self.input_names, *self.by_name)

    @property
    def output(self) -> str:
        """Name of the main output."""
        return self.outputs[0]

    @property
    def output_shape(self) -> Shape:
        """Shape of one example's main output."""
        return self.by_name[self.output].shape

    @property
    def prediction(self) -> Prediction:
        """What turns the main output into a prediction."""
        return self.predictions[self.output]

    @property
    def chain(self) -> bool:
        """Whether it has one input and one output, each node is fed by the one before it alone, and none is shared."""
        if len(self.inputs) > 1 or self.outputs != (self.nodes[-1].name,):
            return False
        names = (*self.input_names, *(node.name for node in self.nodes))
        return all(
            node.inputs == (before,) and node.owner == node.name
            for before, node in zip(names, self.nodes, strict=False)
        )

    @property
    def dropouts(self) -> tuple[Node, ...]:
        """The nodes that need a random mask in training."""
        return tuple(node for node in self.nodes if node.random_mask is not None)

    def named_inputs(self, inputs: Any) -> dict[str, Any]:
        """Inputs by name: as they are if they are a mapping, else the model's only input.

        Raises:
            ValueError: The names are not the model's inputs.
        """
        return _named(inputs, self.input_names, "inputs")

    def named_targets(self, targets: Any) -> dict[str, Any]:
        """Targets by output node: given by the outputs' names if they are a mapping, else those of the only output.

        Raises:
            ValueError: The names are not the model's outputs.
        """
        found = _named(targets, self.output_names, "outputs' targets")
        return dict(zip(self.outputs, found.values(), strict=True))


def _named(values: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        if len(names) > 1:
            raise ValueError(f"the model's {what} must be given as a mapping of {', '.join(names)} to arrays")
        return {names[0]: values}
    if set(values) != set(names):
        raise ValueError(f"the model's {what} must be exactly {', '.join(names)}; got {', '.join(values) or 'none'}")
    return {name: values[name] for name in names}


def parameter_count(graph: Graph) -> int:
    """Number of trainable values."""
    return sum(math.prod(parameter.shape) for parameter in graph.parameters)


__all__ = [
    "INPUT",
    "Arithmetic",
    "Buffer",
    "Graph",
    "GraphInput",
    "Node",
    "Parameter",
    "Precision",
    "Prediction",
    "parameter_count",
]
