"""Both sides in one precision, and what every rung needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dualml.native.alignment import Alignment
from dualml.native.protocol import Precision
from dualml.parity.diff.claims import Claim, Wanted
from dualml.parity.diff.ledger import Ledger
from dualml.parity.diff.objectives import Objectives
from dualml.parity.diff.pairs import Matching
from dualml.parity.diff.side import Side, draw_masks
from dualml.parity.records import Key
from dualml.protocol import Array


@dataclass(frozen=True)
class Seen:
    """A claim judged on some arrays.

    Attributes:
        sources: What it read.
        recorded: What the side gave.
        rho: What came of it.
        wanted: What was wanted.
    """

    sources: tuple[Array, ...]
    recorded: Array
    rho: float | None
    wanted: Wanted

    def same(self, sources: tuple[Array, ...], recorded: Array) -> bool:
        """Whether these are the same numbers."""
        pairs = zip((*self.sources, self.recorded), (*sources, recorded), strict=True)
        return all(np.array_equal(one, two) for one, two in pairs)


@dataclass
class Run:
    """A comparison in one precision.

    Attributes:
        left: The left side; it says what is meant.
        right: The right side.
        alignment: Which nodes stand for each other.
        matching: The same, ready to be judged.
        objectives: What is differentiated, on either side.
        ledger: What is measured.
        local: For each pair the largest rho of each side.
        accumulated: For each pair the largest difference of the outputs in the free forward pass.
        seen: What was judged in inference, by side and output: the same arrays need not be judged again in training.
    """

    left: Side
    right: Side
    alignment: Alignment
    matching: Matching
    objectives: Objectives
    ledger: Ledger
    local: dict[str, tuple[float, float]] = field(default_factory=dict)
    accumulated: dict[str, float] = field(default_factory=dict)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)

    @property
    def precision(self) -> Precision:
        """Number format of both sides."""
        return self.left.precision

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right

    @property
    def decides(self) -> bool:
        """Whether this is the precision that decides."""
        return self.precision == "float64"

    @property
    def frameworks(self) -> tuple[str, str]:
        """Names of both frameworks."""
        return self.left.model.framework, self.right.model.framework

    def masks(self, step: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Shared masks of an update, for the nodes of each side.

        A node of the right side gets the mask of the left node it stands for, so that both drop the same values; one
        without such a node, or of another shape, gets a mask of its own.
        """
        examples = self.left.examples()
        left = draw_masks(self.left.graph, examples, step)
        right = draw_masks(self.right.graph, examples, step)
        for matched in self.matching.pairs:
            own = [name for name in matched.pair.right if name in right]
            shared = [name for name in matched.pair.left if name in left]
            for name, other in zip(own, shared, strict=False):
                if right[name].shape == left[other].shape:
                    right[name] = left[other]
        return left, right

    def meant_masks(self, masks: tuple[Mapping[str, Array], Mapping[str, Array]]) -> dict[str, Array]:
        """The masks that the right side used, by the names of the left nodes that they stand for."""
        found = dict(masks[0])
        for matched in self.matching.pairs:
            own = [name for name in matched.pair.right if name in masks[1]]
            shared = [name for name in matched.pair.left if name in masks[0]]
            for name, other in zip(own, shared, strict=False):
                if masks[1][name].shape == masks[0][other].shape:
                    found[other] = masks[1][name]
        return found

    def note_local(self, name: str, left: float | None, right: float | None) -> None:
        """Keep the largest rho of a pair."""
        one, two = self.local.get(name, (0.0, 0.0))
        self.local[name] = max(one, left or 0.0), max(two, right or 0.0)

    def weight_key(self, phase: str, name: str, tensor: str = "") -> Key:
        """The key of a weight, by its name in the left graph."""
        node, role = name.rsplit(".", 1)
        return Key(phase, node, f"{tensor}.{role}" if tensor else role)


def readable(claim: Claim | None, values: Mapping[str, Array]) -> bool:
    """Whether a claim can be put to recorded values: it has formulas, its sources are there, and nothing is amiss."""
    return claim is not None and not claim.opaque and all(own in values for own in claim.sources.values())


def reads_fit(claim: Claim, values: Mapping[str, Array]) -> bool:
    """Whether the side's values are there and have the shapes that the claim's nodes read."""
    if any(own not in values for own in claim.sources.values()):
        return False
    shapes = {name: values[own].shape[1:] for name, own in claim.sources.items()}
    return all(
        tuple(shapes.get(source, wanted)) == tuple(wanted)
        for node in claim.nodes
        for source, wanted in zip(node.inputs, node.input_shapes, strict=True)
    )


def weights_fit(claim: Claim, weights: Mapping[str, Array]) -> bool:
    """Whether the side's weights have the shapes that the claim's nodes hold."""
    held = {item.name: tuple(item.shape) for node in claim.nodes for item in node.weights}
    return all(tuple(np.shape(weights[own])) == held[name] for name, own in claim.weights.items())


def fits(claim: Claim, values: Mapping[str, Array], weights: Mapping[str, Array]) -> bool:
    """Whether a claim can be evaluated on the side's arrays."""
    return reads_fit(claim, values) and weights_fit(claim, weights)
