"""A layer evaluated with its weights in another order."""

from __future__ import annotations

from collections.abc import Iterator

from dualml.parity.hypotheses.conventions.base import Flip
from dualml.parity.hypotheses.nodes import Setting
from dualml.parity.hypotheses.rearranged import Rearrangement, head_rearrangements, rearrangements


def reordered(setting: Setting, flattened: tuple[int, ...] | None = None) -> Iterator[Flip]:
    """Every known order of the layer's weights."""
    node, roles = setting.node, setting.roles
    if not roles:
        return
    found = list(rearrangements(node.operation, roles, flattened))
    if node.operation == "attention":
        found += head_rearrangements(node.settings.heads)
    for item in found:

        def make(item: Rearrangement = item) -> Setting:
            return setting.with_(roles={**roles, **item.apply(roles)})

        yield Flip(item.cause, item.said, item.meant, item.instead, make)
