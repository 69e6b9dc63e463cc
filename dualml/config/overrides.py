"""``--set path.to.key=value``: changes laid over a parsed config."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dualml.config.yaml_source import Location, Source, parse_source
from dualml.errors import ConfigError, Problem
from dualml.spelling import dotted

_PART = re.compile(r"^([^.\[\]]+)((?:\[\d+\])*)$")


def split_path(path: str) -> Location:
    """A dotted path as a location.

    Example:
        >>> split_path("model.layers[2].dense.units")
        ('model', 'layers', 2, 'dense', 'units')

    Raises:
        ValueError: It is not a dotted path.
    """
    location: list[str | int] = []
    for part in path.split("."):
        if part.isdigit():
            location.append(int(part))
            continue
        match = _PART.match(part)
        if match is None:
            raise ValueError(f"{path!r} is not a path such as train.epochs or model.layers[2].dense.units")
        location.append(match[1])
        location.extend(int(index) for index in re.findall(r"\[(\d+)\]", match[2]))
    return tuple(location)


def apply_overrides(source: Source, overrides: Sequence[str]) -> None:
    """Lay overrides over a config, in their order; values are read as YAML.

    Raises:
        ConfigError: An override is not ``path=value``, or leads through something that has no keys.
    """
    problems = []
    for text in overrides:
        try:
            _apply(source, text)
        except ValueError as error:
            problems.append(Problem(f"--set {text}", "", str(error)))
        except ConfigError as error:
            problems.extend(Problem(f"--set {text}", "", item.message) for item in error.problems)
    if problems:
        raise ConfigError(problems)


def _apply(source: Source, text: str) -> None:
    path, equals, value_text = text.partition("=")
    if not equals or not path.strip():
        raise ValueError("must have the form path.to.key=value, for example train.epochs=5")
    location = split_path(path.strip())
    value = parse_source(value_text, "").data if value_text.strip() else None
    parent = source.data
    for depth, part in enumerate(location[:-1]):
        parent = _child(parent, part, location[: depth + 1])
    last = location[-1]
    if isinstance(parent, list):
        if not isinstance(last, int) or last >= len(parent):
            raise ValueError(f"{dotted(location[:-1])} has the entries 0 to {len(parent) - 1}, got {last!r}")
        parent[last] = value
    elif isinstance(parent, dict):
        parent[str(last)] = value
    else:
        raise ValueError(f"{dotted(location[:-1])} is {parent!r}, which has no keys to set")
    source.overrides[location] = text


def _child(parent: Any, part: str | int, location: Location) -> Any:
    if isinstance(parent, list):
        if not isinstance(part, int) or part >= len(parent):
            raise ValueError(f"{dotted(location[:-1])} has the entries 0 to {len(parent) - 1}, got {part!r}")
        child = parent[part]
        container: Any = parent
        key: Any = part
    elif isinstance(parent, dict):
        key, container = str(part), parent
        child = parent.get(key)
    else:
        raise ValueError(f"{dotted(location[:-1])} is {parent!r}, which has no keys to set")
    if child is None:  # a new mapping, or a key without settings
        child = container[key] = {}
    elif isinstance(child, str):  # a bare name such as ``adam`` becomes a key whose settings can be set
        child = container[key] = {child: {}}
    return child
