"""Orders of axes: how a framework's array and the neutral one of the same values lie to each other.

``axes`` always says: the neutral array is ``array.transpose(axes)``, the batch axis first. All functions are exact
statements about shapes; none touches an array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

Axes = tuple[int, ...]
"""For each axis of a neutral array, the axis of the framework's array it is; the batch axis first."""


def unchanged(rank: int, batch_axis: int = 0) -> Axes:
    """The framework's own order, but for the batch axis, which comes first."""
    return (batch_axis, *(axis for axis in range(rank) if axis != batch_axis))


def behind_batch(rank: int) -> Axes:
    """The order for channels that stand behind the batch: ``(0, 2, 3, 1)`` for four axes."""
    return (0, *range(2, rank), *range(1, min(rank, 2)))


def orders(rank: int) -> list[Axes]:
    """Every order with the batch first; those that models use come first."""
    usual = [unchanged(rank), behind_batch(rank)]
    return list(dict.fromkeys([*usual, *((0, *rest) for rest in permutations(range(1, rank)))]))


def transposition(have: Axes, want: Axes) -> Axes:
    """How a neutral array of the order ``have`` becomes one of the order ``want``.

    With ``p`` the result, ``array.transpose(want) == array.transpose(have).transpose(p)``.
    """
    return tuple(have.index(axis) for axis in want)


def permuted(axes: Axes, permutation: Sequence[int]) -> Axes:
    """The order for ``array.transpose(permutation)`` that leaves the neutral array as it is."""
    place = {axis: new for new, axis in enumerate(permutation)}
    return tuple(place[axis] for axis in axes)


def without(axes: Axes, axis: int) -> Axes:
    """The order for an array that has lost one of its axes."""
    return tuple(other - (other > axis) for other in axes if other != axis)


def neutral_shape(shape: Sequence[int], axes: Axes) -> tuple[int, ...]:
    """Shape of one example of the neutral array."""
    return tuple(shape[axis] for axis in axes[1:])


def keeps_order(p: Axes, shape: Sequence[int]) -> bool:
    """Whether a transposition of an array moves nothing but axes of size 1.

    Args:
        p: The transposition.
        shape: Shape before it, with the batch axis.
    """
    moved = [axis for axis in p if shape[axis] != 1]
    return moved == sorted(moved)


def native_axis(axis: int, rank: int) -> int:
    """The axis a call's setting means, counted from 0 with the first; see ``Call.settings``.

    Raises:
        ValueError: There is none.
    """
    found = axis + 1 if axis >= 0 else axis + rank
    if not 0 <= found < rank:
        raise ValueError(f"axis {axis} of an array of {rank} axes")
    return found


@dataclass(frozen=True)
class Reshaping:
    """How a row-major reshape of the framework's array looks on the neutral one.

    Attributes:
        before: The order the neutral array must have before it; the order it has, if no axis need be moved.
        after: The order of the result.
    """

    before: Axes
    after: Axes


def reshaping(shape: Sequence[int], axes: Axes, target: Sequence[int]) -> Reshaping | None:
    """Work out a reshape that leaves the batch axis whole.

    Axes are matched in groups, the fewest on both sides whose sizes have one product. Where every group's axes are
    neighbours in the neutral array too, its reshape does the same and nothing has to be moved: heights and widths of
    ``(batch, channels, height, width)`` merged are those of ``(height, width, channels)``.

    Args:
        shape: Of the framework's array before.
        axes: Its order.
        target: Of the framework's array after.

    Returns:
        ``None`` if the batch is merged with other axes or cut.
    """
    batch = axes[0]
    lead = math.prod(shape[:batch])
    places = [j for j, size in enumerate(target) if size == shape[batch] and math.prod(target[:j]) == lead]
    if not places:
        return None
    new = places[0]
    groups = _groups(shape, range(batch), target, range(new))
    groups += _groups(shape, range(batch + 1, len(shape)), target, range(new + 1, len(target)))
    order = _order(axes, shape, groups)
    if order is None:
        axes = unchanged(len(shape), batch)
        order = list(range(len(groups)))
    return Reshaping(axes, (new, *_with_ones(order, groups, target, new)))


_Group = tuple[tuple[int, ...], tuple[int, ...]]


def _groups(shape: Sequence[int], of: range, target: Sequence[int], into: range) -> list[_Group]:
    """Axes before and after, those of size 1 left out, in the fewest groups of equal size."""
    sources = [axis for axis in of if shape[axis] != 1]
    ends = [axis for axis in into if target[axis] != 1]
    found: list[_Group] = []
    while sources or ends:
        left, right = [sources.pop(0)], [ends.pop(0)]
        a, b = shape[left[0]], target[right[0]]
        while a != b:
            if a < b:
                left.append(sources.pop(0))
                a *= shape[left[-1]]
            else:
                right.append(ends.pop(0))
                b *= target[right[-1]]
        found.append((tuple(left), tuple(right)))
    return found


def _order(axes: Axes, shape: Sequence[int], groups: Sequence[_Group]) -> list[int] | None:
    """In which order the neutral array has the groups; ``None`` if it has not each in one piece."""
    rest = [axis for axis in axes[1:] if shape[axis] != 1]
    by_first = {group[0][0]: number for number, group in enumerate(groups)}
    order = []
    while rest:
        number = by_first.get(rest[0])
        if number is None or tuple(rest[: len(groups[number][0])]) != groups[number][0]:
            return None
        order.append(number)
        del rest[: len(groups[number][0])]
    return order


def _with_ones(order: Sequence[int], groups: Sequence[_Group], target: Sequence[int], batch: int) -> list[int]:
    """The axes after a reshape, those of size 1 behind the axis they stand behind in the framework's array."""
    found = [axis for number in order for axis in groups[number][1]]
    for axis, size in enumerate(target):
        if size != 1 or axis == batch or axis in found:
            continue
        before = [other for other in range(axis) if other != batch]
        found.insert(found.index(before[-1]) + 1 if before else 0, axis)
    return found
