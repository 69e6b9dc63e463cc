"""Random numbers as pure functions of (seed, path, step): the same in every framework and on every machine.

A counter-based generator needs no state to be carried along: the numbers of step 1,000 of one layer are
computed without those of the steps before, so a resumed, re-ordered or sharded run draws what the
undisturbed one drew. The generator is Philox-4x64-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011), keyed by BLAKE2b of seed and path; the step is the highest word of its counter.

Only the raw 64-bit words of NumPy's ``Philox`` are used: NumPy promises that they never change, and does
not promise it of ``Generator`` methods (NEP 19). What is made of them uses only operations that IEEE 754 rounds
in one way (``dualml.gaussian`` for the normal distribution), so it is bit-identical on every platform.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from dualml.gaussian import quantile


def words(seed: int, path: str, count: int, *, step: int = 0) -> NDArray[np.uint64]:
    """``count`` raw 64-bit words of the stream ``(seed, path, step)``.

    Args:
        seed: Any integer.
        path: What the numbers are for, for example ``"weights/dense_1.kernel"``.
        count: How many words.
        step: Which of the stream's steps, 0 or more.

    Returns:
        Words, shape ``(count,)``, dtype uint64.

    Example:
        >>> bool((words(0, "a", 3) == words(0, "a", 5)[:3]).all())
        True
    """
    digest = hashlib.blake2b(f"{seed}\0{path}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    counter = np.array([0, 0, 0, step], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def integer(seed: int, path: str, *, step: int = 0) -> int:
    """One integer in [0, 2^31): a seed for a framework's own generator."""
    return int(words(seed, path, 1, step=step)[0] >> np.uint64(33))


def uniform(seed: int, path: str, shape: tuple[int, ...], *, step: int = 0) -> NDArray[np.float64]:
    """Numbers uniform in [0, 1): the upper 53 bits of each word times 2^-53.

    Returns:
        Shape ``shape``, dtype float64, filled in C order.
    """
    raw = words(seed, path, math.prod(shape), step=step)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def normal(seed: int, path: str, shape: tuple[int, ...], *, step: int = 0) -> NDArray[np.float64]:
    """Standard normal numbers: the quantiles of ``(k + 1/2) 2^-52`` with ``k`` the upper 52 bits of each word.

    Between -8.21 and 8.21, symmetric about 0 and never infinite.

    Returns:
        Shape ``shape``, dtype float64, filled in C order; the first numbers do not depend on how many are drawn.
    """
    raw = words(seed, path, math.prod(shape), step=step)
    return quantile(((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52).reshape(shape)


def permutation(seed: int, path: str, count: int, *, step: int = 0) -> NDArray[np.int64]:
    """A permutation of ``range(count)``: the stable order of ``count`` random words.

    Returns:
        Shape ``(count,)``, dtype int64.
    """
    return np.argsort(words(seed, path, count, step=step), kind="stable").astype(np.int64)


def keep_mask(seed: int, path: str, shape: tuple[int, ...], rate: float, *, step: int = 0) -> NDArray[np.bool_]:
    """Which values dropout keeps: each with probability ``1 - rate``.

    A word gives two 32-bit draws; a value is kept when its draw is at least ``rate * 2^32``, rounded to an
    integer, so the rate is exact to 2^-33.

    Returns:
        Shape ``shape``, dtype bool, filled in C order.
    """
    count = math.prod(shape)
    raw = words(seed, path, (count + 1) // 2, step=step)
    draws = np.empty((len(raw), 2), dtype=np.uint64)
    draws[:, 0] = raw >> np.uint64(32)
    draws[:, 1] = raw & np.uint64(0xFFFFFFFF)
    threshold = np.uint64(round(rate * 2**32))
    return (draws.reshape(-1)[:count] >= threshold).reshape(shape)
