"""What two nodes of the same meaning hold in different weights: two biases for one, one weight for none.

Biases of a recurrent layer that only ever appear as a sum are one quantity, their sum: equal sums mean the same
forwards. Trained, each of them gets the whole gradient, so that the sum of two moves twice as fast as one alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dualml.native.alignment import Pair
from dualml.native.transport import ABSENT, translates
from dualml.protocol import Array, Arrays
from dualml.reference.rounding import Float
from dualml.spec.graph import Graph, Node
from dualml.spec.layers import Gru, Recurrent

BIASES = ("bias", "recurrent_bias")


@dataclass(frozen=True)
class Part:
    """What one weight gives to a quantity.

    Attributes:
        name: The weight, by its name in the side's graph.
        row: Which of two stacked biases; ``None``: all of the weight.
        columns: Of the last axis; ``None``: all.
    """

    name: str
    row: int | None = None
    columns: tuple[int, int] | None = None

    def of(self, array: Array, shape: tuple[int, ...]) -> Float:
        """This part of the weight (or of its gradient), with the quantity's shape."""
        found = np.asarray(array, dtype=np.float64)
        if self.row is not None:
            found = found[self.row]
        if self.columns is not None:
            found = found[..., slice(*self.columns)]
        return found.reshape(shape) if found.size == np.prod(shape) else np.broadcast_to(found, shape)


@dataclass(frozen=True)
class Quantity:
    """A quantity that both sides hold, in other weights.

    Attributes:
        left: The left node.
        right: The right node.
        role: What it is to the left node, or to the right one if the left one has nothing of it.
        shape: Its shape.
        parts: Weights whose sum it is, on the left and on the right; none: that side has no such weight.
        constant: What it is on a side without such a weight.
    """

    left: Node
    right: Node
    role: str
    shape: tuple[int, ...]
    parts: tuple[tuple[Part, ...], tuple[Part, ...]]
    constant: float = 0.0

    @property
    def name(self) -> str:
        """A name like that of a weight of the left graph."""
        own = [part.name for part in self.parts[0]] or [item.name for item in self.left.weights]
        return f"{own[0].rsplit('.', 1)[0] if own else self.left.owner}.{self.role}"

    def value(self, side: int, weights: Arrays) -> Float:
        """What it is.

        Args:
            side: 0: left, 1: right.
            weights: Of that side, by the names of its graph.
        """
        if not self.parts[side]:
            return np.full(self.shape, self.constant)
        total = np.zeros(self.shape)
        for part in self.parts[side]:
            total = total + part.of(weights[part.name], self.shape)
        return total

    def moved(self, side: int, gradients: Arrays, trained: Collection[str]) -> Float:
        """How far a step of size 1 against the gradient moves it: the sum of the gradients of what is trained."""
        own = [part for part in self.trained(side, trained) if part.name in gradients]
        total = np.zeros(self.shape)
        for part in own:
            total = total + part.of(gradients[part.name], self.shape)
        return total

    def trained(self, side: int, trained: Collection[str]) -> tuple[Part, ...]:
        """Its parts that are trained."""
        return tuple(part for part in self.parts[side] if part.name in trained)


def quantities(pairs: Iterable[Pair], left: Graph, right: Graph) -> tuple[Quantity, ...]:
    """Everything that stands for each other in another form than a weight for a weight of its shape.

    Args:
        pairs: Which nodes stand for each other.
        left: The left graph.
        right: The right graph.
    """
    found: dict[tuple[tuple[Part, ...], tuple[Part, ...]], Quantity] = {}
    for pair in pairs:
        if len(pair.left) == len(pair.right) == 1:
            for item in _of_pair(left.by_name[pair.left[0]], right.by_name[pair.right[0]]):
                found.setdefault(item.parts, item)
    return tuple(found.values())


def _of_pair(left: Node, right: Node) -> Iterator[Quantity]:
    if not translates(left, right):
        return
    one, two = left.settings, right.settings
    recurrent = isinstance(one, Recurrent) and isinstance(two, Recurrent)
    if isinstance(one, Recurrent) and isinstance(two, Recurrent) and one.bias_form != two.bias_form:
        yield from _biases(left, right)
    roles = [{item.role: item for item in node.weights} for node in (left, right)]
    for role in dict.fromkeys((*roles[0], *roles[1])):
        if recurrent and role in BIASES:
            continue
        own, other = roles[0].get(role), roles[1].get(role)
        if own is not None and other is not None:
            sizes = {int(np.prod(item.shape)) for item in (own, other)}
            if own.shape != other.shape and (len(sizes) == 1 or (role == "slope" and 1 in sizes)):
                shape = max(own.shape, other.shape, key=np.prod)
                yield Quantity(left, right, role, shape, ((Part(own.name),), (Part(other.name),)))
        elif role in ABSENT:
            item = own or other
            assert item is not None
            parts = (Part(item.name),)
            sides = (parts, ()) if own is not None else ((), parts)
            yield Quantity(left, right, role, item.shape, sides, ABSENT[role])


def _biases(left: Node, right: Node) -> Iterator[Quantity]:
    """Biases of recurrent layers: each by itself where both sides have two, else their sum.

    The reset gate of a GRU multiplies the second bias of the candidate, so that one is never part of a sum.
    """
    settings = left.settings
    assert isinstance(settings, Recurrent)
    columns = settings.gates * settings.units
    apart = all(isinstance(node.settings, Gru) and node.settings.reset_after for node in (left, right))
    held = _held(left), _held(right)
    if all(len(parts) == 2 for parts in held):
        for place, role in enumerate(BIASES):
            sides = (held[0][place],), (held[1][place],)
            yield Quantity(left, right, role, (columns,), sides)
        return
    joined = columns - settings.units if apart else columns
    yield _columns(left, right, "bias", held, (0, joined), (0, 1))
    if joined < columns:
        for place, role in enumerate(BIASES):
            yield _columns(left, right, f"candidate_{role}", held, (joined, columns), (place,))


def _held(node: Node) -> list[Part]:
    """A recurrent layer's biases, the input's first."""
    names = {item.role: item.name for item in node.weights}
    if isinstance(node.settings, Recurrent) and node.settings.bias_form == "stacked":
        return [Part(names["bias"], row) for row in (0, 1)]
    return [Part(names[role]) for role in BIASES if role in names]


def _columns(
    left: Node,
    right: Node,
    role: str,
    held: tuple[list[Part], list[Part]],
    columns: tuple[int, int],
    places: tuple[int, ...],
) -> Quantity:
    one, two = (
        tuple(Part(part.name, part.row, columns) for place, part in enumerate(parts) if place in places)
        for parts in held
    )
    return Quantity(left, right, role, (columns[1] - columns[0],), (one, two))


def rows(found: Quantity) -> Iterator[tuple[str, str, str]]:
    """Weights that stand for each other in it, by the names of the graphs, each with how."""
    for own in found.parts[0]:
        for other in found.parts[1]:
            if any(len(parts) > 1 for parts in found.parts):
                how = "as a sum"
            else:
                numbers = [part.row for part in (own, other) if part.row is not None]
                how = f"row {numbers[0]} of the stacked biases" if numbers else "in another form"
            yield own.name, other.name, how


def absent(found: Quantity) -> tuple[list[str], list[str]]:
    """Weights of the left and of the right side of which the other side has none."""
    left, right = found.parts
    return [] if right else [part.name for part in left], [] if left else [part.name for part in right]
