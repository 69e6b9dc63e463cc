"""Guards: what a file from outside must look like before any parser sees its bytes.

``check`` looks at one file, or at every file of an artefact, and refuses what could run code, read other files, claim
memory out of proportion to its size or mean two things at once. It reads with plain Python and imports no framework.
A file that passes is well formed and bounded; whether it is the file its maker wrote, ``dualml verify`` says.
"""

from __future__ import annotations

from dualml.errors import GuardError
from dualml.guards.dispatch import check, check_bytes
from dualml.guards.files import read_bounded

__all__ = ["GuardError", "check", "check_bytes", "read_bounded"]
