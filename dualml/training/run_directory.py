"""A run directory: ``config.yaml``, ``metrics.jsonl``, ``model.safetensors``, ``checkpoints/``, ``summary.json``.

Every file appears whole or not at all.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualml.config import load
from dualml.data import Preparation
from dualml.errors import ConfigError, RunError
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spelling import nearest
from dualml.training.checkpoint import Checkpoint, read_checkpoint
from dualml.weights import check_weights, read_tensors, write_tensors, write_text

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
_NAME = re.compile(r"^step-(\d{12})\.safetensors$")


@dataclass(frozen=True)
class RunDirectory:
    """A run directory that is being written.

    Attributes:
        path: The folder.
    """

    path: Path

    def check_usable(self, *, resume: bool) -> None:
        """Refuse a folder that holds something else than the run that is to be resumed.

        Raises:
            RunError: It is a file, holds a run that is not to be resumed, or holds files of the user's.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: must be a folder, but is a file; choose another (--out)")
        if not self.path.is_dir():
            if resume:
                beside = [item.name for item in self.path.parent.glob("*") if item.is_dir()]
                raise RunError(f"{self.path}: there is no such run to resume{nearest(self.path.name, beside)}")
            return
        if not any(self.path.iterdir()):
            return
        if not resume:
            raise RunError(
                f"{self.path}: is not empty; resume its run (resume, --resume) or choose another folder (out, --out)"
            )
        if not (self.path / SUMMARY).is_file() and not self.checkpoints():
            raise RunError(f"{self.path}: holds no run to resume (no {SUMMARY}, no checkpoints); choose another folder")

    def remove_if_untrained(self) -> None:
        """Remove what was written if no epoch was completed: there is nothing in it to go on with."""
        if self.checkpoints() or (self.path / METRICS).exists():
            return
        for name in (CONFIG, SUMMARY):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / CHECKPOINTS, self.path):
            with suppress(OSError):  # something of the user's is in it: it stays
                folder.rmdir()

    def create(self, spec: Spec) -> None:
        """Make the folders and write the resolved config.

        Raises:
            RunError: A file is in the way, or the folder cannot be written.
        """
        try:
            (self.path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path}: must be a folder that can be written: {error.strerror}; choose another with --out"
            ) from None
        write_text(self.path / CONFIG, to_yaml(spec.resolved))

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write one JSON object for each epoch."""
        write_text(self.path / METRICS, "".join(f"{json.dumps(row)}\n" for row in history))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write what the run is and how it ended."""
        write_text(self.path / SUMMARY, json.dumps(summary, indent=2) + "\n")

    def write_model(self, weights: dict[str, Array]) -> None:
        """Write the weights, neutral names and layout."""
        write_tensors(self.path / MODEL, weights, {"kind": "model"})

    def write_checkpoint(self, checkpoint: Checkpoint, keep: int) -> Path:
        """Write a checkpoint, then remove all but the newest ``keep``."""
        path = self.path / CHECKPOINTS / f"step-{checkpoint.progress.step:012d}.safetensors"
        checkpoint.write(path)
        for old in self.checkpoints()[:-keep]:
            old.unlink(missing_ok=True)
        return path

    def write_best(self, checkpoint: Checkpoint) -> None:
        """Write the best checkpoint so far."""
        checkpoint.write(self.path / CHECKPOINTS / BEST)

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        folder = self.path / CHECKPOINTS
        if not folder.is_dir():
            return []
        return sorted(item for item in folder.iterdir() if _NAME.match(item.name))


@dataclass(frozen=True)
class StoredRun:
    """A run directory that is read.

    Attributes:
        path: The folder.
        spec: The resolved spec.
        summary: What ``summary.json`` holds.
    """

    path: Path
    spec: Spec
    summary: dict[str, Any]

    @property
    def preparation(self) -> Preparation:
        """How the training treated its inputs."""
        return Preparation.from_dict(self.summary["data"])

    def class_names(self, output: str | None = None) -> tuple[str, ...] | None:
        """Names of the classes of an output (the main one unless it is named), if they are known."""
        known = self.summary["data"]["class_names"]
        if isinstance(known, dict):
            known = known.get(self.spec.graph.output_names[0] if output is None else output)
        return tuple(known) if known else None

    def history(self) -> list[dict[str, Any]]:
        """One row of metrics for each epoch."""
        path = self.path / METRICS
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: must hold one JSON object in each line: {error}") from None

    def weights(self, which: str = "last") -> dict[str, Array]:
        """The trained weights.

        Args:
            which: ``last``, or ``best`` for those of the best epoch by ``train.checkpoints.best``.

        Raises:
            WeightsError: The file is damaged or does not fit the config.
            RunError: The training has not ended.
        """
        if which == "best":
            return self._best_weights()
        path = self.path / MODEL
        if not path.is_file():
            raise RunError(
                f"{self.path}: has no {MODEL}, so its training did not end; "
                f"go on with: dualml train {self.path / CONFIG} --out {self.path} --resume"
            )
        arrays, _ = read_tensors(path)
        check_weights(arrays, self.spec.graph, str(path))
        return arrays

    def _best_weights(self) -> dict[str, Array]:
        path = self.path / CHECKPOINTS / BEST
        if not path.is_file():
            raise RunError(f"{self.path}: keeps no best checkpoint; train with validation data and checkpoints.best")
        weights = read_checkpoint(path, self.spec).weights
        return dict(weights)


def open_run(path: str | Path) -> StoredRun:
    """Open a run directory.

    Raises:
        RunError: It is no run directory, or a file in it is missing or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise RunError(f"{path}: must be a run directory that 'dualml train' wrote, but it {what}")
    for name in (CONFIG, SUMMARY):
        if not (path / name).is_file():
            raise RunError(f"{path}: must be a run directory that 'dualml train' wrote, but it has no {name}")
    try:
        spec = load(path / CONFIG)
    except ConfigError as error:
        raise RunError(f"{path}: its {CONFIG} is damaged:\n{error}") from None
    try:
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
        summary["data"]["normalisation"], summary["data"]["class_names"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path / SUMMARY}: is damaged: {type(error).__name__}: {error}") from None
    return StoredRun(path, spec, summary)


def to_yaml(spec: Spec) -> str:
    """A spec as YAML text, in the form of a config file."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of the settings
    stream = io.StringIO()
    yaml.dump(spec.to_dict(), stream)
    return stream.getvalue()
