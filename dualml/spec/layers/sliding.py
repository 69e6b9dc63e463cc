"""Windows that slide along the spatial axes of a value: sizes of one or several axes, padding, numbers of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualml.spec.layers.base import PositiveInt, Shape

NonNegativeInt = Annotated[int, Field(ge=0)]

Sizes: TypeAlias = PositiveInt | Annotated[tuple[PositiveInt, ...], Field(strict=False)]
"""One number for all spatial axes, or one for each."""

Amounts: TypeAlias = (
    NonNegativeInt
    | Annotated[
        tuple[NonNegativeInt | Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(strict=False)], ...],
        Field(strict=False),
    ]
)
"""Values put on both sides of all axes, or for each axis a number or a pair ``[before, after]``."""

Padding: TypeAlias = Literal["valid", "same", "symmetric", "causal"] | Amounts
"""``valid``: none. ``same``: the output has ``ceil(n / stride)`` values, an odd one goes to the end (as in Keras).
``symmetric``: ``dilation (k // 2)`` on both sides, as PyTorch users write. ``causal``: ``dilation (k - 1)`` before, of
one spatial axis. Or the amounts themselves."""

Cropping: TypeAlias = Literal["valid", "same", "symmetric"] | Amounts
"""What is taken off again where windows are added up: the reverse of ``Padding``."""

PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
"""What padding consists of: zeros, the mirrored value (the edge once), the edge's value, the other end's values."""

Pairs = tuple[tuple[int, int], ...]
"""Values ``(before, after)`` each axis."""


def per_axis(value: int | tuple[int, ...], rank: int, name: str) -> tuple[int, ...]:
    """A size for each spatial axis.

    Raises:
        ValueError: Their number is not that of the axes.
    """
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        raise ValueError(f"{name} must be one number{_or_each(rank)}, got {list(value)}")
    return value


def _or_each(rank: int) -> str:
    return "" if rank == 1 else f" or {rank} of them, one for each spatial axis"


def amounts(value: Amounts, rank: int, name: str) -> Pairs:
    """A pair for each spatial axis.

    Raises:
        ValueError: Their number is not that of the axes.
    """
    if isinstance(value, int):
        return ((value, value),) * rank
    if len(value) != rank:
        shown = [item if isinstance(item, int) else list(item) for item in value]
        raise ValueError(
            f"{name} must be one number or a list of {rank}, for each spatial axis a number or [before, after]; "
            f"got {shown}"
        )
    return tuple((item, item) if isinstance(item, int) else item for item in value)


def span(size: int, dilation: int) -> int:
    """Positions that a window covers: ``dilation (size - 1) + 1``."""
    return dilation * (size - 1) + 1


def same_padding(sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Pairs:
    """The padding with which ``ceil(n / stride)`` windows fit: half before, half after, an odd one after.

    ``total = max((ceil(n / s) - 1) s + span - n, 0)`` (TensorFlow, ``tensorflow/core/framework/kernel_shape_util.cc``).
    """
    totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, spans, strides, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def check_mode(mode: PaddingMode, pads: Pairs, sizes: Sequence[int]) -> None:
    """Refuse padding for which an axis has too few values.

    Raises:
        ValueError: ``reflect`` of an axis' size or more, ``circular`` of more than it.
    """
    for axis, (pair, size) in enumerate(zip(pads, sizes, strict=True)):
        most = {"reflect": size - 1, "circular": size}.get(mode, max(pair))
        if max(pair) > most:
            raise ValueError(
                f"padding_mode {mode} can add at most {most} values on a side of axis {axis}, which has {size}, "
                f"but padding asks for {list(pair)}; pad less, or use zeros or replicate"
            )


def source_positions(size: int, pair: tuple[int, int], mode: PaddingMode) -> NDArray[np.int64]:
    """Which value of an axis stands where after padding in a mode other than ``zeros``.

    Args:
        size: Values of the axis.
        pair: Values put before and after them.
        mode: ``reflect``, ``replicate`` or ``circular``.

    Returns:
        Shape ``(before + size + after,)``.
    """
    positions = np.arange(-pair[0], size + pair[1], dtype=np.int64)
    if mode == "circular":
        return positions % size
    if mode == "replicate":
        return np.clip(positions, 0, size - 1)
    return np.asarray(size - 1 - np.abs(size - 1 - np.abs(positions)))


def window_counts(sizes: Sequence[int], pads: Pairs, spans: Sequence[int], strides: Sequence[int]) -> Shape:
    """How many windows fit along each axis.

    Raises:
        ValueError: None fits.
    """
    counts = []
    for axis, (n, pair, k, s) in enumerate(zip(sizes, pads, spans, strides, strict=True)):
        padded = n + sum(pair)
        if k > padded:
            found = f"{n}" if padded == n else f"{n} values and padding makes it {padded}"
            raise ValueError(
                f"its window spans {k} positions, but axis {axis} has {found}; "
                "use a smaller kernel_size or dilation, or padding: same"
            )
        counts.append((padded - k) // s + 1)
    return tuple(counts)


_AXES = {1: "[length, channels]", 2: "[height, width, channels]", 3: "[depth, height, width, channels]"}


def check_rank(shape: Shape, rank: int) -> None:
    """Refuse an input that has not ``rank`` spatial axes and channels.

    Raises:
        ValueError: It has others.
    """
    if len(shape) != rank + 1:
        hint = "; a reshape can add the axis of channels" if len(shape) == rank else ""
        raise ValueError(f"its input must have shape {_AXES[rank]}, got {list(shape)}{hint}")
