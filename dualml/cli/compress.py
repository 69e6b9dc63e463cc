"""``dualml compress``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml.cli.output import check_json, write_json

if TYPE_CHECKING:
    from dualml.compress import Report

KEPT, REFUSED = 0, 1
"""Exit codes: written; too much would be lost, so nothing was."""


def run_compress(
    run: Path,
    method: str,
    out: Path | None,
    weights: str,
    rounds: int | None,
    json_file: str | None,
    *,
    quiet: bool,
    **settings: Any,
) -> int:
    """Make a run's model smaller and say what came of it."""
    from dualml.cli.train import observer, stop_on_interrupt
    from dualml.compress import compress
    from dualml.compress.latency import ROUNDS

    check_json(json_file)
    silent = quiet or json_file == "-"
    with stop_on_interrupt() as interrupted:
        report = compress(
            run,
            method,
            out=out,
            weights=weights,
            rounds=ROUNDS if rounds is None else rounds,
            observer=observer(silent),
            interrupted=interrupted.__bool__,
            **settings,
        )
    write_json(json_file, report.to_dict())
    if not silent:
        _say(report)
    return KEPT if report.kept else REFUSED


def _say(report: Report) -> None:
    loss = report.measured.quality.loss
    if report.kept:
        print(f"{report.path}: {report.kind}, {report.method}")
    else:
        print(
            f"{report.method}: nothing was written: the loss of {loss:.4f} is more than --max-loss {report.max_loss:g}"
        )
    for line in report.lines():
        print(f"  {line}")
