"""``dualml evaluate`` and ``dualml predict``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualml import api
from dualml.cli.output import check_json, write_json
from dualml.data.problems import find_file
from dualml.errors import DataError, RunError
from dualml.metrics.text import lines
from dualml.training.run_directory import open_run
from dualml.weights import write_atomically


def run_evaluate(
    run: Path, backend: str | None, split: str, weights: str, json_file: str | None, *, quiet: bool
) -> None:
    """Evaluate a run and print each metric."""
    check_json(json_file)
    results = api.evaluate(run, backend, split=split, weights=weights)
    write_json(json_file, results)
    if not quiet and json_file != "-":
        print(*lines(results, f"{split}_", open_run(run).class_names()), sep="\n")


def run_predict(
    run: Path,
    inputs: Path,
    out: Path,
    backend: str | None,
    weights: str,
    output: str | None,
    json_file: str | None,
    *,
    quiet: bool,
) -> None:
    """Predict and write the probabilities."""
    check_json(json_file)
    if out.is_dir():
        raise RunError(f"--out {out}: must be a file, but is a folder; name the .npy file to write")
    if not out.absolute().parent.is_dir():
        raise RunError(f"--out {out}: the folder {out.parent} does not exist; make it first")
    examples = open_run(run).preparation.read(find_file(Path(), str(inputs), "INPUT"))
    try:
        predictions = api.predict(run, examples, backend, weights=weights, output=output)
    except DataError as error:
        raise DataError(f"{inputs}: {error}") from None

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # np.save would add .npy to a bare name
            np.save(file, predictions, allow_pickle=False)

    try:
        write_atomically(out, write)
    except OSError as error:
        raise RunError(f"--out {out}: cannot be written: {error.strerror}") from None
    write_json(json_file, {"predictions": str(out), "shape": predictions.shape, "dtype": str(predictions.dtype)})
    if not quiet and json_file != "-":
        print(f"{out}: {len(predictions)} predictions, shape {list(predictions.shape)}, {predictions.dtype}")
