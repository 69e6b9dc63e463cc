"""``dualml explain``: attributions of a run's answers, written as arrays and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualml.cli.output import check_json, check_target, sides, write_json
from dualml.data.problems import find_file
from dualml.errors import DataError, RunError
from dualml.training.run_directory import open_run
from dualml.weights import write_atomically, write_text

if TYPE_CHECKING:
    from dualml.explain import Explanation

ENDINGS = (".npz", ".json")
"""Of ``--out``."""
SHOWN = 10
"""Examples whose scores are printed."""


def run_explain(
    run: Path,
    inputs: Path,
    out: Path | None,
    picture_file: Path | None,
    backend: str | None,
    baseline: str,
    json_file: str | None,
    *,
    quiet: bool,
    **settings: Any,
) -> None:
    """Explain a run's answers, in one backend or in both.

    Args:
        run: The run directory.
        inputs: A file of raw examples.
        out: Where attributions are written.
        picture_file: Where a picture is written.
        backend: Where it is computed; ``both`` compares, and writes what the first one gave.
        baseline: ``zeros``, a number, or a file of raw examples.
        json_file: Where the summary is written.
        quiet: Print nothing.
        **settings: Of ``dualml.explain.explain``.
    """
    from dualml.explain import explain, picture, relative_difference

    check_json(json_file)
    _check_out(out, picture_file)
    preparation = open_run(run).preparation
    examples = preparation.read(find_file(Path(), str(inputs), "INPUT"))
    given = _baseline(baseline, preparation.read)
    try:
        explanations = [explain(run, examples, sides(backend)[0], baseline=given, **settings)]
        for other in sides(backend)[1:]:  # the same question: of the class that the first one answered
            repeated = {**settings, "target": explanations[0].targets}
            explanations.append(explain(run, examples, other, baseline=given, **repeated))
    except DataError as error:
        raise DataError(f"{inputs}: {error}") from None
    first = explanations[0]
    drawn = None if picture_file is None else picture(first)
    if out is not None:
        _write(out, "--out", _writer(out, first))
    if picture_file is not None and drawn is not None:
        content = drawn
        _write(picture_file, "--picture", lambda path: _write_bytes(path, content))
    differences = {
        f"{first.backend} vs {other.backend}": dict(
            zip(("largest", "relative"), relative_difference(first, other), strict=True)
        )
        for other in explanations[1:]
    }
    summary = {"explanations": [item.summary() for item in explanations], "differences": differences}
    write_json(json_file, summary)
    if not quiet and json_file != "-":
        for explanation in explanations:
            _print(explanation)
        for pair, item in differences.items():
            print(f"{pair}: max |difference| {item['largest']:.2g}, relative {item['relative']:.2g}")
        for path in (out, picture_file):
            if path is not None:
                print(f"{path}: written")


def _print(explanation: Explanation) -> None:
    count = len(explanation.targets)
    steps = "" if explanation.steps is None else f", {explanation.steps} steps"
    what = f"{explanation.method} of the {explanation.scoring}"
    print(f"{explanation.backend}: {what} of {count} example{'s' * (count != 1)}{steps}")
    for row in range(min(count, SHOWN)):
        gap = "" if explanation.gaps is None else f", completeness gap {explanation.gaps[row]:.2g}"
        score, start = explanation.scores[row], explanation.baseline_scores[row]
        print(f"  example {row}: {explanation.classes[row]}  score {score:.4f}, baseline {start:.4f}{gap}")
    if count > SHOWN:
        print(f"  and {count - SHOWN} more")
    if explanation.relative_gap is not None:
        print(f"  largest completeness gap, relative to the largest change of a score: {explanation.relative_gap:.2g}")


def _baseline(text: str, read: Callable[[Path], Any]) -> Any:
    if text == "zeros":
        return text
    try:
        return float(text)
    except ValueError:
        return read(find_file(Path(), text, "--baseline"))


def _check_out(out: Path | None, picture_file: Path | None) -> None:
    for flag, path, endings in (("--out", out, ENDINGS), ("--picture", picture_file, (".png",))):
        if path is None:
            continue
        check_target(flag, str(path))
        if path.suffix.lower() not in endings:
            raise RunError(f"{flag} {path}: must end in {' or '.join(endings)}")


def _writer(out: Path, explanation: Explanation) -> Callable[[Path], None]:
    return (
        (lambda path: _write_npz(path, explanation))
        if out.suffix.lower() == ".npz"
        else (lambda path: write_text(path, _json(explanation)))
    )


def _write_npz(path: Path, explanation: Explanation) -> None:
    arrays: dict[str, Any] = {f"attributions/{name}": array for name, array in explanation.attributions.items()}
    arrays |= {
        "targets": explanation.targets,
        "scores": explanation.scores,
        "baseline_scores": explanation.baseline_scores,
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _json(explanation: Explanation) -> str:
    summary = explanation.summary()
    for row, example in enumerate(summary["examples"]):
        example["attributions"] = {name: array[row].tolist() for name, array in explanation.attributions.items()}
    return json.dumps(summary) + "\n"


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _write(path: Path, flag: str, write: Callable[[Path], None]) -> None:
    try:
        write_atomically(path, write)
    except OSError as error:
        raise RunError(f"{flag} {path}: cannot be written: {error.strerror}") from None
