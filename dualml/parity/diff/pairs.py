"""The pairs of an alignment as claims: what the left side means, put to either side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dualml.native.alignment import Alignment, Pair
from dualml.native.protocol import OPAQUE
from dualml.parity.diff.claims import Claim
from dualml.parity.hypotheses.claims import differences
from dualml.protocol import Array
from dualml.spec.graph import Graph, Node


@dataclass(frozen=True)
class Matched:
    """A pair of the alignment, ready to be judged.

    Attributes:
        pair: The pair.
        name: What the report calls it: its last left node, or its last right one where there is no left one.
        left: Each left node's claim on the left side.
        own: Each right node's own claim on the right side.
        meant: The left nodes' claim on the right side; ``None``: it cannot be put, ``why`` says the reason.
        why: That reason.
        same: Whether the right node says that it does what the left one means.
        extra: Whether only one side has it.
        turned: Where the right side has one layer for several left nodes, or for one without a formula: that layer's
            claim put to the left side.
    """

    pair: Pair
    name: str
    left: tuple[Claim, ...]
    own: tuple[Claim, ...]
    meant: Claim | None
    why: str = ""
    same: bool = False
    extra: bool = False
    turned: Claim | None = None

    @property
    def whole(self) -> Claim | None:
        """All left nodes together as a claim on the left side itself."""
        if not self.left:
            return None
        nodes = tuple(claim.nodes[0] for claim in self.left)
        inside = {node.name for node in nodes}
        read = dict.fromkeys(source for node in nodes for source in node.inputs if source not in inside)
        held = {name: own for claim in self.left for name, own in claim.weights.items()}
        return Claim(nodes, {name: name for name in read}, nodes[-1].name, held)


@dataclass(frozen=True)
class Matching:
    """Everything the engine needs to know about which is which.

    Attributes:
        pairs: In the order of execution.
        counterpart: Left value (input or node) to the right value that stands for it.
        weights: Left weight to right weight, by the names of the graphs.
        inputs: Left input to right input.
        outputs: Left output node to right output node.
    """

    pairs: tuple[Matched, ...]
    counterpart: dict[str, str]
    weights: dict[str, str]
    inputs: dict[str, str]
    outputs: tuple[tuple[str, str], ...] = ()

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Names of the pairs that pass a gradient to what stands for a left value on the right side."""
        found: dict[str, tuple[str, ...]] = {}
        for name, other in self.counterpart.items():
            reading = [item.name for item in self.pairs if item.meant and other in item.meant.sources.values()]
            own = [item.name for item in self.pairs if any(name in claim.sources for claim in item.left)]
            found[name] = tuple(dict.fromkeys(reading or own))
        return found

    def gradient_at(self, name: str) -> tuple[str, str]:
        """Node and tensor under which the gradient for a left value is filed: with the one layer that passes it."""
        readers = self.readers.get(name, ())
        return (readers[0], f"input {name}") if len(readers) == 1 else (name, "gradient")


def matching(alignment: Alignment, left: Graph, right: Graph, left_weights: dict[str, Array]) -> Matching:
    """Work out for every pair what it must do and where its values are.

    Args:
        alignment: Which nodes stand for each other.
        left: The left graph.
        right: The right graph.
        left_weights: The left side's weights, for those that the right side does not have.
    """
    weights = dict(alignment.weights)
    inputs = dict(alignment.inputs or zip(left.input_names, right.input_names, strict=False))
    roots = _Roots(inputs)
    for pair in alignment.pairs:
        if pair.left and pair.right:
            roots.add(pair, left, right)
    found = []
    for pair in _ordered(alignment, left):
        found.append(_matched(pair, left, right, roots, weights, left_weights))
        if pair not in alignment.shapes_differ:
            roots.add(pair, left, right)
    return Matching(tuple(found), dict(roots.counterpart), weights, inputs, alignment.outputs)


def _ordered(alignment: Alignment, left: Graph) -> list[Pair]:
    """All pairs, those whose shapes differ where the left side executes them."""
    pairs = list(alignment.pairs)
    order = {name: place for place, name in enumerate(left.names)}
    for pair in alignment.shapes_differ:
        place = order[pair.left[-1]]
        behind = [number for number, item in enumerate(pairs) if item.left and order[item.left[-1]] < place]
        pairs.insert(max(behind, default=-1) + 1, pair)
    return pairs


