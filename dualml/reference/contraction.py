"""Einstein's notation for two arrays, done as one matrix product of a stack of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dualml.reference.rounding import Float


@dataclass(frozen=True)
class Contraction:
    """``left,right->out``, a letter for each axis.

    Attributes:
        left: Letters of the first array, each once.
        right: Letters of the second.
        out: Letters of the result; the others are summed over.
    """

    left: str
    right: str
    out: str

    @staticmethod
    @lru_cache(maxsize=512)
    def parse(subscripts: str, left_rank: int, right_rank: int) -> Contraction:
        """Read ``"bi,ij->bj"``; ``...`` stands for further axes in front, the same in both arrays or in one.

        Raises:
            ValueError: It is not of this form, or does not fit arrays of these ranks.
        """
        form = f"a contraction must read like 'bi,ij->bj', every letter once in each part, got {subscripts!r}"
        operands, arrow, out = subscripts.replace(" ", "").partition("->")
        left, comma, right = operands.partition(",")
        if not arrow or not comma or "," in right:
            raise ValueError(form)
        free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in subscripts]
        extra = {part: rank - len(part) + 3 for part, rank in ((left, left_rank), (right, right_rank)) if "..." in part}
        most = "".join(free[: max(extra.values(), default=0)])
        left = left.replace("...", most[len(most) - extra.get(left, 0) :])
        right = right.replace("...", most[len(most) - extra.get(right, 0) :])
        out = out.replace("...", most)
        known = set(left) | set(right)
        if any(len(set(part)) != len(part) for part in (left, right, out)) or not set(out) <= known:
            raise ValueError(form)
        if (len(left), len(right)) != (left_rank, right_rank):
            raise ValueError(f"contraction {subscripts!r} does not fit arrays of {left_rank} and {right_rank} axes")
        return Contraction(left, right, out)

    def count(self, left_shape: tuple[int, ...], right_shape: tuple[int, ...]) -> int:
        """Number of products in each sum."""
        sizes = dict(zip(self.left, left_shape, strict=True)) | dict(zip(self.right, right_shape, strict=True))
        return int(np.prod([size for letter, size in sizes.items() if letter not in self.out], dtype=np.int64))

    def __call__(self, a: Float, b: Float) -> Float:
        a, left = _drop(a, self.left, set(self.right) | set(self.out))
        b, right = _drop(b, self.right, set(self.left) | set(self.out))
        stack = [letter for letter in left if letter in right and letter in self.out]
        inner = [letter for letter in left if letter in right and letter not in self.out]
        rows = [letter for letter in left if letter not in right]
        columns = [letter for letter in right if letter not in left]
        sizes = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))
        for letter in (*stack, *inner):
            if a.shape[left.index(letter)] != b.shape[right.index(letter)]:
                raise ValueError(f"contraction {self}: axis {letter!r} differs, {a.shape} and {b.shape}")

        def size(letters: list[str]) -> int:
            return int(np.prod([sizes[letter] for letter in letters], dtype=np.int64))

        first = a.transpose([left.index(letter) for letter in (*stack, *rows, *inner)])
        second = b.transpose([right.index(letter) for letter in (*stack, *inner, *columns)])
        product = np.matmul(
            first.reshape(size(stack), size(rows), size(inner)),
            second.reshape(size(stack), size(inner), size(columns)),
        )
        letters = [*stack, *rows, *columns]
        spread = product.reshape([sizes[letter] for letter in letters])
        return np.asarray(spread.transpose([letters.index(letter) for letter in self.out]))


def _drop(array: Float, letters: str, kept: set[str]) -> tuple[Float, str]:
    """Sum over the axes that only this array has and the result does not."""
    axes = tuple(axis for axis, letter in enumerate(letters) if letter not in kept)
    remaining = "".join(letter for letter in letters if letter in kept)
    return (array.sum(axis=axes), remaining) if axes else (array, remaining)
