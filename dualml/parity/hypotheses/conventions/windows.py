"""Conventions of layers whose window slides: padding, what it consists of, and which windows there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from dualml.parity.hypotheses.conventions.base import Flip, Source
from dualml.parity.hypotheses.nodes import Setting, changed, with_settings
from dualml.parity.hypotheses.trial import number
from dualml.protocol import Array

MODES = ("zeros", "reflect", "replicate", "circular")

MOST_AMOUNTS = 64
"""Most splits of padding that are tried."""


def _named(setting: Setting, shape: tuple[int, ...], names: tuple[Any, ...]) -> Iterator[Any]:
    """Those paddings that give an output of the recorded shape."""
    for name in names:
        if name != setting.node.settings.padding and _fits(setting, shape, padding=name):
            yield name


def _fits(setting: Setting, shape: tuple[int, ...], **changes: Any) -> bool:
    try:
        return with_settings(setting.node, changed(setting.node.settings, **changes)).shape == shape[1:]
    except (ValueError, TypeError, AssertionError):
        return False


def _splits(most: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    """Amounts before and after each axis, up to what a window covers; the same on every axis first."""
    choices = [[(a, b) for a in range(top) for b in range(top)] for top in most]
    same = [((a, b),) * len(most) for a, b in choices[0] if all((a, b) in other for other in choices)]
    yield from same
    if len(most) <= 2:
        yield from (pairs for pairs in product(*choices) if pairs not in same)


def _paddings(setting: Setting, recorded: Array, names: tuple[Any, ...], most: tuple[int, ...]) -> Iterator[Flip]:
    settings, shape = setting.node.settings, recorded.shape
    found = list(_named(setting, shape, names))
    tries = 0
    for pairs in _splits(most):
        if tries < MOST_AMOUNTS and _fits(setting, shape, padding=pairs):
            found.append(pairs)
            tries += 1
    for padding in found:
        said = f"padding {number(padding)} instead of {number(settings.padding)}"

        def make(padding: Any = padding) -> Setting:
            return setting.settings_changed(padding=padding)

        yield Flip("padding.same_stride", said, settings.padding, padding, make)


def convolution_padding(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Padding of a convolution, and what it consists of."""
    settings = setting.node.settings
    names = ("same", "symmetric", "valid", *(("causal",) if settings.rank == 1 else ()))
    yield from padding_modes(setting, recorded)
    yield from _paddings(setting, recorded, names, tuple(max(item, 2) for item in settings.spans))


def padding_modes(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """What padding consists of."""
    settings = setting.node.settings
    for mode in MODES:
        if mode != settings.padding_mode and _fits(setting, recorded.shape, padding_mode=mode):

            def make(mode: str = mode) -> Setting:
                return setting.settings_changed(padding_mode=mode)

            said = f"padding of {mode} instead of {settings.padding_mode}"
            yield Flip("padding.mode", said, settings.padding_mode, mode, make)


def transposed_padding(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """What a transposed convolution takes off, and puts at the end."""
    settings = setting.node.settings
    yield from _paddings(setting, recorded, ("same", "symmetric", "valid"), tuple(item + 1 for item in settings.spans))
    for extra in range(max(settings.strides)):
        for pairs in _splits(tuple(item + 1 for item in settings.spans)):
            if extra and _fits(setting, recorded.shape, padding=pairs, output_padding=extra):

                def make(pairs: Any = pairs, extra: int = extra) -> Setting:
                    return setting.settings_changed(padding=pairs, output_padding=extra)

                said = f"padding {number(pairs)} with output_padding {extra}"
                yield Flip("padding.same_stride", said, settings.padding, pairs, make)


def pooling(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Padding of a pooling layer, whether it counts, and windows at the end."""
    settings = setting.node.settings
    if hasattr(settings, "count_padding"):
        yield _toggled(setting, "count_padding", "pool.count_padding", "padding counts in the mean")
    yield _toggled(setting, "ceil_mode", "pool.ceil_mode", "values left over get a window")
    sizes = settings.size if isinstance(settings.size, tuple) else (settings.size,) * settings.rank
    names = ("same", "symmetric", "valid")
    yield from _paddings(setting, recorded, names, tuple(max(item, 2) for item in sizes))
    if hasattr(settings, "count_padding"):
        for name in names:

            def both(name: str = name) -> Setting:
                return setting.settings_changed(padding=name, count_padding=not settings.count_padding)

            if name != settings.padding and _fits(setting, recorded.shape, padding=name):
                said = f"padding {name} with count_padding {number(not settings.count_padding)}"
                yield Flip("pool.count_padding", said, settings.count_padding, not settings.count_padding, both)


def _toggled(setting: Setting, name: str, cause: str, said: str) -> Flip:
    value = bool(getattr(setting.node.settings, name))

    def make() -> Setting:
        return setting.settings_changed(**{name: not value})

    return Flip(cause, said if not value else f"not: {said}", value, not value, make)


def pad(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Padding as a layer of its own."""
    yield from padding_modes(setting, recorded)
    rank = recorded.ndim - 2
    before = recorded.shape[1:-1]
    room = tuple(after - size + 1 for after, size in zip(before, setting.node.input_shapes[0][:-1], strict=True))
    if rank and all(item > 0 for item in room):
        yield from _paddings(setting, recorded, (), room)


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "depthwise_conv1d", "depthwise_conv2d")
_POOLS = tuple(f"{kind}_pool{rank}d" for kind in ("max", "average") for rank in (1, 2, 3))

SOURCES: Mapping[str, tuple[Source, ...]] = {
    **dict.fromkeys(_CONVOLUTIONS, (convolution_padding,)),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), (transposed_padding,)),
    **dict.fromkeys(_POOLS, (pooling,)),
    "pad": (pad,),
}
"""By operation."""
