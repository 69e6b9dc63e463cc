"""``dualml compare``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualml.cli.reports import Outputs
from dualml.config import load
from dualml.errors import ParityError
from dualml.parity.compare import compare, tell_nobody
from dualml.spec.config import Spec


def run_compare(
    left: Path,
    right: Path | None,
    backends: str,
    overrides: Sequence[str],
    steps: int,
    outputs: Outputs,
) -> int:
    """Compare, show the card, write the reports; returns the exit code."""
    outputs.check()
    if right is not None and overrides:
        raise ParityError("--set changes a config; two finished runs are compared as they are: leave --set out")
    names = [name.strip() for name in backends.split(",") if name.strip()]
    if left.is_dir() and right is None:
        raise ParityError(
            f"{left} is a folder: to compare finished runs name two of them; to compare backends name a config"
        )
    subject: Spec | Path = left if left.is_dir() else load(left, overrides)
    replay = shlex.join(["dualml", *sys.argv[1:]])
    with progress(outputs.silent) as told:
        report = compare(subject, right, backends=names, steps=steps, processes=True, replay=replay, told=told)
    return outputs.write(report)


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A status line on a terminal; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield tell_nobody
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
