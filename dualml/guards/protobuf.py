"""The wire format of protocol buffers, read without a schema and without trust."""

from __future__ import annotations

from collections.abc import Iterator

from dualml.errors import GuardError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types that are in use; groups (3 and 4) are not."""
Field = tuple[int, int, "int | memoryview"]
"""Number, wire type, and the value: a whole number, or the bytes of anything longer."""


def fields(message: memoryview, where: str) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        GuardError: It is cut short, or no such message.
    """
    place, end = 0, len(message)
    while place < end:
        key, place = varint(message, place, where)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise GuardError(f"{where}: is no protobuf message: it has a field number {number}")
        if kind == VARINT:
            value, place = varint(message, place, where)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, place = varint(message, place, where)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise GuardError(f"{where}: is no protobuf message: it has a field of wire type {kind}")
        if length > end - place:
            raise GuardError(f"{where}: is cut short: a field declares {length:,} bytes, but {end - place:,} follow")
        yield number, kind, message[place : place + length]
        place += length


def varint(message: memoryview, place: int, where: str) -> tuple[int, int]:
    """A whole number of variable length and the place behind it.

    Raises:
        GuardError: It is cut short or longer than 64 bits.
    """
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, place
        shift += 7
    raise GuardError(f"{where}: is no protobuf message, or is cut short")


def signed(value: int) -> int:
    """A 64-bit number as its two's complement says."""
    return value - (1 << 64) if value >= 1 << 63 else value


def numbers(value: int | memoryview, where: str) -> list[int]:
    """A repeated whole number, packed or a single one."""
    if not isinstance(value, memoryview):
        return [signed(value)]
    found, place = [], 0
    while place < len(value):
        number, place = varint(value, place, where)
        found.append(signed(number))
    return found
