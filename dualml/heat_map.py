"""Heat maps: a colour for each value, and pictures as PNG files."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Colours = tuple[tuple[int, int, int], ...]

DIVERGING_LIGHT: Colours = ((24, 84, 170), (120, 168, 224), (247, 247, 245), (240, 165, 105), (166, 66, 0))
DIVERGING_DARK: Colours = ((138, 184, 255), (60, 102, 168), (32, 34, 39), (168, 88, 36), (255, 178, 112))
"""Low, 0, high; the middle is the colour of the page."""
NOT_FINITE = (214, 40, 120)
"""Of NaN and infinities: a colour that no number has."""


def coloured(values: NDArray[np.float64], limit: float, colours: Colours) -> NDArray[np.uint8]:
    """The colour of each value, ``-limit`` to ``limit`` spread over the colours.

    Args:
        values: Two axes.
        limit: Largest absolute value of the scale; 0 gives every value the middle.
        colours: At equal distances on the scale.
    """
    finite = np.isfinite(values)
    place = np.where(finite, values, 0.0) / limit if limit > 0 else np.zeros(values.shape)
    stops = np.linspace(-1.0, 1.0, len(colours))
    channels = [np.interp(place, stops, [colour[channel] for colour in colours]) for channel in range(3)]
    pixels = np.stack(channels, axis=-1)
    pixels[~finite] = NOT_FINITE
    return pixels.round().astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (height, width, 3) as a PNG file (RFC 2083: signature, IHDR, IDAT, IEND; filter 0 on every line)."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def address(values: NDArray[np.float64], limit: float, colours: Colours) -> str:
    """A heat map as the address of an image: the image itself, in base 64."""
    return "data:image/png;base64," + base64.b64encode(png(coloured(values, limit, colours))).decode("ascii")
