"""A config file, with overrides, as a checked ``Spec``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dualml.config.messages import problems_of
from dualml.config.overrides import apply_overrides
from dualml.config.yaml_source import Source, parse_source, read_source
from dualml.errors import ConfigError, Problem
from dualml.spec.checks import SpecProblem, model_problems, spec_problems
from dualml.spec.config import Spec
from dualml.spec.model import Model
from dualml.spelling import dotted


def load(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """Read a config file.

    Args:
        path: A YAML file.
        overrides: Changes in the form ``path.to.key=value``, as ``--set`` takes them.

    Returns:
        The spec; file names in its data settings are made absolute, seen from the config's folder.

    Raises:
        ConfigError: Holds every problem, each with ``file:line:column`` and the path to the key.

    Example:
        >>> import dualml
        >>> dualml.load("configs/mlp.yaml", ["train.epochs=3"]).train.epochs
        3
    """
    path = Path(path)
    source = read_source(path)
    return _spec(source, overrides, path.parent)


def parse(text: str, overrides: Sequence[str] = (), *, name: str = "config", folder: Path | None = None) -> Spec:
    """Read a config from text; ``folder`` is where relative file names are looked for.

    Raises:
        ConfigError: Holds every problem.
    """
    return _spec(parse_source(text, name), overrides, folder or Path())


def _spec(source: Source, overrides: Sequence[str], folder: Path) -> Spec:
    if not isinstance(source.data, dict):
        message = "must be a mapping with keys such as model, loss and optimizer"
        raise ConfigError([Problem(source.where(()), "", message)])
    apply_overrides(source, overrides)
    try:
        spec = Spec.model_validate(source.data)
    except ValidationError as error:
        problems = problems_of(error, source, Spec)
        problems += [_placed(item, source) for item in _model_problems(source.data.get("model"))]
        raise ConfigError(problems) from None
    found = spec_problems(spec)
    if found:
        raise ConfigError([_placed(item, source) for item in found])
    return spec.anchored(folder)


def _model_problems(data: Any) -> list[SpecProblem]:
    """What does not fit in the graph, even though something elsewhere is wrong as well."""
    try:
        return model_problems(Model.model_validate(data))
    except ValidationError:
        return []


def _placed(problem: SpecProblem, source: Source) -> Problem:
    return Problem(source.where(problem.location), dotted(problem.location), problem.message)
