"""IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist): a header of big-endian integers, then bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from dualml.data.problems import reason
from dualml.errors import DataError

IMAGES = 3
"""Axes of a file of images: count, rows, columns."""
LABELS = 1
"""Axes of a file of labels: count."""

_BYTES = 0x08  # code of unsigned bytes, the third byte of the magic number
_CHUNK = 1 << 20
_LARGEST_RATIO = 1032  # DEFLATE's largest compression (zlib's technical notes)


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes; gzip is recognised by its first bytes, not by the file's name.

    Args:
        path: An existing file.
        axes: ``IMAGES`` or ``LABELS``.

    Returns:
        The array, shape as declared in the header, dtype uint8.

    Raises:
        DataError: The file is damaged, cut short, too long or something else than ``axes`` asks for.
    """
    try:
        with path.open("rb") as plain:
            size = path.stat().st_size
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not zipped:
                return _read(plain, path, axes, size)
            with gzip.open(plain) as stream:
                return _read(cast(BinaryIO, stream), path, axes, size * _LARGEST_RATIO)
    except EOFError as error:
        raise DataError(f"{path}: must be a complete gzip file, but ends early; fetch it again") from error
    except zlib.error as error:
        raise DataError(f"{path}: must be a gzip file, but is damaged ({reason(error)}); fetch it again") from error
    except gzip.BadGzipFile as error:
        raise DataError(f"{path}: must be a gzip file, but is damaged ({reason(error)}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: must be readable, but is not ({reason(error)}); check its permissions") from error


def _read(stream: BinaryIO, path: Path, axes: int, largest: int) -> NDArray[np.uint8]:
    kind = "images" if axes == IMAGES else "labels"
    header = _at_most(stream, 4 * (1 + axes))
    magic = bytes((0, 0, _BYTES, axes))
    if header[:4] != magic:
        raise DataError(
            f"{path}: a file of {kind} must begin with {magic.hex(' ')}, but begins with "
            f"{header[:4].hex(' ') or 'nothing'}; {_magic_remedy(header[:4], axes)}"
        )
    if len(header) < 4 * (1 + axes):
        raise DataError(f"{path}: must have a header of {4 * (1 + axes)} bytes, but ends early; fetch the file again")
    shape = struct.unpack(f">{axes}I", header[4:])
    expected = math.prod(shape)
    if expected > largest:  # before anything is allocated: the header may claim any size
        raise DataError(
            f"{path}: the header declares {' x '.join(map(str, shape))} bytes, but a file of this size cannot hold "
            f"more than {largest}; fetch it again"
        )
    data = _at_most(stream, expected)
    if len(data) < expected:
        raise DataError(
            f"{path}: the header declares {' x '.join(map(str, shape))} bytes, but only {len(data)} follow; "
            f"fetch the file again"
        )
    if stream.read(1):
        raise DataError(
            f"{path}: the header declares {' x '.join(map(str, shape))} bytes, but more follow; fetch the file again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _at_most(stream: BinaryIO, count: int) -> bytes:
    """Up to ``count`` bytes, in pieces, so that memory grows with what is there and not with what is declared."""
    pieces = []
    while count > 0 and (piece := stream.read(min(count, _CHUNK))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _magic_remedy(found: bytes, axes: int) -> str:
    if found == bytes((0, 0, _BYTES, LABELS if axes == IMAGES else IMAGES)):
        return "files of images and labels are exchanged: swap them"
    if len(found) == 4 and found[:2] == b"\0\0" and found[2] in (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E):
        return "it is another kind of IDX file; convert it with NumPy and set data.source: npz"
    return "it is no IDX file; name the right one"
