"""Causes for layers without a formula: what can be tried is running a side's own calls again with something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dualml.errors import DualmlError
from dualml.parity.diff.explain import unknown
from dualml.parity.diff.ledger import Explanation, Gap, bits, gap_of
from dualml.parity.diff.side import Side
from dualml.parity.report import Cause
from dualml.parity.verdict import ROUNDING_BITS
from dualml.protocol import Array

Again = Callable[..., Array]
"""A side's calls run again; ``changed`` are other constants, by key; gives the neutral output."""


def agrees(one: Array, two: Array) -> bool:
    """Whether two float64 arrays are equal but for rounding: their difference is too small to show in float32."""
    measured = bits({"float32": Gap(0.0, float(np.abs(two).max(initial=0.0))), "float64": gap_of(one, two)})
    return measured is not None and measured >= ROUNDING_BITS[0]


def explained_opaque(name: str, sides: Sequence[tuple[Side, str, Again, Array]]) -> Explanation:
    """Why two layers without a formula give other numbers.

    Args:
        name: What the pair is called.
        sides: For each side whose calls can be run again: the side, its node, how, and what it should have given.
    """
    said = f"run on the same inputs, both sides' {name} give other numbers; it has no formula here"
    for side, node, again, wanted in sides:
        for key, opposite in _masks(side, node):
            try:
                found = again(changed={key: opposite})
            except (DualmlError, ValueError, KeyError):
                continue
            if agrees(found, wanted):
                native = side.reading.places[node].calls[-1].native
                evidence = (
                    f"{said}; with the mask of the {side.name} side inverted, shape {list(opposite.shape)}, given to "
                    f"{native}, they agree but for rounding"
                )
                readings = ("read where the mask is true", "read where it is false")
                return Explanation(Cause("attention.mask_polarity", True, *readings, evidence, _fixes(side)))
    return unknown(said)


def _fixes(side: Side) -> dict[str, str]:
    texts = {
        "torch": "attn_mask=~mask: True is what may not be read (scaled_dot_product_attention: what may)",
        "tensorflow": "attention_mask=~mask: True is what may be read",
    }
    framework = side.model.framework
    return {framework: texts[framework]} if framework in texts else {}


def _masks(side: Side, node: str) -> Iterator[tuple[int, Array]]:
    """Constants that are masks, each with its opposite: truth values, or 0 and minus infinity."""
    for call in side.reading.places[node].calls:
        for key in call.inputs:
            array = side.trace.constants.get(key)
            if array is None or array.size == 0:
                continue
            if array.dtype == np.bool_:
                yield key, ~array
            elif np.issubdtype(array.dtype, np.floating) and np.isin(array, (0.0, -np.inf)).all():
                yield key, np.where(array == 0.0, -np.inf, 0.0).astype(array.dtype)
