"""Values that nobody says the axes of: what is made of constants, or has no axis of examples, and their readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dualml.native.layouts import Axes, behind_batch, unchanged
from dualml.native.protocol import Call
from dualml.native.reading import Held


@dataclass(frozen=True)
class Hidden:
    """A value that cannot be one of the graph: a constant, what is made of constants, or one without a batch axis.

    Attributes:
        calls: What makes it, in order.
        sources: Values of the graph that it is made of, by key.
    """

    calls: tuple[Call, ...] = ()
    sources: tuple[int, ...] = ()


def guessed_order(made_by: Hidden, shape: tuple[int, ...], held: Mapping[int, Held], examples: int) -> Axes | None:
    """The order of a value nobody says anything about: that of what it is made of, if it can have it.

    Args:
        made_by: What makes it.
        shape: Its shape, with the framework's axes.
        held: What each value of the graph holds.
        examples: Number of examples.

    Returns:
        ``None`` if no axis can be that of the examples.
    """
    if not made_by.sources or examples not in shape:
        return None
    first_call = made_by.calls[-1]
    for source in made_by.sources:
        axes = held[source].axes
        if len(axes) == len(shape) and shape[axes[0]] == examples:
            if first_call.channels_first is not None:
                return behind_batch(len(shape)) if first_call.channels_first else unchanged(len(shape))
            return axes
    before = held[made_by.sources[0]].axes[0]
    candidates = [axis for axis, size in enumerate(shape) if size == examples]
    return unchanged(len(shape), before if before in candidates else candidates[0])
