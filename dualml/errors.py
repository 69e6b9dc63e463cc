"""The exceptions dualml raises on purpose.

DualmlError
 +-- ConfigError               a config file, override or flag is wrong (carries every problem found)
 +-- SpecError                 a model cannot be built as described (names the layer)
 +-- DataError                 a data file or array does not hold what it must
 +-- WeightsError              weights or a checkpoint do not fit, or are damaged
 +-- RunError                  a run directory is missing something or belongs to another model
 +-- TrainingError             training cannot go on (a loss that is not finite)
 +-- ParityError               two things that should be compared cannot be
 +-- ArtefactError             an artefact is incomplete, changed or of another format
 +-- GuardError                a file from outside is not safe to open
 +-- ServingError              a model cannot be served as asked
 +-- BackendError
      +-- BackendNotFoundError     no backend of that name is known
      +-- BackendUnavailableError  known, but its framework is not installed or not usable
      +-- UnsupportedError         the backend declares that it cannot do this

Every message says what must hold, what was found and what to do. The command line prints it on
stderr and exits with 2; anything that is not a ``DualmlError`` is a bug in dualml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DualmlError(Exception):
    """Base class: catch this to catch everything dualml reports about its input."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config.

    Attributes:
        where: ``file:line:column``, or the name of the flag or object that holds the value.
        path: Dotted path to the key, for example ``model.layers[2].dense.units``; empty for the whole file.
        message: What was expected, what was found and, where one is known, the remedy.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ConfigError(DualmlError):
    """A config is wrong. ``problems`` holds every problem found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = [Problem("", "", problems)]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(DualmlError):
    """A model cannot be built as described. ``layer`` is the path of the layer at fault."""

    def __init__(self, message: str, *, layer: str = "") -> None:
        self.layer = layer
        super().__init__(f"{layer}: {message}" if layer else message)


class DataError(DualmlError):
    """A data file or array does not hold what it must."""


class WeightsError(DualmlError):
    """Weights or a checkpoint do not fit the model, or the file is damaged."""


class RunError(DualmlError):
    """A run directory is incomplete or belongs to another model."""


class TrainingError(DualmlError):
    """Training cannot go on."""


class ParityError(DualmlError):
    """Two things that should be compared cannot be."""


class ArtefactError(DualmlError):
    """An artefact is incomplete, has been changed or has another format."""


class GuardError(DualmlError):
    """A file from outside is not safe to open, and was not opened."""


class ServingError(DualmlError):
    """A model cannot be served as asked: an address in use, a setting out of range."""


class BackendError(DualmlError):
    """Base class of what can be wrong with a backend."""


class BackendNotFoundError(BackendError):
    """No backend of that name is known."""


class BackendUnavailableError(BackendError):
    """The backend is known, but its framework is not installed or not usable."""


class UnsupportedError(BackendError):
    """The backend declares that it cannot do this."""
