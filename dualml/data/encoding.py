"""What turns examples that are no numbers, such as text and categories, into the arrays a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from dualml.data.rows import Inputs


class Encoding(Protocol):
    """Fitted to the training examples and stored with the run, so that new examples are treated like them."""

    def encode(self, examples: Any) -> Inputs:
        """Examples as the source reads them, as arrays of numbers: ids are integers, shape ``(n, *example)``."""

    def read(self, path: Path) -> Any:
        """New examples from a file, as ``encode`` takes them.

        Raises:
            DataError: The file is not readable, or holds no such examples.
        """

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the key ``kind``."""
