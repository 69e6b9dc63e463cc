"""A difference as a script that shows it without dualml: for a bug report, or to look at it with a debugger.

A side of a ``Replay`` holds what its function of the script needs: native code, native arrays. ``write_replay`` puts
both sides into one file; small arrays are written into it, larger ones beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualml.errors import RunError
from dualml.native.protocol import Precision
from dualml.parity.replay.script import named, script
from dualml.parity.replay.sides import LayerReplay, LossReplay, Operation, ReplaySide, UpdateReplay
from dualml.protocol import Array
from dualml.weights import write_atomically, write_text

__all__ = ["LayerReplay", "LossReplay", "Operation", "Replay", "UpdateReplay", "write_replay"]

MOST_BYTES_INSIDE = 48 * 1024
"""Bytes of arrays up to which they stand in the script; more go into an ``.npz`` file beside it."""


@dataclass(frozen=True)
class Replay:
    """What a script shows.

    Attributes:
        title: In a line: cause, place, step.
        left: The left side.
        right: The right side, of the same kind.
        precision: Number format of both.
    """

    title: str
    left: ReplaySide
    right: ReplaySide
    precision: Precision = "float64"


def write_replay(replay: Replay, path: Path) -> tuple[Path, ...]:
    """Write the script, and its arrays beside it if they are large; returns the files.

    Raises:
        ParityError: A side is of a framework that no script can be written for.
        RunError: A file cannot be written.
    """
    sides = {"left": replay.left, "right": replay.right}
    arrays = named(sides)
    large = sum(array.nbytes for array in arrays.values()) > MOST_BYTES_INSIDE
    beside = path.with_suffix(".npz")
    text = script(replay.title, sides, replay.precision, beside.name if large else "")
    try:
        if large:
            write_atomically(beside, lambda target: _write_arrays(target, arrays))
        write_text(path, text)
    except OSError as error:
        raise RunError(f"--replay {path}: cannot be written: {error.strerror}; choose another file") from None
    return (path, beside) if large else (path,)


def _write_arrays(target: Path, arrays: Mapping[str, Array]) -> None:
    with target.open("wb") as file:  # given a path, NumPy would add a suffix of its own
        np.savez(file, **arrays)  # type: ignore[arg-type]
