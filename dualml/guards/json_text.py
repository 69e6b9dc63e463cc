"""JSON: one meaning only, bounded in size and depth."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from dualml.errors import GuardError

DEEPEST = 100
"""Brackets inside brackets; what walks the values later recurses."""
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_SKIP = bytes(set(range(256)) - set(b'"[]{}'))
LONGEST_NUMBER = 400
"""Digits of a whole number; Python's own limit is 4,300, and its conversion takes quadratic time."""


def parse(data: bytes, where: str) -> Any:
    """The value of a JSON text.

    Refused are bytes that are not UTF-8, keys that stand twice in an object, ``NaN`` and ``Infinity``, numbers beyond
    float64, halves of surrogate pairs and deep nesting.

    Raises:
        GuardError: Says what is wrong.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GuardError(f"{where}: must be JSON in UTF-8, but byte {error.start} is not") from None
    if _depth(data) > DEEPEST:
        raise GuardError(f"{where}: must be JSON of at most {DEEPEST} levels, but is nested deeper")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(text, where)
    try:
        return _DECODER.decode(text)
    except (_RefusedError, ValueError, RecursionError) as error:
        said = str(error) or type(error).__name__
        raise GuardError(f"{where}: must be JSON with one meaning, but: {said}") from None


def parse_lines(data: bytes, where: str) -> list[Any]:
    """The values of a text with one JSON value in each line; like ``parse``."""
    lines = data.split(b"\n")
    return [parse(line, f"{where}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]


class _RefusedError(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"the key {twice[:80]!r} stands twice in an object")
    return found


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"the number {text[:40]} is beyond float64")
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise _RefusedError(f"a number has {len(text)} digits")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_whole)


def _depth(data: bytes) -> int:
    """How deep brackets are nested, without recursion."""
    import numpy as np  # the guards of artefacts themselves do without, but for this

    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # so that every quote left begins or ends a string
    outside = b"".join(unescaped.translate(None, _SKIP).split(b'"')[::2])
    if not outside:
        return 0
    codes = np.frombuffer(outside, dtype=np.uint8)
    steps = np.where((codes == ord("[")) | (codes == ord("{")), 1, -1)
    return int(np.cumsum(steps).max())


def _check_surrogates(text: str, where: str) -> None:
    if _HALF.search(_PAIR.sub("", text.replace("\\\\", ""))):
        raise GuardError(f"{where}: must be JSON with one meaning, but: a string holds half a surrogate pair")
