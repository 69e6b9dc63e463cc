"""safetensors: the header is read here, and every number in it is held against the size of the file."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from dualml.errors import GuardError
from dualml.guards import json_text
from dualml.guards.files import LARGEST, MIB, regular

LARGEST_HEADER = 16 * MIB
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4,
    "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of one value, by dtype."""
_MOST_AXES = 16


def check(path: Path) -> None:
    """Refuse a safetensors file that is a link, or whose tensors are not exactly the bytes behind its header.

    Raises:
        GuardError: Says what is wrong.
    """
    regular(path, LARGEST["safetensors"])
    check_content(path)


def check_content(path: Path) -> None:
    """The same for a file of the user's own, which may be a link.

    Raises:
        GuardError: Says what is wrong.
        FileNotFoundError: There is no such file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise GuardError(f"{path}: must be a safetensors file, but has only {size} bytes")
            (length,) = struct.unpack("<Q", start)
            if length > min(size - 8, LARGEST_HEADER):
                raise GuardError(
                    f"{path}: its header declares {length:,} bytes, but the file has {size:,} and headers may have "
                    f"{LARGEST_HEADER:,}"
                )
            header = file.read(length)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
    check_header(header, size - 8 - length, str(path))


def check_header(header: bytes, present: int, where: str) -> None:
    """Hold a header against the number of bytes that follow it.

    Raises:
        GuardError: Says what is wrong.
    """
    if not header.startswith(b"{"):
        raise GuardError(f"{where}: its header must be a JSON object")
    found = json_text.parse(header, f"{where}: header")
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise GuardError(f"{where}: __metadata__ of its header must hold text only")
    spans = sorted(_span(name, entry, where) for name, entry in found.items())
    end = 0
    for begin, until, name in spans:
        if begin != end:
            what = "overlaps the one before" if begin < end else "leaves bytes unused before it"
            raise GuardError(f"{where}: tensors must follow each other, but {name!r} {what}")
        end = until
    if end != present:
        raise GuardError(f"{where}: its header declares {end:,} bytes of tensors, but {present:,} follow")


def _span(name: str, entry: Any, where: str) -> tuple[int, int, str]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise GuardError(f"{where}: tensor {name!r} must have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise GuardError(f"{where}: tensor {name!r} has the dtype {str(dtype)[:40]!r}; known are {', '.join(SIZES)}")
    if not _counts(shape) or len(shape) > _MOST_AXES:
        raise GuardError(f"{where}: the shape of tensor {name!r} must be at most {_MOST_AXES} whole numbers from 0 on")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise GuardError(f"{where}: data_offsets of tensor {name!r} must be two rising whole numbers")
    declared = math.prod(shape) * SIZES[dtype]
    if declared != offsets[1] - offsets[0]:
        raise GuardError(
            f"{where}: tensor {name!r} of shape {shape} needs {declared} bytes, but has {offsets[1] - offsets[0]}"
        )
    return offsets[0], offsets[1], name


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)
