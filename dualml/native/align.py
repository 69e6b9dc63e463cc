"""Finds which nodes of two readings stand for each other: the best way through both orders, step by step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from dualml.native.alignment import Alignment, Pair
from dualml.native.fingerprints import fingerprints
from dualml.native.mapping import Mapped, places_of
from dualml.native.ordering import closed, in_order
from dualml.native.reading import Reading
from dualml.native.scores import NEVER, Scores, Side
from dualml.native.weight_pairs import weight_pairs
from dualml.protocol import Arrays
from dualml.spec.graph import Graph, Node

Step = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of nodes in the left and in the right order that stand for each other."""


def align(
    left: Reading,
    right: Reading,
    weights_left: Arrays,
    weights_right: Arrays,
    mapping: Sequence[Mapped] | None = None,
) -> Alignment:
    """Align two readings.

    Both graphs are put into an order in which each branch is in one piece, then the orders are aligned by a dynamic
    program: nodes alone, nodes that only one side has, and closed groups of nodes, each with a score from kinds,
    shapes, settings, names and weights. A second round also counts whether nodes read what stands for each other.

    Args:
        left: The left model.
        right: The right one.
        weights_left: ``NativeModel.get_weights`` of the left model.
        weights_right: Of the right one.
        mapping: Pairs that the user gives; they hold whatever the scores say.

    Raises:
        ParityError: The mapping names a layer that is not there, or one twice.
    """
    sides = (
        Side(in_order(left.graph), fingerprints(left.neutral_weights(weights_left))),
        Side(in_order(right.graph), fingerprints(right.neutral_weights(weights_right))),
    )
    mapping = mapping or ()
    given: list[Step] = list(
        zip(
            places_of(mapping, left, sides[0].order, "left"),
            places_of(mapping, right, sides[1].order, "right"),
            strict=True,
        )
    )
    inputs = tuple(zip(left.graph.input_names, right.graph.input_names, strict=False))
    scores = Scores(*sides)
    steps = given + _best(scores, left.graph, right.graph, given)
    _tell_sources(sides, steps, inputs)
    steps = given + _best(scores, left.graph, right.graph, given)
    return _Assembly(left, right, sides, steps, len(given), inputs).alignment()


def _tell_sources(sides: tuple[Side, Side], steps: Sequence[Step], inputs: Sequence[tuple[str, str]]) -> None:
    """Note for each node and each input what stands for it on the left."""
    left, right = sides
    left.stands = {name: name for name, _ in inputs} | {node.name: node.name for node in left.order}
    right.stands = {other: name for name, other in inputs}
    for lefts, rights in steps:
        if lefts and rights:
            right.stands[right.order[rights[-1]].name] = left.order[lefts[-1]].name


def _best(scores: Scores, left: Graph, right: Graph, given: Sequence[Step]) -> list[Step]:
    """The steps of the highest total score, in order."""
    fixed = {i for lefts, _ in given for i in lefts}, {j for _, rights in given for j in rights}
    reach = closed(scores.left.order, left), closed(scores.right.order, right)
    rows, columns = len(scores.left.order), len(scores.right.order)
    total = [[NEVER] * (columns + 1) for _ in range(rows + 1)]
    taken: list[list[Step]] = [[((), ())] * (columns + 1) for _ in range(rows + 1)]
    total[0][0] = 0.0
    for i in range(rows + 1):
        for j in range(columns + 1):
            for score, step in _steps(scores, reach, fixed, i, j):
                before = total[i - len(step[0])][j - len(step[1])]
                if before + score > total[i][j]:
                    total[i][j], taken[i][j] = before + score, step
    found = []
    i, j = rows, columns
    while i or j:
        step = taken[i][j]
        i, j = i - len(step[0]), j - len(step[1])
        if not (fixed[0].intersection(step[0]) or fixed[1].intersection(step[1])):
            found.append(step)
    return found[::-1]


