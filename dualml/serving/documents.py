"""JSON documents of requests: typed, with one meaning only."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dualml.serving.refusals import wrong

Document = TypeVar("Document")


def decode(decoder: msgspec.json.Decoder[Document], data: bytes | memoryview) -> Document:
    """A document of the decoder's type.

    Raises:
        RefusedError: It is not JSON, of another structure, or holds a key twice.
    """
    try:
        document = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong(f"the body must be the JSON document of this path: {error}") from None
    # msgspec keeps the last of two equal keys. Every string of the text must be in the document, or one was dropped.
    if _quotes(bytes(data)) != 2 * _strings(document):
        raise wrong("the body must be JSON with one meaning, but a key stands twice in an object")
    return document


def _quotes(data: bytes) -> int:
    """How many quotes begin or end a string."""
    if b'"' not in data:  # quicker than counting, and true of all numbers
        return 0
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return data.count(b'"')


def _strings(value: Any) -> float:
    """How many strings a text of this value holds, keys included."""
    if isinstance(value, str):
        return 1
    if isinstance(value, msgspec.Raw):
        return _quotes(bytes(value)) / 2
    if isinstance(value, msgspec.Struct):
        given = [item for name in value.__struct_fields__ if (item := getattr(value, name)) is not msgspec.UNSET]
        return len(given) + sum(map(_strings, given))
    if isinstance(value, dict):
        return len(value) + sum(map(_strings, value.values()))
    if isinstance(value, list):
        return sum(map(_strings, value))
    return 0
