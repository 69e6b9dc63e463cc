"""Which guard a file gets: by the ending of its name; the guard then holds the content to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dualml.errors import GuardError
from dualml.guards import (
    json_text,
    keras_archive,
    npy,
    onnx_model,
    refused,
    safetensors_file,
    text,
    yaml_text,
    zip_archive,
)
from dualml.guards.files import LARGEST, read_bounded, regular

BYTES: dict[str, Callable[[bytes, str], object]] = {
    ".json": json_text.parse,
    ".jsonl": json_text.parse_lines,
    ".onnx": onnx_model.check,
    ".yaml": yaml_text.check,
    ".yml": yaml_text.check,
}
"""Guards that take the whole file, by ending."""
_KIND = {".json": "json", ".jsonl": "json", ".onnx": "onnx", ".yaml": "yaml", ".yml": "yaml"}
PATHS: dict[str, tuple[str, Callable[[Path], object]]] = {
    ".safetensors": ("safetensors", safetensors_file.check),
    ".npy": ("npy", npy.check),
    ".npz": ("zip", npy.check_archive),
    ".zip": ("zip", zip_archive.check),
    ".keras": ("zip", keras_archive.check),
    ".csv": ("text", text.check),
    ".tsv": ("text", text.check),
    ".txt": ("text", text.check),
}
"""Guards that read only as much of the file as they need, by ending."""
MOST_FILES = 4096
"""Files of a folder that is checked."""


def check(path: str | Path) -> None:
    """Refuse a file, or a folder with one, that is not safe to open.

    Args:
        path: A file; its ending says what it must be. Or a folder, of which every file is checked.

    Raises:
        GuardError: Says what is wrong; no parser has seen the file.

    Example:
        >>> check("model.pt")
        Traceback (most recent call last):
        dualml.errors.GuardError: model.pt: is refused unread: .pt files hold a pickle, which runs code when it is \
read; write the weights as safetensors instead
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        refused.check_folder(path)
        for item in _files(path):
            check(item)
        return
    ending = path.suffix.lower()
    refused.check_ending(path)
    if ending in BYTES:
        check_bytes(read_bounded(path, LARGEST[_KIND[ending]]), ending, str(path))
    elif ending in PATHS:
        kind, guard = PATHS[ending]
        regular(path, LARGEST[kind])
        refused.check_start(path)
        guard(path)
    else:
        known = ", ".join(sorted({*BYTES, *PATHS}))
        raise GuardError(f"{path}: is refused unread: its ending must be one of {known}")


def check_bytes(data: bytes, ending: str, where: str) -> None:
    """Refuse content that has been read already, with the guard of a file ending.

    Args:
        data: The whole content.
        ending: One of ``.json``, ``.jsonl``, ``.onnx``, ``.yaml``.
        where: What it is, for messages.

    Raises:
        GuardError: Says what is wrong.
    """
    refused.check_signature(data[: refused.LONGEST_SIGNATURE], where)
    BYTES[ending](data, where)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, links to folders not followed."""
    count = 0
    waiting = [folder]
    while waiting:
        for item in sorted(waiting.pop().iterdir()):
            count += 1
            if count > MOST_FILES:
                raise GuardError(f"{folder}: must hold at most {MOST_FILES:,} files, but holds more")
            if item.is_dir() and not item.is_symlink():
                waiting.append(item)
            else:
                yield item