def _steps(
    scores: Scores, reach: tuple[list[int], list[int]], fixed: tuple[set[int], set[int]], i: int, j: int
) -> list[tuple[float, Step]]:
    """Everything that can stand at the end of the first ``i`` left and ``j`` right nodes, with its score."""
    found: list[tuple[float, Step]] = []
    if i:
        found.append((0.0 if i - 1 in fixed[0] else scores.gap(scores.left, i - 1), ((i - 1,), ())))
    if j:
        found.append((0.0 if j - 1 in fixed[1] else scores.gap(scores.right, j - 1), ((), (j - 1,))))
    if not i or not j or i - 1 in fixed[0] or j - 1 in fixed[1]:
        return found
    found.append((scores.one(i - 1, j - 1), ((i - 1,), (j - 1,))))
    if scores.left.order[i - 1].shape != scores.right.order[j - 1].shape:
        return found
    for many, more in _sizes(scores, reach[0][i - 1], reach[1][j - 1], i, j):
        lefts, rights = tuple(range(i - many, i)), tuple(range(j - more, j))
        if fixed[0].isdisjoint(lefts) and fixed[1].isdisjoint(rights):
            score = scores.group(lefts, rights)
            if score > NEVER:
                found.append((score, (lefts, rights)))
    return found


def _sizes(scores: Scores, left: int, right: int, i: int, j: int) -> list[tuple[int, int]]:
    """Sizes of groups worth a look: with weights on both sides or on neither."""
    found = [(many, 1) for many in scores.left.fitting(left, i, scores.right.weights_of([j - 1]))]
    found += [(1, more) for more in scores.right.fitting(right, j, scores.left.weights_of([i - 1]))]
    a = scores.left.with_opaque(left, i)
    b = scores.right.with_opaque(right, j) if a else []
    return found + [(many, more) for many in a for more in b]


def turned_round(steps: Sequence[Step], sides: tuple[Side, Side]) -> list[Step]:
    """Steps in which what one side does before and the other behind a node is one with it: ReLU and addition."""
    found = list(steps)
    lonely: list[list[Step]] = [[step for step in steps if step[side] and not step[1 - side]] for side in (0, 1)]
    for first, second in product(*lonely):
        left, right = sides[0].order[first[0][-1]], sides[1].order[second[1][-1]]
        if left.operation != right.operation or first not in found or second not in found:
            continue
        for step in found:
            if len(step[0]) != 1 or len(step[1]) != 1:
                continue
            a, b = sides[0].order[step[0][0]], sides[1].order[step[1][0]]
            if (a.name in left.inputs and right.name in b.inputs and left.shape == b.shape) or (
                left.name in a.inputs and b.name in right.inputs and right.shape == a.shape
            ):
                group = tuple(sorted(first[0] + step[0])), tuple(sorted(second[1] + step[1]))
                found[found.index(step)] = group
                found.remove(first)
                found.remove(second)
                break
    return found


_NUMBERED = re.compile(r"(output)?_?\d*")
"""Names that outputs get which have none."""


