"""``dualml diff``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np

from dualml.cli.compare import progress
from dualml.cli.output import check_target
from dualml.cli.reports import Outputs
from dualml.errors import ParityError
from dualml.native.locate import locate
from dualml.parity.diff.api import Given, compared
from dualml.parity.diff.inputs import INPUTS_HELP, random_inputs
from dualml.parity.diff.run import Run
from dualml.parity.diff.weights import Policy
from dualml.parity.report import Report
from dualml.protocol import Array

TARGETS = ("targets", "target", "y", "labels")
"""Names under which an ``.npz`` file may hold targets."""


def run_diff(
    left: str,
    right: str,
    inputs: str | None,
    input_shape: str | None,
    steps: int,
    weights: Policy,
    mapping: Path | None,
    replay_script: str | None,
    outputs: Outputs,
) -> int:
    """Compare, show the card, write the reports; returns the exit code."""
    outputs.check()
    check_target("--replay", replay_script)
    batch, targets = given(inputs, input_shape)
    command = shlex.join(["dualml", *sys.argv[1:]])
    with progress(outputs.silent) as told:
        told("importing both models")
        sides = locate(left), locate(right)
        report, run = compared(*sides, Given(batch, targets), steps, weights, mapping, command, told)
    if replay_script is not None:
        write_script(report, run, Path(replay_script), silent=outputs.silent)
    return outputs.write(report)


def write_script(report: Report, run: Run, path: Path, *, silent: bool) -> None:
    """Write the script that shows the first finding that one can show, without dualml; say so if there is none."""
    from dualml.parity.replay import write_replay
    from dualml.parity.replay.capture import capture

    for finding in report.native.findings if report.native is not None else ():
        script = capture(run, finding)
        if script is not None:
            write_replay(script, path)
            return
    if not silent:
        print(f"--replay {path}: nothing was written, because no difference was found that a script can show")


def given(inputs: str | None, input_shape: str | None) -> tuple[dict[str, Array] | None, dict[str, Array] | None]:
    """Inputs and targets that the user names.

    Raises:
        ParityError: A file cannot be read, or both ways are used.
    """
    if inputs is not None and input_shape is not None:
        raise ParityError("give --inputs or --input-shape, not both")
    if input_shape is not None:
        return {"": random_inputs(_shape(input_shape))}, None
    if inputs is None:
        return None, None
    arrays = _arrays(Path(inputs))
    targets = {name: array for name, array in arrays.items() if name in TARGETS or name.startswith("targets.")}
    rest = {name: array for name, array in arrays.items() if name not in targets}
    if not rest:
        raise ParityError(f"--inputs {inputs}: holds targets only ({', '.join(targets)}); {INPUTS_HELP}")
    named = {name.partition(".")[2]: array for name, array in targets.items()}
    return ({"": next(iter(rest.values()))} if len(rest) == 1 else rest), named or None


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.replace("x", ",").split(",") if part.strip())
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ParityError(
            f"--input-shape {text}: must be the sizes of one example, without the batch, such as 1,28,28 or 20"
        )
    return shape


def _arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise ParityError(f"--inputs {path}: no such file")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise ParityError(
            f"--inputs {path}: must be a .npy or .npz file of plain arrays, but reading it failed: {error}"
        ) from None
