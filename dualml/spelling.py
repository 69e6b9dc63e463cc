"""Small helpers for messages: the nearest known name, and config paths as people write them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A ``"; did you mean 'x'?"`` for a misspelt name, or the list of known names if none is close.

    Example:
        >>> nearest("adm", ["sgd", "adam"])
        "; did you mean 'adam'?"
        >>> nearest("xyz", ["sgd", "adam"])
        '; known: sgd, adam'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def dotted(location: Iterable[str | int]) -> str:
    """A location as a dotted path.

    Example:
        >>> dotted(("model", "layers", 2, "dense", "units"))
        'model.layers[2].dense.units'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