class _Assembly:
    """Puts an alignment together."""

    def __init__(
        self,
        left: Reading,
        right: Reading,
        sides: tuple[Side, Side],
        steps: list[Step],
        given: int,
        inputs: tuple[tuple[str, str], ...],
    ) -> None:
        self.left, self.right = left, right
        self.sides = sides
        self.steps = steps[:given] + turned_round(steps[given:], sides)
        self.given = given
        self.inputs = inputs
        self.unmatched: list[str] = []
        self.scores = Scores(*sides)

    def alignment(self) -> Alignment:
        """All of it."""
        pairs: list[tuple[Pair, bool]] = []
        for number, (lefts, rights) in enumerate(self.steps):
            a = [self.sides[0].order[i] for i in lefts]
            b = [self.sides[1].order[j] for j in rights]
            pair = Pair(
                tuple(node.name for node in a),
                tuple(node.name for node in b),
                "mapping file" if number < self.given else self.how(a, b),
            )
            if a and b and a[-1].shape != b[-1].shape:
                self.unmatched.append(
                    f"{self.told(a[-1], self.left)} and {self.told(b[-1], self.right)} stand at the same place, but "
                    f"give shapes {list(a[-1].shape)} and {list(b[-1].shape)} of one example"
                )
                pairs.append((pair, False))
            elif (a and b) or (a or b)[-1].shape in (a or b)[-1].input_shapes[:1]:
                pairs.append((pair, True))
            else:
                self.alone((a or b)[-1], self.left if a else self.right)
        pairs = self.executed(pairs)
        everything = [pair for pair, _ in pairs]
        weights, sentences = weight_pairs(
            everything, self.left.graph, self.right.graph, *(s.prints for s in self.sides)
        )
        outputs = self.outputs([pair for pair, same in pairs if same])
        return Alignment(
            pairs=tuple(pair for pair, same in pairs if same),
            weights=tuple(weights),
            unmatched=(*self.unmatched, *sentences),
            inputs=self.inputs,
            outputs=outputs,
            shapes_differ=tuple(pair for pair, same in pairs if not same),
        )

    def how(self, lefts: Sequence[Node], rights: Sequence[Node]) -> str:
        """Why nodes are a pair."""
        if not lefts or not rights:
            return "order"
        if self.scores.same_weights(lefts, rights):
            return "weights"
        if len(lefts) == len(rights) == 1 and lefts[0].path == rights[0].path:
            return "name"
        return "order" if {node.operation for node in lefts} & {node.operation for node in rights} else "shape"

    def told(self, node: Node, reading: Reading) -> str:
        """A node as a message calls it."""
        calls = reading.places[node.name].calls
        native = calls[-1].native if calls else ""
        where = f" at {calls[-1].where}" if calls and calls[-1].where else ""
        return f"{node.path} ({native or node.operation}{where})"

    def alone(self, node: Node, reading: Reading) -> None:
        """Say that a node has no counterpart."""
        side, other = ("left", "right") if reading is self.left else ("right", "left")
        self.unmatched.append(
            f"{self.told(node, reading)} of the {side} model has no counterpart in the {other} one: "
            f"{[list(shape) for shape in node.input_shapes]} -> {list(node.shape)}"
        )

    def executed(self, pairs: Sequence[tuple[Pair, bool]]) -> list[tuple[Pair, bool]]:
        """The pairs in the order of execution on the left; what the right side alone has, behind what feeds it."""
        places = {name: place for place, name in enumerate(self.left.graph.names)}
        stands = {other: places[name] for name, other in self.inputs}
        for pair, _ in pairs:
            if pair.left and pair.right:
                stands[pair.right[-1]] = places[pair.left[-1]]
        order = {name: place for place, name in enumerate(self.right.graph.names)}
        keys: dict[int, tuple[int, int]] = {}
        for pair, _ in sorted(pairs, key=lambda item: order[item[0].right[-1]] if item[0].right else -1):
            if pair.left:
                keys[id(pair)] = (places[pair.left[-1]], -1)
                continue
            sources = self.right.graph.by_name[pair.right[0]].inputs
            stands[pair.right[-1]] = max((stands.get(source, 0) for source in sources), default=0)
            keys[id(pair)] = (stands[pair.right[-1]], order[pair.right[-1]])
        return sorted(pairs, key=lambda item: keys[id(item[0])])

    def outputs(self, pairs: Sequence[Pair]) -> tuple[tuple[str, str], ...]:
        """Outputs that belong together: by name if both sides have the same names, else by their order."""
        left, right = self.left.outputs, self.right.outputs
        named = not any(_NUMBERED.fullmatch(name) for name in left.values())
        if named and set(left.values()) == set(right.values()):
            by_name = {name: node for node, name in right.items()}
            return tuple((node, by_name[name]) for node, name in left.items())
        ends = {pair.left[-1]: pair.right[-1] for pair in pairs if pair.left and pair.right}
        if len(left) == len(right) and all(ends.get(node) in right for node in left):
            return tuple((node, ends[node]) for node in left)
        return tuple(zip(left, right, strict=False))
