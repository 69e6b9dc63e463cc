"""The caller's end of a side that runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from dualml import errors
from dualml.errors import DualmlError, ParityError
from dualml.parity.records import Record
from dualml.spec.config import Spec
from dualml.spec.graph import Arithmetic
from dualml.training.run_directory import to_yaml
from dualml.weights import write_text

SECONDS_TO_LEAVE = 10.0
"""How long a worker may take to end by itself once it is no longer needed."""


class RemoteSide:
    """A side in a process of its own.

    Args:
        spec: The spec; its ``backend`` says where.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec.resolved
        self.temporary = tempfile.TemporaryDirectory(prefix="dualml-", ignore_cleanup_errors=True)
        self.folder = Path(self.temporary.name)
        self.messages = (self.folder / "messages.txt").open("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dualml.parity.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
        )
        config = self.folder / "config.yaml"
        write_text(config, to_yaml(self.spec))
        self.description: dict[str, Any] | None = None
        self.config = config

    def _ask(self, request: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": request, "with": arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ParityError(
                f"the process of backend {self.spec.backend!r} ended unexpectedly "
                f"(exit code {self.process.wait()}); its last words:\n{self._last_words()}"
            )
        answer = json.loads(line)
        if "error" in answer:
            kind = getattr(errors, answer["kind"], DualmlError)
            raise kind(answer["error"])
        return answer["result"]

    def _last_words(self) -> str:
        self.messages.flush()
        self.messages.seek(0)
        return "".join(self.messages.readlines()[-15:]) or "(none)"

    def _record(self, path: str) -> Record:
        record = Record.read(Path(path))
        Path(path).unlink()
        return record

    def start(self, precision: Arithmetic) -> Record:
        return self._record(self._ask("start", precision=precision))

    def advance(self, count: int) -> list[Record]:
        return [self._record(path) for path in self._ask("advance", count=count)]

    def full(self) -> Record:
        return self._record(self._ask("full"))

    def resynchronised(self, before: Record) -> Record:
        path = self.folder / "before.safetensors"
        before.write(path)
        return self._record(self._ask("resynchronised", before=str(path)))

    def finish(self) -> Record:
        return self._record(self._ask("finish"))

    def describe(self) -> dict[str, Any]:
        if self.description is None:
            self.description = self._ask("open", config=str(self.config), folder=str(self.folder))
        return self.description

    def close(self) -> None:
        if self.process.stdin is not None:
            with suppress(OSError):  # the process may be gone already
                self.process.stdin.close()
        try:
            self.process.wait(SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.messages.close()
        self.temporary.cleanup()
