"""Numbers as the page writes them."""

from __future__ import annotations

import math
from typing import Any

from dualml.parity.judge import LIMIT

NOTHING = "–"
"""Stands where there is no number."""


def short(value: float | None) -> str:
    """A measured number in at most three digits.

    Example:
        >>> [short(value) for value in (0.0, 0.0612, 8123.0, 1.5e-17, float("inf"), None)]
        ['0', '0.0612', '8.1e3', '1.5e-17', '∞', '–']
    """
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.3g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def rho(value: float | None) -> str:
    """A rho in two digits, in all it has where two would put it on the other side of the limit.

    Example:
        >>> [rho(value) for value in (0.00654, 0.446, 1.001, 31.4, 8123.0, 0.0)]
        ['0.0065', '0.45', '1.001', '31', '8.1e3', '0']
    """
    if value is None or not 1e-3 <= abs(value) < 100:
        return short(value)
    text = f"{value:.2g}"
    return text if (float(text) <= LIMIT) == (value <= LIMIT) else repr(value)


def setting(value: Any) -> str:
    """The value of a setting, with every digit it has.

    Example:
        >>> [setting(value) for value in (1e-05, None, True, (3, 3), "same")]
        ['1e-5', 'none', 'true', '(3, 3)', 'same']
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and "e" in repr(value):
        digits, exponent = repr(value).split("e")
        return f"{digits}e{int(exponent)}"
    return str(value)


def count(number: int, thing: str, things: str = "") -> str:
    """A number of things.

    Example:
        >>> count(1, "check"), count(1200, "check")
        ('1 check', '1,200 checks')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def shape(lengths: tuple[int, ...]) -> str:
    """A shape: ``8 × 64 × 6 × 6``."""
    return " × ".join(map(str, lengths)) or "one value"
