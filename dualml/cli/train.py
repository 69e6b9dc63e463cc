"""``dualml train``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualml.cli.output import check_json, write_json
from dualml.config import load
from dualml.errors import RunError
from dualml.training.progress import LiveDisplay, Observer, PlainLines, Quiet


def run_train(
    config: Path,
    backend: str | None,
    overrides: Sequence[str],
    out: Path | None,
    json_file: str | None,
    *,
    resume: bool,
    quiet: bool,
) -> None:
    """Train and say what came of it."""
    check_json(json_file)
    spec = load(config, overrides)
    quiet = quiet or json_file == "-"
    name = backend or spec.backend
    directory = choose_directory(config, name, out, resume=resume)
    from dualml import api
    from dualml.metrics.text import one_line

    with stop_on_interrupt() as interrupted:
        run = api.train(
            spec, backend, out=directory, resume=resume, observer=observer(quiet), interrupted=interrupted.__bool__
        )
    write_json(json_file, {"run": str(directory), "ended": run.ended, "epochs": run.history, "test": run.test})
    if quiet:
        return
    results = one_line(run.test)
    print(f"{run.ended}: {directory}" + (f"   test: {results}" if results else ""))


def observer(quiet: bool) -> Observer:
    """A live display on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        return Quiet()
    return LiveDisplay(sys.stdout) if sys.stdout.isatty() else PlainLines(sys.stdout)


def choose_directory(config: Path, backend: str, out: Path | None, *, resume: bool) -> Path:
    """The run directory: what ``--out`` names, or a free ``runs/<config>-<backend>``.

    Raises:
        RunError: There is no run to resume.
    """
    if out is not None:
        return out
    stem = f"{config.stem}-{backend}"
    taken = [Path("runs", stem if number == 1 else f"{stem}-{number}") for number in range(1, 10_000)]
    existing = [path for path in taken if path.exists()]
    if resume:
        if not existing:
            raise RunError(f"--resume: there is no run {taken[0]} to go on with; name its folder with --out")
        return existing[-1]
    return next(path for path in taken if not path.exists())


class Flag:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextmanager
def stop_on_interrupt() -> Iterator[Flag]:
    """Turn the first Ctrl-C into a flag, so that a checkpoint is written; a second one stops at once."""
    flag = Flag()

    def handle(number: int, frame: Any) -> None:  # noqa: ARG001 (the signature is the signal module's)
        if flag.raised:
            raise KeyboardInterrupt
        flag.raised = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
