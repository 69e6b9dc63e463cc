"""A side in a process of its own: reads requests from stdin, answers on stdout, hands arrays over in files.

Two frameworks in one process can disturb each other (import order, threads); one process each cannot.
Run as ``python -m dualml.parity.worker``; ``dualml.parity.remote`` is its only caller.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from dualml.errors import DualmlError


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a framework prints to stdout must not mix with the answers
    session = _Session()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(session, request["do"])(**request["with"])}
        except DualmlError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class _Session:
    """The requests a worker knows; records come and go as paths of files."""

    def open(self, config: str, folder: str) -> dict[str, Any]:
        from dualml.api import load_dataset
        from dualml.config import load
        from dualml.parity.side import LocalSide

        spec = load(config).resolved
        self.folder = Path(folder)
        self.count = 0
        self.side = LocalSide(spec, load_dataset(spec))
        return self.side.describe()

    def start(self, precision: Any) -> str:
        return self._written(self.side.start(precision))

    def advance(self, count: int) -> list[str]:
        return [self._written(record) for record in self.side.advance(count)]

    def full(self) -> str:
        return self._written(self.side.full())

    def resynchronised(self, before: str) -> str:
        from dualml.parity.records import Record

        return self._written(self.side.resynchronised(Record.read(Path(before))))

    def finish(self) -> str:
        return self._written(self.side.finish())

    def _written(self, record: Any) -> str:
        self.count += 1
        path = self.folder / f"record-{self.count:07d}.safetensors"
        record.write(path)
        return str(path)


if __name__ == "__main__":
    main()
