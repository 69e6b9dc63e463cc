"""The nodes of a graph in an order that depends on what they feed, not on when they were called."""

from __future__ import annotations

from dualml.spec.graph import Graph, Node

LONGEST = 24
"""Most nodes that one node of the other side can stand for: attention written by hand takes about twenty."""

_COMMUTATIVE = frozenset({"add", "multiply", "average", "maximum", "minimum"})


def in_order(graph: Graph) -> list[Node]:
    """Every node behind those that feed it, each branch in one piece.

    Of what is added or multiplied, and of the outputs, the longer branch comes first, so that it does not matter which
    was written first.
    """
    below = _ancestors(graph)
    found: dict[str, Node] = {}
    shapes = {name: graph.by_name[name].shape for name in graph.outputs}
    outputs = sorted(graph.outputs, key=lambda name: (-below[name].bit_count(), shapes[name]))
    starts = [*outputs, *graph.by_name]
    for start in starts:
        waiting = [start]
        while waiting:
            name = waiting[-1]
            node = graph.by_name.get(name)
            if node is None or name in found:
                waiting.pop()
                continue
            sources = list(node.inputs)
            if node.operation in _COMMUTATIVE:
                sources.sort(key=lambda source: -below.get(source, 0).bit_count())
            missing = [source for source in sources if source in graph.by_name and source not in found]
            if missing:
                waiting.extend(reversed(missing))
            else:
                found[name] = node
                waiting.pop()
    return list(found.values())


def _ancestors(graph: Graph) -> dict[str, int]:
    """The nodes that each node is made of, as bits."""
    found: dict[str, int] = {}
    for place, node in enumerate(graph.nodes):
        own = 1 << place
        for source in node.inputs:
            own |= found.get(source, 0)
        found[node.name] = own
    return found


def closed(order: list[Node], graph: Graph) -> list[int]:
    """For each node of an order, how many nodes up to it at most are read by nobody behind it.

    So many nodes, or fewer, end in one value and can stand for one node.
    """
    places = {node.name: place for place, node in enumerate(order)}
    last = list(range(len(order)))
    for place, node in enumerate(order):
        for source in node.inputs:
            if source in places:
                last[places[source]] = max(last[places[source]], place)
    for name in graph.outputs:
        last[places[name]] = len(order)
    found = []
    for end in range(len(order)):
        length = 1
        while length < LONGEST and end - length >= 0 and last[end - length] <= end:
            length += 1
        found.append(length)
    return found
