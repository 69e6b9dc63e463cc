"""Plain text and tables: UTF-8 with lines of a sane length."""

from __future__ import annotations

import codecs
from pathlib import Path

from dualml.errors import GuardError
from dualml.guards.files import LARGEST, MIB, regular

LONGEST_LINE = 64 * MIB


def check(path: Path) -> None:
    """Refuse a file that is not text.

    Raises:
        GuardError: Says what is wrong.
    """
    regular(path, LARGEST["text"])
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 0
    try:
        with path.open("rb") as file:
            while block := file.read(MIB):
                if b"\0" in block:
                    raise GuardError(f"{path}: must be text, but holds zero bytes")
                decoder.decode(block)
                line = line + len(block) if b"\n" not in block else len(block) - block.rfind(b"\n")
                if line > LONGEST_LINE:
                    raise GuardError(f"{path}: must be text with lines of at most {LONGEST_LINE:,} bytes")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise GuardError(f"{path}: must be text in UTF-8, but is not; convert it") from None
    except OSError as error:
        raise GuardError(f"{path}: must be readable, but is not: {error.strerror}; check its permissions") from None
