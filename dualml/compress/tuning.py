"""A model with fewer weights is trained on for a few epochs, in either backend, and becomes a run like any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dualml.api import train
from dualml.compress.editing import Editor, Smaller
from dualml.errors import TrainingError
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.training.loop import TrainingInterruptedError
from dualml.training.progress import Observer
from dualml.training.run_directory import SUMMARY, RunDirectory, StoredRun


def tuning_spec(spec: Spec, epochs: int, lr: float | None) -> Spec:
    """The spec of the fine-tuning: so many epochs in which the learning rate falls to 0 as a cosine.

    Args:
        spec: Of the smaller model.
        epochs: At least 1.
        lr: Learning rate at first; left out, the spec's.
    """
    editor = Editor(spec)
    values = editor.values
    values["train"] |= {"epochs": epochs, "early_stopping": None}
    values["schedule"] = {"cosine": {"unit": "step"}}
    if lr is not None:
        next(iter(values["optimizer"].values()))["lr"] = lr
    return editor.spec()


def fine_tuned(
    small: Smaller,
    stored: StoredRun,
    folder: Path,
    backend: str | None,
    epochs: int,
    lr: float | None,
    observer: Observer | None,
    interrupted: Callable[[], bool],
) -> Mapping[str, Array]:
    """Write a run of a smaller model, trained on for some epochs.

    Args:
        small: The model.
        stored: The run it was made of.
        folder: The run directory to write.
        backend: Where it is trained; left out, where the run was.
        epochs: How long; 0 writes the run as it is.
        lr: Learning rate at first; left out, the run's.
        observer: Who is told of the progress.
        interrupted: Asked now and then whether to stop.

    Returns:
        The weights.
    """
    if epochs > 0:
        spec = tuning_spec(small.spec, epochs, lr)
        try:
            run = train(spec, backend, out=folder, weights=small.weights, observer=observer, interrupted=interrupted)
        except TrainingInterruptedError:  # what it says of going on does not hold: the folder goes
            raise TrainingError("interrupted; nothing was written, as the smaller model was not finished") from None
        return run.weights
    directory = RunDirectory(folder)
    directory.create(small.spec)
    directory.write_metrics([])
    directory.write_model(dict(small.weights))
    none = {"metric": small.spec.train.checkpoints.best, "value": None, "epoch": None}
    same = {key: stored.summary[key] for key in ("format", "backend", "versions", "data")}
    directory.write_summary(
        same | {"ended": "finished", "epochs": 0, "steps": 0, "best": none, "test": {}, "seconds": 0.0}
    )
    return small.weights


def add_to_summary(folder: Path, values: Mapping[str, Any]) -> None:
    """Say more in a run's summary."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    RunDirectory(folder).write_summary(summary | dict(values))
