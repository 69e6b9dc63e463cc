"""Which weights of two aligned graphs stand for each other."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from dualml.native.alignment import Pair
from dualml.native.fingerprints import Fingerprint
from dualml.native.forms import absent, quantities, rows
from dualml.spec.graph import Buffer, Graph, Parameter

Weight = Parameter | Buffer


def weight_pairs(
    pairs: Sequence[Pair],
    left: Graph,
    right: Graph,
    left_prints: Mapping[str, Fingerprint],
    right_prints: Mapping[str, Fingerprint],
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pair weights: within a pair of nodes by role and shape, by the only one of a shape, by numbers, then by order.

    Args:
        pairs: Pairs of nodes.
        left: The left graph.
        right: The right one.
        left_prints: Fingerprints of the left weights.
        right_prints: Of the right ones.

    Returns:
        Pairs of graph names, all of one shape, and a sentence about each weight that is left over.
    """
    found: dict[str, str] = {}
    sides = ("left", "right")

    def alike(a: Weight, b: Weight) -> bool:
        return left_prints[a.name].matches(right_prints[b.name])

    for pair in pairs:
        own, other = _weights(left, pair.left, found), _weights(right, pair.right, list(found.values()))
        _take(own, other, found, lambda a, b: a.role == b.role and a.shape == b.shape)
        own = [item for item in own if item.name not in found]
        alone = [item for item in own if _only(item, own) and _only(item, other)]
        _take(alone, other, found, lambda a, b: a.shape == b.shape and type(a) is type(b))
        own = [item for item in own if item.name not in found]
        _take(own, other, found, lambda a, b: a.shape == b.shape and alike(a, b))
        own = [item for item in own if item.name not in found]
        if [item.shape for item in own] == [item.shape for item in other]:
            _take(own, other, found, lambda a, b: a.shape == b.shape)
    own, other = _weights(left, left.by_name, found), _weights(right, right.by_name, list(found.values()))
    _take(own, other, found, lambda a, b: a.shape == b.shape and alike(a, b))
    forms = quantities(pairs, left, right)
    known = {own for form in forms for own, _, _ in rows(form)}, {other for form in forms for _, other, _ in rows(form)}
    lacking = {own for form in forms for own in absent(form)[0]}, {own for form in forms for own in absent(form)[1]}
    sentences = [
        f"the {side} weight {item.name} of shape {list(item.shape)} has no counterpart"
        + (f": the {sides[1 - place]} layer has no {item.role}" if item.name in lacking[place] else "")
        for place, (side, graph, taken) in enumerate(
            ((sides[0], left, list(found)), (sides[1], right, list(found.values())))
        )
        for item in _weights(graph, graph.by_name, taken)
        if item.name not in known[place]
    ]
    return list(found.items()), sentences


def _weights(graph: Graph, nodes: Iterable[str], taken: Container[str]) -> list[Weight]:
    """The weights of some nodes, each once, that are not taken yet."""
    known = {item.name: item for name in nodes for item in graph.by_name[name].weights}
    return [item for name, item in known.items() if name not in taken]


def _only(item: Weight, among: Sequence[Weight]) -> bool:
    return sum(other.shape == item.shape for other in among) == 1


def _take(
    own: Sequence[Weight], other: list[Weight], found: dict[str, str], fits: Callable[[Weight, Weight], bool]
) -> None:
    """Pair each weight with the first free one that fits."""
    for item in own:
        match = next((one for one in other if item.name not in found and fits(item, one)), None)
        if match is not None:
            found[item.name] = match.name
            other.remove(match)
