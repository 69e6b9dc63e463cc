"""What a training tells while it runs: a live display, plain lines, or nothing."""

from __future__ import annotations

from typing import Any, Protocol, TextIO


class Observer(Protocol):
    """Told what happens in a training."""

    def started(self, epochs: int, updates_per_epoch: int, epoch: int, title: str) -> None:
        """Training begins, or goes on at ``epoch`` (counted from 0)."""

    def advanced(self, epoch: int, update: int, loss: float, samples_per_second: float) -> None:
        """Some updates of an epoch are done; ``loss`` is the last update's."""

    def epoch_ended(self, row: dict[str, Any]) -> None:
        """An epoch is done; ``row`` is its line in ``metrics.jsonl``."""

    def note(self, message: str) -> None:
        """Something the user should know."""

    def ended(self) -> None:
        """Training is over, however it ended."""


class Quiet:
    """Tells nothing."""

    def started(self, epochs: int, updates_per_epoch: int, epoch: int, title: str) -> None:
        """Do nothing."""

    def advanced(self, epoch: int, update: int, loss: float, samples_per_second: float) -> None:
        """Do nothing."""

    def epoch_ended(self, row: dict[str, Any]) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""

    def ended(self) -> None:
        """Do nothing."""


def describe(row: dict[str, Any], epochs: int) -> str:
    """One epoch's metrics as a line.

    Example:
        >>> describe({"epoch": 1, "train_loss": 0.5, "val_loss": None, "lr": 0.001, "samples_per_second": 9999.0}, 3)
        'epoch 1/3  train_loss 0.5000  lr 0.001  9,999 samples/s'
    """
    width = len(str(epochs))
    parts = [f"epoch {row['epoch']:>{width}}/{epochs}"]
    for name, value in row.items():
        if name.startswith(("train_", "val_")) and value is not None:
            parts.append(f"{name} {value:.4f}")
    parts += [f"lr {row['lr']:.6g}", f"{row['samples_per_second']:,.0f} samples/s"]
    return "  ".join(parts)


class PlainLines(Quiet):
    """One line for each epoch: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.epochs = 0

    def started(self, epochs: int, updates_per_epoch: int, epoch: int, title: str) -> None:
        self.epochs = epochs
        self.note(title)

    def epoch_ended(self, row: dict[str, Any]) -> None:
        self.note(describe(row, self.epochs))

    def note(self, message: str) -> None:
        print(message, file=self.stream, flush=True)


class LiveDisplay(Quiet):
    """A bar for the running epoch with loss, rate and time left; finished epochs stay above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(file=stream, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}{task.fields[metrics]}  {task.fields[rate]} samples/s"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.epochs = self.updates_per_epoch = 0

    def started(self, epochs: int, updates_per_epoch: int, epoch: int, title: str) -> None:
        self.epochs, self.updates_per_epoch = epochs, updates_per_epoch
        self.console.print(title)
        self.task = self.progress.add_task(
            f"epoch {epoch + 1}/{epochs}", total=epochs * updates_per_epoch, loss="...", rate="...", metrics=""
        )
        self.progress.update(self.task, completed=epoch * updates_per_epoch)
        self.progress.start()

    def advanced(self, epoch: int, update: int, loss: float, samples_per_second: float) -> None:
        self.progress.update(
            self.task,
            description=f"epoch {epoch + 1}/{self.epochs}",
            completed=epoch * self.updates_per_epoch + update,
            loss=f"{loss:.4f}",
            rate=f"{samples_per_second:,.0f}",
        )

    def epoch_ended(self, row: dict[str, Any]) -> None:
        self.console.print(describe(row, self.epochs))
        watched = {name: value for name, value in row.items() if name.startswith("val_") and value is not None}
        metrics = "".join(f"  {name} {value:.4f}" for name, value in watched.items() if name != "val_loss")
        self.progress.update(self.task, metrics=metrics)

    def note(self, message: str) -> None:
        self.console.print(message)

    def ended(self) -> None:
        self.progress.stop()
