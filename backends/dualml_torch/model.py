"""The native module of a graph, and a walk through it that shows every node's value."""

from __future__ import annotations

import keyword
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualml.spec.graph import Graph, Node
from dualml_torch.axes import Channels, Plan, first, last, plan_axes
from dualml_torch.layers import JOINS, LAYERS, ROLES, Placement
from dualml_torch.layout import attribute

Watch = Callable[[str, Tensor], Tensor]
"""Takes a node's name and value; what it returns is what later nodes get."""


class ChannelsFirst(nn.Module):
    """Moves the last axis behind the batch axis."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """The same values in another order of axes."""
        return first(input)


class ChannelsLast(nn.Module):
    """Moves the axis behind the batch axis to the end."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """The same values in another order of axes."""
        return last(input)


_CHANGES: Mapping[Channels, type[nn.Module]] = {"first": ChannelsFirst, "last": ChannelsLast}


@dataclass(frozen=True)
class NativeModel:
    """A module with the names that tie it to its graph.

    Attributes:
        module: ``nn.Sequential`` for a chain, else ``fx.GraphModule``.
        names: The submodule's name for each node that has one.
        nodes: The graph's node for each value of the module: for a chain by submodule, else by ``fx`` node.
        plan: Where each value has its channels.
    """

    module: nn.Module
    names: Mapping[str, str]
    nodes: Mapping[str, str]
    plan: Plan

    def walk(self, inputs: tuple[Tensor, ...], watch: Watch) -> Any:
        """Evaluate the module as its own ``forward`` does, and show ``watch`` every node's value.

        Args:
            inputs: One for each of the graph's inputs.
            watch: Called for each node in turn.

        Returns:
            The module's output: a tensor, or a tuple of them for several outputs.
        """
        if isinstance(self.module, fx.GraphModule):
            return _Walker(self.module, self.nodes, watch).run(*inputs)
        value = inputs[0]
        for name, module in self.module.named_children():
            value = module(value)
            if name in self.nodes:
                value = watch(self.nodes[name], value)
        return value


class _Walker(fx.Interpreter):
    """Runs an ``fx`` graph node by node."""

    def __init__(self, module: fx.GraphModule, nodes: Mapping[str, str], watch: Watch) -> None:
        super().__init__(module)
        self.nodes = nodes
        self.watch = watch

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        return self.watch(self.nodes[n.name], value) if n.name in self.nodes else value


def build_model(graph: Graph, placement: Placement) -> NativeModel:
    """Build the module of a graph; parameter values are unset.

    A chain is an ``nn.Sequential`` with the nodes' names, so that ``state_dict`` reads ``dense_1.weight``.
    Any other graph is an ``fx.GraphModule`` of the same modules, whose ``code`` can be read and which
    needs nothing of dualml to run.
    """
    plan = plan_axes(graph)
    names = _module_names(graph)
    modules = {
        names[node.name]: LAYERS[node.operation](node, placement)
        for node in graph.nodes
        if node.operation in LAYERS and node.owner == node.name
    }
    for node in graph.nodes:
        _tie(graph, node, modules, names)
    if graph.chain and all(node.operation in LAYERS for node in graph.nodes):
        return NativeModel(
            _sequential(graph, modules, names, plan), names, {module: node for node, module in names.items()}, plan
        )
    module, nodes = _graph_module(graph, modules, names, plan)
    return NativeModel(module, names, nodes, plan)


def _tie(graph: Graph, node: Node, modules: Mapping[str, nn.Module], names: Mapping[str, str]) -> None:
    """Give a node's module the very parameters that it borrows from another node's."""
    if node.owner != node.name:
        return
    for parameter in node.parameters:
        owner, _, role = parameter.name.rpartition(".")
        if owner == node.name:
            continue
        source = attribute(modules[names[owner]], ROLES[graph.by_name[owner].operation, role].attribute)
        holder, _, last_part = ROLES[node.operation, parameter.role].attribute.rpartition(".")
        setattr(modules[names[node.name]].get_submodule(holder), last_part, source)


def _sequential(graph: Graph, modules: Mapping[str, nn.Module], names: Mapping[str, str], plan: Plan) -> nn.Sequential:
    """A chain; between modules that want channels elsewhere, one that moves them."""
    ordered: OrderedDict[str, nn.Module] = OrderedDict()
    for node in graph.nodes:
        wanted = plan.nodes[node.name]
        if len(node.input_shapes[0]) > 1 and plan.values[node.inputs[0]] != wanted:
            ordered[f"{names[node.name]}_channels_{wanted}"] = _CHANGES[wanted]()
        ordered[names[node.name]] = modules[names[node.name]]
    output = graph.nodes[-1]
    if plan.values[output.name] == "first":
        ordered["output_channels_last"] = ChannelsLast()
    return nn.Sequential(ordered)


def _graph_module(
    graph: Graph, modules: Mapping[str, nn.Module], names: Mapping[str, str], plan: Plan
) -> tuple[fx.GraphModule, dict[str, str]]:
    built = fx.Graph()
    values = {item.name: built.placeholder(item.name) for item in graph.inputs}
    moved: dict[tuple[str, Channels], fx.Node] = {}

    def placed(name: str, rank: int, wanted: Channels) -> fx.Node:
        """A value with its channels where they are wanted."""
        if rank < 2 or plan.values[name] == wanted:
            return values[name]
        if (name, wanted) not in moved:
            ends = (-1, 1) if wanted == "first" else (1, -1)
            moved[name, wanted] = built.call_function(torch.movedim, (values[name], *ends))
        return moved[name, wanted]

    for node in graph.nodes:
        wanted = plan.nodes[node.name]
        inputs = [placed(name, len(shape), wanted) for name, shape in zip(node.inputs, node.input_shapes, strict=True)]
        if node.operation in JOINS:
            values[node.name] = JOINS[node.operation](built, node, inputs, wanted)
        else:
            values[node.name] = built.call_module(names[node.owner], tuple(inputs))
    outputs = tuple(placed(name, len(graph.by_name[name].shape), "last") for name in graph.outputs)
    built.output(outputs[0] if len(outputs) == 1 else outputs)
    nodes = {value.name: name for name, value in values.items() if name in graph.by_name}
    return fx.GraphModule(dict(modules), built, class_name="Model"), nodes


def _module_names(graph: Graph) -> dict[str, str]:
    """Each node's name, with underscores behind it where a module has an attribute or Python a keyword of it."""
    taken = {node.name for node in graph.nodes}
    templates = (nn.Sequential(), fx.GraphModule({}, fx.Graph()))
    names = {}
    for node in graph.nodes:
        name = node.name
        while keyword.iskeyword(name) or any(hasattr(template, name) for template in templates):
            name += "_"
            while name in taken:
                name += "_"
        taken.add(name)
        names[node.name] = name
    return names
