"""What an alignment by order cannot see: layers that one side has in another order, and pieces of one layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dualml.native.alignment import Alignment, Pair
from dualml.native.protocol import OPAQUE
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph, Node


def repaired(alignment: Alignment, left: Graph, right: Graph, weights: tuple[Arrays, Arrays]) -> Alignment:
    """The alignment with layers of another order paired, and single operations joined to the layer they belong to.

    Args:
        alignment: What stands for what, by order.
        left: The left graph.
        right: The right graph.
        weights: Weights of both sides by the names of their graphs.
    """
    return _joined(_reordered(alignment, left, right, weights), left, right)


def _reordered(alignment: Alignment, left: Graph, right: Graph, weights: tuple[Arrays, Arrays]) -> Alignment:
    """Pairs by weights or by name, for layers of a kind of which each side has one that the order leaves alone."""
    alone = [{graph.by_name[pair[0]].operation for pair in pairs} for graph, pairs in _alone(alignment, left, right)]
    pairs = list(alignment.pairs)
    matched = dict(alignment.weights)
    for kind in sorted(alone[0] & alone[1]):
        own = [pair for pair in pairs if _only(pair, kind, left, right)]
        lefts = [left.by_name[pair.left[0]] for pair in own if pair.left]
        rights = [right.by_name[pair.right[0]] for pair in own if pair.right]
        found = _crosswise(lefts, rights, weights)
        if found is None:
            continue
        pairs = [pair for pair in pairs if pair not in own]
        pairs += [Pair((one.name,), (two.name,), "weights") for one, two in found]
        taken = {item.name for _, two in found for item in two.weights}
        matched = {name: other for name, other in matched.items() if other not in taken}
        for one, two in found:
            roles = {item.role: item for item in two.weights}
            matched |= {item.name: roles[item.role].name for item in one.weights if item.role in roles}
    order = {name: place for place, name in enumerate(left.names)}
    behind = {name: place for place, name in enumerate(right.names)}
    counterpart = {pair.right[-1]: order[pair.left[-1]] for pair in pairs if pair.left and pair.right}

    def place(pair: Pair) -> tuple[int, int]:
        if pair.left:
            return order[pair.left[-1]], -1
        before = [found for name, found in counterpart.items() if behind[name] < behind[pair.right[0]]]
        return max(before, default=-1), behind[pair.right[0]]

    return replace(alignment, pairs=tuple(sorted(pairs, key=place)), weights=tuple(matched.items()))


def _alone(alignment: Alignment, left: Graph, right: Graph) -> list[tuple[Graph, list[tuple[str, ...]]]]:
    """Nodes that only one side has, for each side."""
    return [
        (left, [pair.left for pair in alignment.pairs if len(pair.left) == 1 and not pair.right]),
        (right, [pair.right for pair in alignment.pairs if len(pair.right) == 1 and not pair.left]),
    ]


def _only(pair: Pair, kind: str, left: Graph, right: Graph) -> bool:
    """Whether a pair is one node of a kind on each side, or on the only side it has."""
    nodes = [left.by_name[name] for name in pair.left] + [right.by_name[name] for name in pair.right]
    return len(pair.left) <= 1 and len(pair.right) <= 1 and all(node.operation == kind for node in nodes)


def _crosswise(lefts: list[Node], rights: list[Node], weights: tuple[Arrays, Arrays]) -> list[tuple[Node, Node]] | None:
    """A partner for every node: the one with the same weights, or else the one of the same name; ``None``: not all."""
    if len(lefts) != len(rights):
        return None
    for alike in (_same_weights, _same_name):
        free, found = list(rights), []
        for one in lefts:
            match = [two for two in free if one.shape == two.shape and alike(one, two, weights)]
            if len(match) != 1:
                break
            free.remove(match[0])
            found.append((one, match[0]))
        if len(found) == len(lefts):
            return found
    return None


def _same_weights(one: Node, two: Node, weights: tuple[Arrays, Arrays]) -> bool:
    roles = {item.role: weights[1][item.name] for item in two.weights if item.name in weights[1]}
    arrays = [(weights[0][item.name], roles.get(item.role)) for item in one.weights if item.name in weights[0]]
    telling = any(_telling(array) for array, _ in arrays)
    return telling and all(other is not None and np.array_equal(array, other) for array, other in arrays)


def _telling(array: Array) -> bool:
    flat = np.ravel(array)
    return flat.size > 1 and bool((flat != flat[0]).any())


def _same_name(one: Node, two: Node, weights: tuple[Arrays, Arrays]) -> bool:  # noqa: ARG001
    return one.path == two.path


def _joined(alignment: Alignment, left: Graph, right: Graph) -> Alignment:
    """Operations without a formula that only one side has, joined to the only layer that reads them."""
    pairs = list(alignment.pairs)
    for pair in alignment.pairs:
        if pair.left and pair.right:
            continue
        on_left = bool(pair.left)
        graph, names = (left, pair.left) if on_left else (right, pair.right)
        if any(graph.by_name[name].operation != OPAQUE for name in names):
            continue
        outside = {node.name for node in graph.nodes if names[-1] in node.inputs}
        readers = [
            item for item in pairs if item.left and item.right and outside & set(item.left if on_left else item.right)
        ]
        if len(readers) != 1 or not outside <= set(readers[0].left if on_left else readers[0].right):
            continue
        whole = readers[0]
        joined = replace(whole, left=(*names, *whole.left)) if on_left else replace(whole, right=(*names, *whole.right))
        pairs[pairs.index(whole)] = joined
        pairs.remove(pair)
    return replace(alignment, pairs=tuple(pairs))
