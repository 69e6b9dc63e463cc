"""Text files."""

from __future__ import annotations

from pathlib import Path

from dualml.data.problems import reason
from dualml.errors import DataError


def read_text(path: Path, key: str) -> str:
    """A file as text; line ends become line feeds, and a byte-order mark goes.

    Args:
        path: An existing file.
        key: What names it, for messages: ``data.path``.

    Raises:
        DataError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: {key} must be text in UTF-8, but {error.reason} at byte {error.start}; "
            f"convert it, for example: iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: must be readable, but is not ({reason(error)}); check its permissions") from error


def read_lines(path: Path, key: str) -> list[str]:
    """The lines of a text file that hold more than white space."""
    return [line for line in read_text(path, key).split("\n") if line.strip()]
