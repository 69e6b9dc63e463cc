"""Parts of messages that sources share, and files that may not be there."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterable
from pathlib import Path

from dualml.errors import DataError


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def find_file(folder: Path, name: str, key: str) -> Path:
    """The file a setting names.

    Args:
        folder: Where a relative path starts.
        name: The path in the config.
        key: The setting, for messages: ``data.path``.

    Raises:
        DataError: There is no such file, or it is a folder or a device.
    """
    path, mode = _look(folder, name, key, "file")
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: {key} must name a file, but this is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{path}: {key} must name a regular file, but this is a device or pipe; save the data in a file"
        )
    return path


def find_folder(folder: Path, name: str, key: str) -> Path:
    """The folder a setting names; like ``find_file``."""
    path, mode = _look(folder, name, key, "folder")
    if not stat.S_ISDIR(mode):
        raise DataError(f"{path}: {key} must name a folder, but this is a file; name the folder that holds it")
    return path


def _look(folder: Path, name: str, key: str, what: str) -> tuple[Path, int]:
    path = Path(name)
    try:
        path = folder / path.expanduser()
        return path, path.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # also a zero byte in it, or the home of "~nobody"
        shown = str(path) if path.name.isprintable() else repr(str(path))
        raise DataError(
            f"{shown}: {key} must name a {what}, but it cannot be opened ({reason(error)})."
            f"{nearest(path.name, _names(path.parent))} Correct {key}; a relative path starts at {folder.absolute()}"
        ) from error


def reason(error: BaseException) -> str:
    """An exception in one line; of the operating system, in its words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else described(error)


def described(error: BaseException) -> str:
    """An exception's type and text in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        return []
