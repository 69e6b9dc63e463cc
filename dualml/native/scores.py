"""How well nodes of two models go together: numbers that only their order among each other gives a meaning."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

from dualml.native.fingerprints import Fingerprint
from dualml.native.protocol import OPAQUE
from dualml.spec.graph import Node

NEVER = -math.inf

BOTH = 8
"""Most nodes of a group where both sides have several."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "convolution": ("conv", "depthwise_conv"),
    "dense": ("dense", "tied_dense"),
    "activation": ("activation", "prelu"),
    "normalisation": ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "unit_norm"),
    "pooling": ("max_pool", "average_pool", "adaptive_", "global_"),
    "shape": ("flatten", "reshape", "permute"),
    "part": ("slice", "select", "crop"),
    "random": ("dropout", "spatial_dropout", "alpha_dropout", "stochastic_depth"),
    "merge": ("add", "subtract", "multiply", "average", "maximum", "minimum", "concat"),
    "recurrent": ("lstm", "gru", "simple_rnn"),
    "positions": ("position_",),
    "embedding": ("embedding",),
}


_ARITHMETIC = frozenset({OPAQUE, "activation", "add", "subtract", "multiply", "maximum", "minimum", "average"})


_AROUND = frozenset({OPAQUE, "permute", "pad"})
"""What people write around a layer, or in its place, where it does not do what they want."""


def family(kind: str) -> str:
    """What kind of thing a kind is; its own for one that has no relatives."""
    for name, beginnings in _FAMILIES.items():
        exact = name in ("merge", "activation", "dense", "embedding", "shape", "part", "recurrent", "random")
        if kind in beginnings or (not exact and kind.startswith(beginnings)):
            return name
    return kind


@dataclass
class Side:
    """One model's nodes as they are compared.

    Attributes:
        order: The nodes, as ``ordering.in_order`` has them.
        prints: Fingerprint of each weight, by the graph's name.
        stands: What stands for each node and each input on the left; filled in after a first round.
    """

    order: list[Node]
    prints: Mapping[str, Fingerprint]
    stands: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = [sum(math.prod(item.shape) for item in node.weights) for node in self.order]
        self.trained = [sum(math.prod(item.shape) for item in node.parameters) for node in self.order]
        self.sums = list(accumulate(self.sizes, initial=0))
        self.trained_sums = list(accumulate(self.trained, initial=0))
        self.opaque_sums = list(accumulate((node.operation == OPAQUE for node in self.order), initial=0))
        self._fitting: dict[tuple[int, tuple[int, int]], list[int]] = {}
        self.families = [family(node.operation) for node in self.order]
        self.opaque = [node.operation == OPAQUE for node in self.order]

    def weights_of(self, places: Sequence[int]) -> tuple[int, int]:
        """How many numbers nodes at neighbouring places hold, and how many of them are trained."""
        start, end = places[0], places[-1] + 1
        return self.sums[end] - self.sums[start], self.trained_sums[end] - self.trained_sums[start]

    def fitting(self, reach: int, end: int, wanted: tuple[int, int]) -> list[int]:
        """How many nodes up to a place, two or more, together hold as many numbers as is wanted.

        Args:
            reach: How many there may be.
            end: The place behind the last.
            wanted: As ``weights_of`` gives it.
        """
        if (end, wanted) not in self._fitting:
            found = []
            for many in range(2, reach + 1):
                own = self.weights_of([end - many, end - 1])
                if own[0] > wanted[0] and own[1] > wanted[1]:
                    break
                if own[0] == wanted[0] or own[1] == wanted[1] > 0:
                    found.append(many)
            self._fitting[end, wanted] = found
        return self._fitting[end, wanted]

    def reads(self, places: Sequence[int]) -> list[str]:
        """What stands on the left for what nodes read from outside, sorted."""
        nodes = [self.order[place] for place in places]
        inside = {node.name for node in nodes}
        outside = {source for node in nodes for source in node.inputs if source not in inside}
        return sorted(self.stands.get(source, "") for source in outside)

    def is_module(self, places: Sequence[int]) -> bool:
        """Whether nodes are all that one part of the model does: ``act1.mul`` and ``act1.clamp``."""
        owners = {self.order[place].path.rpartition(".")[0] for place in places}
        owner = min(owners)
        if len(owners) != 1 or not owner:
            return False
        return len(places) == sum(node.path.startswith(f"{owner}.") for node in self.order)

    def is_formula(self, places: Sequence[int]) -> bool:
        """Whether nodes compute something from one value that they use twice, with arithmetic alone: ``x s(x)``."""
        nodes = [self.order[place] for place in places]
        if any(node.weights or node.operation not in _ARITHMETIC for node in nodes):
            return False
        if any(node.shape != nodes[-1].shape for node in nodes):
            return False  # it takes means or sums: a normalisation
        inside = {node.name for node in nodes}
        reads = [source for node in nodes for source in node.inputs]
        outside = {source for source in reads if source not in inside}
        return len(outside) == 1 and len(reads) > len(nodes)

    def with_opaque(self, reach: int, end: int) -> list[int]:
        """Sizes of groups of several nodes up to a place, one of them opaque."""
        counts = self.opaque_sums
        return [many for many in range(2, min(reach, BOTH) + 1) if counts[end] > counts[end - many]]


