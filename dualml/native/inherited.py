"""What a user's subclass of a stock layer means, told from what it does: it states only what its base class states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dualml.protocol import Array


def alike(one: Sequence[Array], other: Sequence[Array]) -> bool:
    """Whether two runs on the same inputs gave the same numbers, as far as they can be told apart from rounding.

    Half of the digits that the format holds must agree, measured by the largest number: rounding moves the last ones
    only. This decides how a layer is described, not whether it is right; that is judged by certified bounds.
    """
    return len(one) == len(other) and all(map(_alike, one, other))


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    if not (np.isfinite(one) == np.isfinite(other)).all():
        return False
    finite = np.isfinite(one)
    size = np.abs(other[finite]).max(initial=0.0)
    return bool(np.abs(one[finite] - other[finite]).max(initial=0.0) <= np.sqrt(np.finfo(one.dtype).eps) * size)


def batch_norm_settings(
    settings: Mapping[str, Any], x: Array, channel_axis: int, before: Sequence[Array], after: Sequence[Array]
) -> dict[str, Any]:
    """Settings of a batch normalisation that moves its running values by its own code.

    ``running <- momentum running + (1 - momentum) statistic`` with the biased variance ``v`` or the unbiased one
    ``v n / (n - 1)``, or not at all. Code that does something else keeps what its base class states, and is judged
    by that.

    Args:
        settings: Those of ``dualml.spec.layers.BatchNorm`` that the base class states.
        x: What it read, the framework's axes.
        channel_axis: Axis of the channels.
        before: Running mean and variance before a pass in training mode.
        after: Both after it.
    """
    if all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)):
        return {**settings, "frozen": True}
    axes = tuple(axis for axis in range(x.ndim) if axis != channel_axis % x.ndim)
    count = x.size // x.shape[channel_axis]
    if count < 2:
        return dict(settings)
    variance, kept = x.var(axis=axes), settings["momentum"]
    taken = {"biased": variance, "unbiased": variance * (count / (count - 1))}
    meant = {name: (kept * before[1] + (1.0 - kept) * item).astype(after[1].dtype) for name, item in taken.items()}
    found = [name for name, array in meant.items() if _alike(after[1], array)]
    return {**settings, "variance": found[0]} if len(found) == 1 else dict(settings)
