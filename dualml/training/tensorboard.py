"""TensorBoard logs of a finished or resumed training, written without TensorFlow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dualml.errors import RunError

FILE = "events.out.tfevents.dualml"


def write_logs(path: Path, history: list[dict[str, Any]]) -> None:
    """Write each metric of each epoch as a scalar to ``path/tensorboard/``.

    The event file is written with TensorBoard's own record writer and messages. Its ``SummaryWriter`` is not
    used, because it imports TensorFlow wherever that is installed.

    Raises:
        RunError: TensorBoard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ModuleNotFoundError as error:
        raise RunError(
            f"train.tensorboard needs the package {error.name!r}; run: pip install 'dualml[tensorboard]'"
        ) from None
    from dualml.weights import write_atomically

    folder = path / "tensorboard"
    folder.mkdir(exist_ok=True)
    now = time.time()

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
            for row in history:
                values = [
                    Summary.Value(tag=tag, simple_value=value)
                    for tag, value in row.items()
                    if tag not in ("epoch", "step") and value is not None
                ]
                event = Event(wall_time=now, step=row["epoch"], summary=Summary(value=values))
                writer.write(event.SerializeToString())
            writer.flush()

    write_atomically(folder / FILE, write)
