"""Where results go: JSON to a file or stdout, tables to the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dualml.errors import RunError
from dualml.weights import write_text

BOTH = ("torch", "tensorflow")
"""What ``--backend both`` runs, in this order."""


def sides(backend: str | None) -> tuple[str | None, ...]:
    """The backends that ``--backend`` names; ``None`` is the run's own."""
    return BOTH if backend == "both" else (backend,)


def check_json(target: str | None) -> None:
    """``check_target`` for ``--json``."""
    check_target("--json", target)


def check_target(flag: str, target: str | None) -> None:
    """Refuse a target that cannot be written, before the work is done.

    Args:
        flag: What it was given with.
        target: A file; ``-`` and ``None`` are fine.

    Raises:
        RunError: It is a folder, or its folder does not exist.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise RunError(f"{flag} {target}: must be a file, but is a folder")
    if not path.absolute().parent.is_dir():
        raise RunError(f"{flag} {target}: the folder {path.parent} does not exist; make it first")


def write_json(target: str | None, value: Any) -> None:
    """Write a value as JSON to a file, or to stdout for ``-``; ``None`` writes nothing.

    Raises:
        RunError: The file cannot be written.
    """
    if target is None:
        return
    text = json.dumps(value, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        write_text(Path(target), text)
    except OSError as error:
        raise RunError(f"--json {target}: cannot be written: {error.strerror}; choose another file") from None
