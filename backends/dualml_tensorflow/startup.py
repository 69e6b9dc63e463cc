"""TensorFlow's notes at import, left out; anything else it says still reaches stderr.

TensorFlow 2.21 writes that oneDNN is on before its logging is set up, so no setting silences it
(tensorflow/tensorflow#100442). Four lines of it at the head of every command bury what the command says.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOTES = (b"All log messages before absl::InitializeLog()", b"oneDNN custom operations are on")
"""What a line must contain to be left out."""


@contextmanager
def without_notes() -> Iterator[None]:
    """Leave ``NOTES`` out of what is written to file descriptor 2 meanwhile; the rest passes line by line."""
    try:
        stderr = os.dup(2)
    except OSError:  # a process without stderr has nothing to keep clean
        yield
        return
    reading, writing = os.pipe()

    def forward() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                if not any(note in line for note in NOTES):
                    os.write(stderr, line)

    reader = threading.Thread(target=forward, daemon=True)
    reader.start()
    sys.stderr.flush()
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)  # closes the pipe's only writing end, so the reader ends
        reader.join()
        os.close(stderr)
