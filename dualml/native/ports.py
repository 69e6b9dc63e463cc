"""How two sets of weights look: the same numbers, a port with other layouts, or independent of each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dualml.native.alignment import Alignment
from dualml.native.transport import copied
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph

Likeness = Literal["same", "port", "independent"]

_COARSE = 2.0**-7
"""Largest relative error of a number that went through bfloat16, the coarsest format weights are kept in, and back."""
_TELLING = 4
"""Fewer numbers, or equal ones, agree by chance."""


@dataclass(frozen=True)
class Port:
    """How two sets of weights look.

    Attributes:
        likeness: ``same``: equal in every bit that both formats have. ``port``: at least one tensor is equal, or has
            the same numbers in another order, so that one set was made of the other. ``independent``: none is.
        equal: Left weights whose right counterpart is equal.
        moved: Left weights whose numbers the right side has in another order, or rounded to fewer bits.
        different: All others that have a counterpart.
    """

    likeness: Likeness
    equal: tuple[str, ...]
    moved: tuple[str, ...]
    different: tuple[str, ...]


def port(alignment: Alignment, left: Graph, right: Graph, weights_left: Arrays, weights_right: Arrays) -> Port:
    """Compare two sets of weights.

    Tensors that agree by chance - zeros, ones, less than four numbers - count for ``same``, but not for ``port``.

    Args:
        alignment: What stands for what.
        left: The left graph.
        right: The right one.
        weights_left: The left weights by the names of the left graph.
        weights_right: The right ones.
    """
    wanted, _ = copied(alignment, left, right, weights_left)
    pairs = dict(alignment.weights)
    equal, moved, different = [], [], []
    for name, other in pairs.items():
        target = np.asarray(weights_right[other])
        if _equal(wanted[other], target):
            equal.append(name)
        elif _moved(wanted[other], target):
            moved.append(name)
        else:
            different.append(name)
    others = [other for other in wanted if other not in pairs.values()]
    rest = [_equal(wanted[other], np.asarray(weights_right[other])) for other in others]
    lost = [weights_left[name] for name in weights_left if name not in pairs]
    spare = [weights_right[name] for name in weights_right if name not in pairs.values()]
    telling = any(_telling(weights_left[name]) for name in (*equal, *moved))
    telling = telling or _any_moved(lost, spare)
    if not different and not moved and all(rest) and (telling or not _any_telling(weights_left.values())):
        likeness: Likeness = "same"
    else:
        likeness = "port" if telling else "independent"
    return Port(likeness, tuple(equal), tuple(moved), tuple(different))


def _telling(array: Array) -> bool:
    flat = np.ravel(array)
    return flat.size >= _TELLING and bool(np.any(flat != flat[0]))


def _any_telling(arrays: Iterable[Array]) -> bool:
    return any(_telling(np.asarray(array)) for array in arrays)


def _common(a: Array, b: Array) -> tuple[Array, Array]:
    """Both in the narrower of their formats."""
    narrow = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
    return a.astype(narrow), b.astype(narrow)


def _equal(a: Array, b: Array) -> bool:
    a, b = _common(a, b)
    return a.shape == b.shape and bool(np.array_equal(a, b))


def _moved(a: Array, b: Array) -> bool:
    """The same numbers in another order, or the same to the bits of a coarse format."""
    a, b = _common(a, b)
    if a.shape == b.shape and np.all(np.abs(a - b) <= _COARSE * np.abs(a)):
        return True
    if a.size != b.size or not (_telling(a) and _telling(b)):
        return False
    a, b = np.sort(a, axis=None), np.sort(b, axis=None)
    return bool(np.array_equal(a, b))


def _any_moved(lefts: Iterable[Array], rights: Iterable[Array]) -> bool:
    others = [np.asarray(array) for array in rights]
    return any(_telling(array) and _moved(np.asarray(array), other) for array in lefts for other in others)
