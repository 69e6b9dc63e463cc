"""Boundaries between pairs moved to where both sides hold the same value: ``mean`` beside ``sum`` and ``div``.

An alignment goes by order, shapes and names. Where a pair fails, the recorded values say whether the layers around it
belong together in another way: a boundary is moved, or two pairs become one, only if then everything agrees. What
agrees as a whole hides no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from dualml.native.alignment import Alignment, Pair
from dualml.parity.diff.claims import forward
from dualml.parity.diff.ledger import Gap, bits, gap_of
from dualml.parity.diff.pairs import Matched, Matching, matching
from dualml.parity.diff.run import fits, readable
from dualml.parity.diff.side import Side
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.verdict import ROUNDING_BITS
from dualml.protocol import Array

MOST_NODES = 8
"""Most nodes of both sides that are regrouped at once."""
MOST_ROUNDS = 16
"""Regroupings of one comparison."""


def regrouped(
    alignment: Alignment, left: Side, right: Side, values: Mapping[str, Array], weights: dict[str, Array]
) -> Alignment:
    """The alignment with boundaries where the right side's values are what the left side means.

    Args:
        alignment: What stands for what.
        left: The left side.
        right: The right side.
        values: What the right side recorded in inference, in float64.
        weights: The left side's weights.
    """
    for _ in range(MOST_ROUNDS):
        better = _better(_Trial(left, right, values, weights), alignment)
        if better is None:
            break
        alignment = better
    return alignment


class _Trial:
    """Says which pairs of an alignment agree in inference."""

    def __init__(self, left: Side, right: Side, values: Mapping[str, Array], weights: dict[str, Array]) -> None:
        self.left, self.right, self.values, self.weights = left, right, values, weights
        self.own = right.weights()

    def matching(self, alignment: Alignment) -> Matching:
        return matching(alignment, self.left.graph, self.right.graph, self.weights)

    def agrees(self, matched: Matched) -> bool | None:
        """Whether the right side does what the left one means; ``None``: that cannot be said."""
        claim = matched.meant
        if claim is None or not readable(claim, self.values) or claim.output not in self.values:
            return None
        if not fits(claim, self.values, self.own):
            return None
        recorded = self.values[claim.output]
        wanted = forward(claim, self.values, self.own, training=False, masks={}, unit=self.right.unit)
        if wanted.bound is not None:
            return judgement(recorded, wanted.value, wanted.bound * 2.0).rho <= LIMIT
        scale = float(np.abs(wanted.value).max(initial=0.0))
        # As if float32 showed nothing but half a unit in the last place.
        measured = bits({"float32": Gap(0.0, scale), "float64": gap_of(recorded, wanted.value)})
        return measured is not None and measured >= ROUNDING_BITS[0]


def _better(trial: _Trial, alignment: Alignment) -> Alignment | None:
    """The alignment with one more failing pair regrouped; ``None`` if nothing helps."""
    found = trial.matching(alignment)
    verdicts = {id(item): trial.agrees(item) for item in found.pairs}
    for first in found.pairs:
        if verdicts[id(first)] is not False:
            continue
        for second in found.pairs:
            if second is first or not _feeds(trial, first, second):
                continue
            for pairs in _groupings(trial, first.pair, second.pair):
                changed = _with(alignment, first.pair, second.pair, pairs)
                again = trial.matching(changed)
                new = [item for item in again.pairs if item.pair in pairs]
                if len(new) == len(pairs) and all(trial.agrees(item) for item in new):
                    return changed
    return None


def _feeds(trial: _Trial, first: Matched, second: Matched) -> bool:
    """Whether a pair is the only one to read another's value, on each side that has it."""
    for graph, one, two in (
        (trial.left.graph, first.pair.left, second.pair.left),
        (trial.right.graph, first.pair.right, second.pair.right),
    ):
        if not one:
            continue
        readers = {node.name for node in graph.nodes if one[-1] in node.inputs}
        if not readers or not readers <= set(two) or one[-1] in graph.outputs:
            return False
    return True


def _groupings(trial: _Trial, first: Pair, second: Pair) -> Iterator[tuple[Pair, ...]]:
    """Other boundaries between two pairs, then both as one."""
    lefts, rights = (*first.left, *second.left), (*first.right, *second.right)
    if len(lefts) + len(rights) > MOST_NODES or not lefts or not rights:
        return
    for i in range(1, len(lefts)):
        for j in range(1, len(rights)):
            if (lefts[:i], rights[:j]) == (first.left, first.right):
                continue
            shapes = trial.left.graph.by_name[lefts[i - 1]].shape, trial.right.graph.by_name[rights[j - 1]].shape
            if shapes[0] == shapes[1]:
                yield Pair(lefts[:i], rights[:j], "values"), Pair(lefts[i:], rights[j:], "values")
    yield (Pair(lefts, rights, "values"),)


def _with(alignment: Alignment, first: Pair, second: Pair, pairs: tuple[Pair, ...]) -> Alignment:
    kept = [pair for pair in alignment.pairs if pair not in (first, second)]
    place = alignment.pairs.index(second) - (1 if first in alignment.pairs else 0)
    return replace(alignment, pairs=(*kept[:place], *pairs, *kept[place:]))
