"""Links and sizes: a guarded file is a regular file of its own, not too large, and read once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dualml.errors import GuardError

MIB = 1 << 20
LARGEST = {
    "safetensors": 64 << 30,
    "json": 64 * MIB,
    "npy": 16 << 30,
    "zip": 16 << 30,
    "onnx": 2 << 30,  # protobuf's own limit
    "yaml": 4 * MIB,
    "text": 4 << 30,
}
"""Bytes, by format: a larger file is refused unread."""


def regular(path: Path, most: int) -> int:
    """The size of a file that may be opened.

    Args:
        path: The file.
        most: Bytes it may have.

    Raises:
        GuardError: It is missing, a link, a folder, a device or a pipe, has a second name, or is too large.
    """
    try:
        found = path.lstat()
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise GuardError(f"{str(path)!r}: must be a file, but cannot be looked at: {said}") from None
    _check(path, found, most)
    return found.st_size


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file, from the very file that was looked at.

    Raises:
        GuardError: As for ``regular``, or it was exchanged or grew meanwhile.
    """
    regular(path, most)
    # A link or pipe put there in between is not followed or waited for.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            opened = os.fstat(file.fileno())
            _check(path, opened, most)
            data = file.read(opened.st_size + 1)
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
    if len(data) != opened.st_size:
        raise GuardError(f"{path}: changed while it was read; try again when nothing writes to it")
    return data


def _check(path: Path, found: os.stat_result, most: int) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise GuardError(f"{path}: must be a file of its own, but is a symbolic link; copy the file it points to")
    if stat.S_ISDIR(found.st_mode):
        raise GuardError(f"{path}: must be a file, but is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise GuardError(f"{path}: must be a regular file, but is a device, pipe or socket")
    if found.st_nlink > 1:
        raise GuardError(
            f"{path}: must be a file of its own, but has {found.st_nlink} names (hard links), so it can be another "
            "program's file; copy it"
        )
    if found.st_size > most:
        raise GuardError(f"{path}: must have at most {most:,} bytes, but has {found.st_size:,}")
