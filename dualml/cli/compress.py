"""``dualml compress``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    max_loss: float | None,
    calibration: int | None,
    rounds: int | None,
    json_file: str | None,
    *,
    quiet: bool,
) -> int:
    """Make a run's model smaller and say what came of it."""
    from dualml.compress import compress
    from dualml.compress.latency import ROUNDS

    check_json(json_file)
    report = compress(
        run,
        method,
        out=out,
        weights=weights,
        max_loss=max_loss,
        calibration=calibration,
        rounds=ROUNDS if rounds is None else rounds,
    )
    write_json(json_file, report.to_dict())
    if not quiet and json_file != "-":
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
