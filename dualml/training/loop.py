"""The training loop: one for every backend."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from dualml import randomness
from dualml.data import Dataset
from dualml.errors import RunError, TrainingError
from dualml.evaluation import evaluate, take
from dualml.protocol import Array, Backend, Network, Trainer
from dualml.spec.config import Spec
from dualml.spec.metrics import Metric, larger_is_better
from dualml.spec.schedules import ReduceOnPlateau
from dualml.training.checkpoint import Checkpoint, Progress, read_checkpoint
from dualml.training.plan import Plan, dropout_masks
from dualml.training.progress import Observer
from dualml.training.run_directory import RunDirectory
from dualml.training.tensorboard import write_logs

SECONDS_PER_CHUNK = 0.3
"""How long the framework is left alone between two looks at the clock; results do not depend on it."""
BYTES_PER_CHUNK = 64 * 2**20
"""Most bytes of masks or of rows read from disk that one chunk may need."""

UPDATES_PER_SEED = 64
"""Updates between two seeds of the frameworks' own random numbers (``randomness: native``)."""


class TrainingInterruptedError(TrainingError):
    """The user stopped the training; the last checkpoint is kept."""


@dataclass
class Training:
    """One training in progress.

    Attributes:
        spec: The spec, every default filled in.
        backend: Where it runs.
        dataset: The examples.
        network: The model.
        directory: Where it is written; ``None`` keeps it in memory.
        observer: Who is told.
        interrupted: Asked between chunks whether to stop.
    """

    spec: Spec
    backend: Backend
    dataset: Dataset
    network: Network
    directory: RunDirectory | None
    observer: Observer
    interrupted: Callable[[], bool] = lambda: False
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.plan = Plan(self.spec, len(self.dataset.train))
        train = self.spec.train
        if train.early_stopping is not None and self.dataset.validation is None:
            raise TrainingError(
                "train.early_stopping needs validation examples, but there are none; set data.validation above 0"
            )
        schedule, unseen = self.spec.schedule, self.dataset.validation is None
        if isinstance(schedule, ReduceOnPlateau) and schedule.metric != "train_loss" and unseen:
            raise TrainingError(
                f"schedule.reduce_on_plateau watches {schedule.metric}, but there are no validation examples; "
                "set data.validation above 0, or watch train_loss"
            )
        self.trainer: Trainer = self.network.trainer(
            self.spec.objective,
            self.spec.optimizer,
            batch_size=train.batch_size,
            update_size=self.plan.update_size,
            clip=train.clip,
        )
        self.fingerprint = self.dataset.fingerprint()
        self.chunk = 16  # updates; adapts to the machine's speed

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        checkpoint = read_checkpoint(path, self.spec)
        if checkpoint.fingerprint != self.fingerprint:
            raise RunError(
                f"{path}: was trained on other data than the config gives now (their fingerprints differ); "
                "bring the data back, or train into another directory (--out)"
            )
        self.network.set_weights(checkpoint.weights)
        self.trainer.set_state(checkpoint.state)
        self.progress = checkpoint.progress

    def run(self) -> str:
        """Train to the end.

        Returns:
            How it ended: ``finished`` or ``stopped early``.

        Raises:
            TrainingInterruptedError: The user stopped it.
            TrainingError: A loss is not finite.
            RunError: The directory cannot be written.
        """
        epochs = self.spec.train.epochs
        placed = None if self.dataset.train.memory_mapped else self.place(np.arange(len(self.dataset.train)))
        versions = " ".join(f"{name} {version}" for name, version in self.backend.versions().items())
        self.observer.started(
            epochs,
            self.plan.updates_per_epoch,
            self.progress.epoch,
            f"{self.backend.name} ({versions}), {self.spec.precision}, {len(self.dataset.train):,} training examples",
        )
        warmup = self.spec.schedule.warmup
        units = epochs * (self.plan.updates_per_epoch if self.spec.schedule.unit == "step" else 1)
        if warmup is not None and warmup.length >= units:
            self.observer.note(
                f"note: the warm-up takes {warmup.length} {self.spec.schedule.unit}s, the whole training only {units}"
            )
        try:
            while self.progress.epoch < epochs:
                if self.must_stop():
                    return "stopped early"
                self.epoch(placed)
            return "finished"
        finally:
            self.observer.ended()

    def must_stop(self) -> bool:
        """Whether early stopping has waited long enough."""
        stopping = self.spec.train.early_stopping
        return stopping is not None and self.progress.waited >= stopping.patience

    def place(self, rows: Array) -> Any:
        """Rows of the training data as the framework holds them."""
        return self.trainer.place(take(self.dataset.train, rows, self.spec.dtype))

    def epoch(self, placed: Any) -> None:
        """Train one epoch, or the rest of one."""
        progress, plan = self.progress, self.plan
        order = plan.order(progress.epoch)
        while progress.update < plan.updates_per_epoch:
            if self.interrupted():
                self.stop()
            if self.spec.randomness == "native":
                # Seeded by where the training is, not by its past: a resumed run draws what the undisturbed one draws.
                self.network.seed(randomness.integer(self.spec.seed, "native", step=progress.step))
            updates = min(self.chunk_size(), plan.updates_per_epoch - progress.update)
            rows = order[progress.update * plan.update_size : (progress.update + updates) * plan.update_size]
            start = time.perf_counter()
            losses = self.advance(placed, rows, updates)
            seconds = time.perf_counter() - start
            self.check_finite(losses)
            sizes = np.minimum(plan.update_size, len(rows) - plan.update_size * np.arange(updates))
            for loss, size in zip(losses.tolist(), sizes.tolist(), strict=True):
                progress.loss_sum += loss * size  # one by one: the sum must not depend on where chunks end
            progress.examples += len(rows)
            progress.seconds += seconds
            progress.step += updates
            progress.update += updates
            self.observer.advanced(progress.epoch, progress.update, float(losses[-1]), len(rows) / seconds)
            self.chunk = max(1, min(4 * self.chunk, round(updates * SECONDS_PER_CHUNK / seconds)))
        self.end_epoch()

    def chunk_size(self) -> int:
        """Updates in the next chunk: about ``SECONDS_PER_CHUNK``, and no more memory than ``BYTES_PER_CHUNK``."""
        if self.spec.randomness == "native":  # the same blocks in every run: each begins with a seed
            return UPDATES_PER_SEED - self.progress.update % UPDATES_PER_SEED
        bytes_per_row = sum(math.prod(node.random_mask or ()) for node in self.network.graph.dropouts)
        if self.dataset.train.memory_mapped:
            bytes_per_row += sum(math.prod(item.shape) for item in self.network.graph.inputs) * 8
        return max(1, min(self.chunk, BYTES_PER_CHUNK // max(1, bytes_per_row * self.plan.update_size)))

    def advance(self, placed: Any, rows: Array, updates: int) -> Array:
        """Do some updates and return their losses."""
        step = self.progress.step
        masks = dropout_masks(self.network.graph, self.spec, step, len(rows), self.plan.update_size)
        if placed is None:  # rows on disk: bring in this chunk's
            placed, rows = self.place(rows), np.arange(len(rows))
        return self.trainer.run(placed, rows, self.plan.rates(step, updates, self.progress.history), masks=masks)

    def check_finite(self, losses: Array) -> None:
        """Stop if a loss is NaN or infinite."""
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            self.fail(f"the loss became {losses[bad[0]]} at step {self.progress.step + int(bad[0]) + 1}")

    def check_weights(self) -> None:
        """Stop if the last update of an epoch left weights that are not finite: no loss has seen them yet."""
        for name, array in self.network.get_weights().items():
            if not np.isfinite(array).all():
                self.fail(f"{name} is no longer finite after step {self.progress.step}")

    def fail(self, what: str) -> NoReturn:
        """Say what became of the training, and what to try."""
        kept = ""
        if self.directory is not None and self.directory.checkpoints():
            kept = f"; the last good checkpoint is {self.directory.checkpoints()[-1]}"
        raise TrainingError(
            f"{what} (epoch {self.progress.epoch + 1}), so training stopped{kept}; "
            "try a lower learning rate, train.clip, or precision: float64"
        )

    def end_epoch(self) -> None:
        """Validate, record, keep what must be kept."""
        progress, train = self.progress, self.spec.train
        self.check_weights()
        row: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.examples,
            "val_loss": None,
            **{f"val_{metric.name}": None for metric in self.scalar_metrics},
            "lr": float(self.plan.rates(progress.step - 1, 1, progress.history)[0]),
            "seconds": progress.seconds,
            "samples_per_second": progress.examples / progress.seconds,
        }
        if self.dataset.validation is not None:
            results = evaluate(self.network, self.dataset.validation, self.spec.objective, self.scalar_metrics)
            row |= {f"val_{name}": value for name, value in results.items()}
        progress.history.append(row)
        progress.epoch += 1
        progress.update = progress.examples = 0
        progress.loss_sum = progress.seconds = 0.0
        is_best = self.note_best(row)
        self.note_stopping(row)
        self.observer.epoch_ended(row)
        last = progress.epoch == train.epochs or self.must_stop()
        if self.directory is None:
            return
        with writing(self.directory.path):
            self.directory.write_metrics(progress.history)
            if train.tensorboard:
                write_logs(self.directory.path, progress.history)
            if last or is_best or progress.epoch % train.checkpoints.every == 0:
                checkpoint = self.checkpoint()
                if last or progress.epoch % train.checkpoints.every == 0:
                    self.directory.write_checkpoint(checkpoint, train.checkpoints.keep)
                if is_best:
                    self.directory.write_best(checkpoint)

    def note_best(self, row: dict[str, Any]) -> bool:
        """Whether this epoch is the best so far by the metric of ``train.checkpoints.best``."""
        metric = self.spec.train.checkpoints.best
        value = row.get(metric)
        if not self.improves(metric, value, self.progress.best):
            return False
        self.progress.best, self.progress.best_epoch = value, row["epoch"]
        return True

    def note_stopping(self, row: dict[str, Any]) -> None:
        """Count the epochs since early stopping's metric improved."""
        stopping = self.spec.train.early_stopping
        if stopping is None:
            return
        if self.improves(stopping.metric, row[stopping.metric], self.progress.stopping_best, stopping.min_delta):
            self.progress.stopping_best, self.progress.waited = row[stopping.metric], 0
        else:
            self.progress.waited += 1

    @property
    def scalar_metrics(self) -> list[Metric]:
        """What is measured after each epoch; a confusion matrix is left to the end."""
        return [metric for metric in self.spec.metrics or () if metric.scalar]

    def improves(self, metric: str, value: float | None, best: float | None, min_delta: float = 0.0) -> bool:
        """Whether a value is better than the best so far; one that is undefined is not."""
        if value is None or math.isnan(value):
            return False
        if best is None:
            return True
        if larger_is_better(metric, self.scalar_metrics):
            return value > best + min_delta
        return value < best - min_delta

    def checkpoint(self) -> Checkpoint:
        """Where the training is now."""
        return Checkpoint(
            self.network.get_weights(), self.trainer.get_state(), self.progress, self.spec.to_dict(), self.fingerprint
        )

    def stop(self) -> None:
        """Keep where the training is, and say how to go on."""
        if self.directory is None:
            raise TrainingInterruptedError("interrupted; nothing is kept, because the training has no directory")
        with writing(self.directory.path):
            self.directory.write_metrics(self.progress.history)
            self.directory.write_checkpoint(self.checkpoint(), self.spec.train.checkpoints.keep)
        raise TrainingInterruptedError(
            f"interrupted at step {self.progress.step} (epoch {self.progress.epoch + 1}); the checkpoint is kept; "
            f"go on with: dualml train {self.directory.path / 'config.yaml'} --out {self.directory.path} --resume"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into one message; what was there before is still whole."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RunError(
            f"{path}: could not be written: {reason}; files written earlier are whole; "
            "make room or fix the permissions, then resume"
        ) from None
