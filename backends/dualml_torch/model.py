"""The native module of a graph, and a walk through it that shows every node's value."""

from __future__ import annotations

import keyword
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from dualml.spec.graph import INPUT, Graph
from dualml_torch.layers import JOINS, LAYERS, Placement

Watch = Callable[[str, Tensor], Tensor]
"""Takes a node's name and value; what it returns is what later nodes get."""


@dataclass(frozen=True)
class NativeModel:
    """A module with the names that tie it to its graph.

    Attributes:
        module: ``nn.Sequential`` for a chain, else ``fx.GraphModule``.
        names: The submodule's name for each node that has one.
        nodes: The graph's node for each value of the module: for a chain by submodule, else by ``fx`` node.
    """

    module: nn.Module
    names: Mapping[str, str]
    nodes: Mapping[str, str]

    def walk(self, inputs: Tensor, watch: Watch) -> Tensor:
        """Evaluate the module as its own ``forward`` does, and show ``watch`` every node's value.

        Args:
            inputs: Shape ``(examples, *graph.input_shape)``.
            watch: Called for each node in turn.

        Returns:
            The module's output.
        """
        if isinstance(self.module, fx.GraphModule):
            return _Walker(self.module, self.nodes, watch).run(inputs)  # type: ignore[no-any-return]
        value = inputs
        for name, module in self.module.named_children():
            value = watch(self.nodes[name], module(value))
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
    names = _module_names(graph)
    modules = {
        names[node.name]: LAYERS[node.operation](node, placement) for node in graph.nodes if node.operation in LAYERS
    }
    if graph.chain and graph.output == graph.nodes[-1].name:
        return NativeModel(nn.Sequential(OrderedDict(modules)), names, {module: node for node, module in names.items()})
    built = fx.Graph()
    values = {INPUT: built.placeholder(INPUT)}
    for node in graph.nodes:
        inputs = [values[source] for source in node.inputs]
        if node.operation in JOINS:
            values[node.name] = JOINS[node.operation](built, node, inputs)
        else:
            values[node.name] = built.call_module(names[node.name], (inputs[0],))
    built.output(values[graph.output])
    nodes = {value.name: name for name, value in values.items() if name != INPUT}
    return NativeModel(fx.GraphModule(modules, built, class_name="Model"), names, nodes)


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