class Scores:
    """Scores of pairs of two models.

    Args:
        left: The left nodes.
        right: The right ones.
    """

    def __init__(self, left: Side, right: Side) -> None:
        self.left = left
        self.right = right
        self._known: dict[tuple[int, int], float] = {}
        self._groups: dict[tuple[int, int, int, int], float] = {}

    def one(self, i: int, j: int) -> float:
        """Of one node against one."""
        return self._with_sources(self.raw(i, j), [i], [j])

    def raw(self, i: int, j: int) -> float:
        """The same, whatever they read."""
        if (i, j) not in self._known:
            self._known[i, j] = self._one(i, j)
        return self._known[i, j]

    def _with_sources(self, score: float, lefts: Sequence[int], rights: Sequence[int]) -> float:
        """A score with whether both sides read what stands for each other."""
        if score == NEVER or not self.left.stands:
            return score
        return score + 1.5 * (self.left.reads(lefts) == self.right.reads(rights))

    def _one(self, i: int, j: int) -> float:
        left, right = self.left.order[i], self.right.order[j]
        if left.operation == right.operation != OPAQUE:
            score = 5.0
        elif self.left.families[i] == self.right.families[j]:
            score = 3.0
        elif self.left.opaque[i] or self.right.opaque[j]:
            score = 1.0
            if not self._equal_sizes([i], [j]):
                return NEVER
        else:
            return NEVER
        if left.shape != right.shape:
            if score < 3.0 or (self.left.opaque[i] and self.right.opaque[j]):
                return NEVER
            score -= 3.5
        score += 0.5 * (left.input_shapes == right.input_shapes)
        score += 0.5 * bool(left.settings == right.settings) + 0.5 * bool(_function(left) == _function(right))
        score += float(_shapes(left) == _shapes(right))
        score += min(3.0 * self.same_weights([left], [right]), 6.0)
        score += _names(left.path, right.path)
        return score

    def gap(self, side: Side, place: int) -> float:
        """Of a node that only one side has."""
        node = side.order[place]
        if side.sizes[place]:
            return -3.0
        return -0.6 if node.shape in node.input_shapes[:1] else -1.5

    def group(self, lefts: Sequence[int], rights: Sequence[int]) -> float:
        """Of several nodes against one or several, each side ending in one value."""
        key = lefts[0], lefts[-1], rights[0], rights[-1]
        if key not in self._groups:
            self._groups[key] = self._group(lefts, rights)
        return self._with_sources(self._groups[key], lefts, rights)

    def _group(self, lefts: Sequence[int], rights: Sequence[int]) -> float:
        a, b = self.left.order[lefts[-1]], self.right.order[rights[-1]]
        if a.shape != b.shape or not self._equal_sizes(lefts, rights):
            return NEVER
        kinds = [self.left.order[i].operation for i in lefts], [self.right.order[j].operation for j in rights]
        long, single = (kinds[0], kinds[1]) if len(lefts) > 1 else (kinds[1], kinds[0])
        weights = self.left.weights_of(lefts)[0] > 0
        size = 0.1 * (len(lefts) + len(rights))
        if len(lefts) > 1 and len(rights) > 1:
            mixed = OPAQUE in kinds[0] and OPAQUE in kinds[1]
            return 1.5 + 2.0 * weights - size if mixed else NEVER
        side, places = (self.left, lefts) if len(lefts) > 1 else (self.right, rights)
        other, alone = (self.right, rights[-1]) if len(lefts) > 1 else (self.left, lefts[-1])
        written_out = self._written_out(lefts, rights)
        if single == ["activation"]:
            if side.is_formula(places):
                return 9.5 - size
            if written_out > NEVER:
                return written_out
            if any(side.order[place].shape != a.shape for place in places) and not _sums(other, alone):
                return NEVER
        if written_out > NEVER:
            return written_out
        if single[0] in long and OPAQUE not in long:
            return NEVER
        return 2.0 + 3.0 * weights - size + 0.5 * (OPAQUE in long)

    def _written_out(self, lefts: Sequence[int], rights: Sequence[int]) -> float:
        """Of one layer against a layer and what somebody wrote around it, or against operations written instead of it.

        As good as the layer alone, and better than leaving what is around it with nothing.
        """
        several = len(lefts) > 1
        side, places = (self.left, lefts) if several else (self.right, rights)
        other, alone = (self.right, rights[-1]) if several else (self.left, lefts[-1])
        if other.opaque[alone]:
            return NEVER
        alike = {place: self.raw(place, alone) if several else self.raw(alone, place) for place in places}
        best = max(alike, key=lambda place: alike[place])
        around = [side.order[place].operation for place in places if place != best]
        if not _AROUND.issuperset(around):
            return NEVER
        ends = {side.order[place].operation for place in (places[0], places[-1])}
        if "permute" in around and ends != {"permute"}:
            return NEVER  # axes that are turned and stay so are no part of the layer
        each = 0.1 if other.sizes[alone] else 0.5  # arithmetic is written instead of what has no weights
        return alike[best] + each * len(around) + 1.0 * side.is_module(places)

    def _equal_sizes(self, lefts: Sequence[int], rights: Sequence[int]) -> bool:
        """Whether both have as many weights, or as many trained ones."""
        (a, trained), (b, others) = self.left.weights_of(lefts), self.right.weights_of(rights)
        return a == b or trained == others > 0

    def same_weights(self, lefts: Sequence[Node], rights: Sequence[Node]) -> int:
        """How many weights hold the same numbers."""
        others = [self.right.prints[item.name] for node in rights for item in node.weights]
        own = [self.left.prints[item.name] for node in lefts for item in node.weights]
        return sum(any(item.matches(other) for other in others) for item in own)


def _sums(side: Side, place: int) -> bool:
    """Whether an activation is one that takes a sum over an axis."""
    return hasattr(_function(side.order[place]), "axis")


def _function(node: Node) -> object:
    return getattr(node.settings, "function", None)


def _shapes(node: Node) -> list[tuple[str, tuple[int, ...]]]:
    return sorted((item.role, item.shape) for item in node.weights)


def _names(left: str, right: str) -> float:
    """How alike two paths are: 1 if they are the same, up to 0.5 otherwise."""
    if left == right:
        return 1.0
    return 0.5 * _likeness(left.rsplit(".", 1)[-1].lower(), right.rsplit(".", 1)[-1].lower())


@lru_cache(maxsize=65536)
def _likeness(left: str, right: str) -> float:
    return difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()
