"""Conventions of attention: its scale, and what a query may read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from dualml.parity.hypotheses.conventions.base import Flip, Source
from dualml.parity.hypotheses.fitting import fitted, written
from dualml.parity.hypotheses.nodes import Setting, changed
from dualml.parity.hypotheses.trial import number
from dualml.protocol import Array
from dualml.spec.layers import Attention


class _Scaled(Attention):
    """Attention whose products are multiplied by a given number."""

    factor: float = 1.0
    """The number."""

    def scale(self, inputs: tuple[tuple[int, ...], ...]) -> float:
        """The number, whatever the size of a head is."""
        return self.factor


def scale(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """No scale, that of all heads together, one that is applied twice, or any other, fitted."""
    settings, shapes = setting.node.settings, setting.node.input_shapes
    size = settings.head_size(shapes)
    meant = settings.scale(shapes)
    wide = size * settings.heads
    known = {
        "1": 1.0,
        "1 / sqrt(units)": 1.0 / math.sqrt(wide),
        "1 / size": 1.0 / size,
        "1 / sqrt(heads)": 1.0 / math.sqrt(settings.heads),
        "sqrt(size)": math.sqrt(size),
        "float32(1 / sqrt(size))": float(np.float32(meant)),
    }
    values = {name: getattr(settings, name) for name in type(settings).model_fields}

    def make(factor: float) -> Setting:
        return setting.with_(settings=_Scaled(**values, factor=factor))

    found = fitted(lambda factor: make(factor).value(), recorded, [meant, *known.values()], positive=True)
    near = [] if found is None else written(found, tuple(known.values()))
    known |= {number(factor): factor for factor in near if factor not in known.values()}
    for said, factor in known.items():
        if factor != meant:
            usual = "1 / sqrt(size)"
            yield Flip("attention.scale", f"products times {said}", usual, said, partial(make, factor), found)


def reading(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """The mask inverted or left out; causality added, left out or turned."""
    settings, cause = setting.node.settings, "attention.mask_polarity"
    if settings.mask is not None:
        *others, mask = setting.inputs

        def inverted() -> Setting:
            return setting.with_(inputs=(*others, (np.asarray(mask) == 0).astype(np.float64)))

        def ignored() -> Setting:
            return setting.with_(inputs=(*others, np.ones_like(np.asarray(mask, dtype=np.float64))))

        yield Flip(cause, "the mask inverted", "1 is read", "1 is left out", inverted)
        yield Flip(cause, "the mask left out", "mask", "no mask", ignored)

    def toggled() -> Setting:
        return setting.with_(settings=changed(settings, causal=not settings.causal))

    said = "not causal" if settings.causal else "causal"
    yield Flip(cause, said, settings.causal, not settings.causal, toggled)


SOURCES: Mapping[str, tuple[Source, ...]] = {"attention": (scale, reading)}
"""By operation."""
