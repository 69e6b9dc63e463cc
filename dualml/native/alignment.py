"""Which layers of two models stand for each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Nodes of both readings that stand for each other; both sides end in one value of the same neutral shape.

    Attributes:
        left: Nodes of the left reading, in order; empty if the right side does something the left does not.
        right: Nodes of the right reading.
        how: Why: ``order``, ``name``, ``shape``, ``weights``, ``mapping file``.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Alignment:
    """The correspondence of two readings.

    Attributes:
        pairs: In the order of execution.
        weights: Left weight (graph name) to right weight (graph name), for those of the same role and neutral shape.
        unmatched: What has no counterpart, a sentence each.
        inputs: Left input to right input, by the names of the graphs.
        outputs: Left output node to right output node.
        shapes_differ: Nodes that stand at the same place and do the same kind of thing, but whose outputs differ in
            shape; not among ``pairs``.
    """

    pairs: tuple[Pair, ...]
    weights: tuple[tuple[str, str], ...]
    unmatched: tuple[str, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    shapes_differ: tuple[Pair, ...] = ()