class _Roots:
    """What stands for what so far: nodes that only one side has pass the standing of their input on."""

    def __init__(self, inputs: dict[str, str]) -> None:
        self.counterpart = dict(inputs)
        self.left: dict[str, str] = {name: name for name in inputs}
        self.right: dict[str, str] = {other: name for name, other in inputs.items()}

    def add(self, pair: Pair, left: Graph, right: Graph) -> None:
        if pair.left and pair.right:
            name, other = pair.left[-1], pair.right[-1]
            self.counterpart[name] = other
            self.left[name] = name
            self.right[other] = name
        elif pair.left:
            source = _outside(pair.left, left)[:1]
            root = self.left.get(source[0]) if source else None
            if root is not None:
                self.left[pair.left[-1]] = root
                if root in self.counterpart:
                    self.counterpart[pair.left[-1]] = self.counterpart[root]
        elif pair.right:
            source = _outside(pair.right, right)[:1]
            root = self.right.get(source[0]) if source else None
            if root is not None:
                self.right[pair.right[-1]] = root

    def turned(self) -> _Roots:
        """The same seen from the right side."""
        found = _Roots({})
        found.left, found.right = self.right, self.left
        found.counterpart = {root: root for root in self.right.values()}
        return found


def _outside(names: tuple[str, ...], graph: Graph) -> list[str]:
    """What nodes read from outside, in order, each once."""
    inside = set(names)
    read = [source for name in names for source in graph.by_name[name].inputs]
    return list(dict.fromkeys(source for source in read if source not in inside))


def single(node: Node) -> Claim:
    """What a node says of itself, on its own side."""
    return Claim(
        (node,), {name: name for name in node.inputs}, node.name, {item.name: item.name for item in node.weights}
    )


def _matched(
    pair: Pair, left: Graph, right: Graph, roots: _Roots, weights: dict[str, str], left_weights: dict[str, Array]
) -> Matched:
    lefts = [left.by_name[name] for name in pair.left]
    rights = [right.by_name[name] for name in pair.right]
    name = (pair.left or pair.right)[-1]
    left_claims, own = tuple(map(single, lefts)), tuple(map(single, rights))
    extra = not (pair.left and pair.right)
    sources, why = _sources(pair, left, right, roots)
    meant = None
    if sources is not None:
        output = pair.right[-1] if pair.right else roots.counterpart.get(roots.left.get(sources_of(sources), ""), "")
        why = "" if output else "no value of the right side stands for its output"
        if output:
            held = [item.name for node in lefts for item in node.weights]
            meant = Claim(
                tuple(lefts),
                sources,
                output,
                {item: weights[item] for item in held if item in weights},
                {item: left_weights[item] for item in held if item not in weights},
                tuple(rights) if any(item not in weights for item in held) else (),
            )
    same = len(lefts) == len(rights) == 1 and _same(lefts[0], rights[0])
    turned = None
    written_out = len(lefts) > 1 or any(node.operation == OPAQUE for node in lefts)
    if written_out and len(rights) == 1 and rights[0].operation != OPAQUE:
        turned = _turned(pair, left, right, roots, {other: own for own, other in weights.items()})
    return Matched(pair, name, left_claims, own, meant, why, same, extra, turned)


def _turned(pair: Pair, left: Graph, right: Graph, roots: _Roots, weights: dict[str, str]) -> Claim | None:
    """What the one right node of a pair means, put to the left side; ``None`` where that side lacks something."""
    node = right.by_name[pair.right[0]]
    sources, _ = _sources(Pair(pair.right, pair.left, pair.how), right, left, roots.turned())
    held = [item.name for item in node.weights]
    if sources is None or any(item not in weights for item in held):
        return None
    return Claim((node,), sources, pair.left[-1], {item: weights[item] for item in held})


def sources_of(sources: dict[str, str]) -> str:
    """The first value a claim reads."""
    return next(iter(sources), "")


def _sources(pair: Pair, left: Graph, right: Graph, roots: _Roots) -> tuple[dict[str, str] | None, str]:
    """Where the right side has what the left nodes read."""
    if not pair.left:
        read = _outside(pair.right, right)[:1]
        return ({read[0]: read[0]}, "") if read else (None, "it reads nothing")
    reads, offered = _outside(pair.left, left), _outside(pair.right, right) if pair.right else []
    found: dict[str, str] = {}
    free = list(offered)
    for place, name in enumerate(reads):
        root = roots.left.get(name)
        match = next((item for item in free if root is not None and roots.right.get(item) == root), None)
        if match is not None:
            free.remove(match)
        elif root is not None and root in roots.counterpart:
            match = roots.counterpart[root]  # wired in another way: what is meant reads this
        elif place < len(offered):
            match = offered[place]
        if match is None:
            return None, f"nothing on the right side stands for {name}"
        found[name] = match
    return found, ""


def _same(left: Node, right: Node) -> bool:
    """Whether two nodes claim the same operation."""
    if OPAQUE in (left.operation, right.operation) or left.operation != right.operation:
        return False
    if left.input_shapes != right.input_shapes or left.shape != right.shape:
        return False
    return not any(True for _ in differences(left, right))
