"""YAML read into plain values, with the place of every key and value remembered.

The composer is used rather than a loader: its nodes carry line and column, and nothing but plain scalars,
lists and mappings is ever built. YAML 1.2 rules apply: ``1e-3`` is a number, ``no`` is text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualml.errors import ConfigError, Problem
from dualml.guards.yaml_text import check_count, check_depth

Location = tuple[str | int, ...]

LARGEST_FILE = 4 * 2**20
"""Bytes; a larger file is not a config."""


@dataclass
class Source:
    """A parsed document.

    Attributes:
        name: File name, or what stands for it, for messages.
        data: Plain values: dict, list, str, int, float, bool, None.
        keys: Line and column of each mapping key, by location.
        values: Line and column of each value, by location.
        overrides: The ``--set`` that put a value there, by location.
    """

    name: str
    data: Any = None
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)
    values: dict[Location, tuple[int, int]] = field(default_factory=dict)
    overrides: dict[Location, str] = field(default_factory=dict)

    def place(self, location: Location) -> tuple[int, int]:
        """Line and column of a location or of the nearest one around it, for sorting."""
        for end in range(len(location), -1, -1):
            place = self.keys.get(location[:end]) or self.values.get(location[:end])
            if place is not None:
                return place
        return 0, 0

    def where(self, location: Location, *, key: bool = False) -> str:
        """``file:line:column`` of a location, or of the nearest one around it; or the override that set it."""
        for end in range(len(location), -1, -1):
            around = location[:end]
            if around in self.overrides:
                return f"--set {self.overrides[around]}"
            place = (self.keys.get(around) if key or end < len(location) else None) or self.values.get(around)
            if place is not None:
                return f"{self.name}:{place[0]}:{place[1]}"
        return self.name


def read_source(path: Path) -> Source:
    """Read a config file.

    Raises:
        ConfigError: It cannot be read, is not UTF-8 text, or is not YAML.
    """
    name = str(path)
    try:
        if path.is_dir():
            raise ConfigError([Problem(name, "", "must be a config file, but is a folder; name the YAML file in it")])
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError([Problem(name, "", f"is larger than {LARGEST_FILE} bytes; is it really a config?")])
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([Problem(name, "", f"no such file{_beside(path)}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Problem(name, "", f"must be UTF-8 text, but byte {error.start} is not; is it YAML?")]
        ) from None
    except OSError as error:
        raise ConfigError([Problem(name, "", f"cannot be read: {error.strerror}")]) from None
    return parse_source(text, name)


def _beside(path: Path) -> str:
    from dualml.spelling import nearest

    try:
        files = sorted(item.name for item in path.parent.iterdir() if item.suffix in (".yaml", ".yml"))
    except OSError:
        return f"; there is no folder {str(path.parent)!r} either"
    return nearest(path.name, files)


def parse_source(text: str, name: str) -> Source:
    """Parse YAML text; ``name`` stands for the file in messages.

    Raises:
        ConfigError: Not YAML, a key twice, or more than plain values.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    source = Source(name)
    try:
        check_depth(text)
        node = yaml.compose(text)
        check_count(node)
        if node is not None:
            source.data = _Reader(source, yaml).value(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        hint = "; indent with spaces, entries of one level equally deep, and close every bracket and quote"
        raise ConfigError([Problem(where, "", f"is not valid YAML: {error.problem or error.context}{hint}")]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError([Problem(name, "", f"is not valid YAML: {first}")]) from None
    if not source.values:
        raise ConfigError([Problem(name, "", "is empty; a config needs at least model, loss and optimizer")])
    return source


class _Reader:
    def __init__(self, source: Source, yaml: Any) -> None:
        self.source = source
        self.constructor = yaml.constructor

    def value(self, node: Any, location: Location) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.source.values[location] = (line, column)
        if not str(node.tag).startswith("tag:yaml.org,2002:") or "python" in str(node.tag):
            self.fail(line, column, f"is not valid YAML for a config: the tag {node.tag} is not allowed; remove it")
        if isinstance(node, MappingNode):
            return self.mapping(node, location)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        value = self.constructor.construct_object(node)
        if value is not None and not isinstance(value, str | int | float | bool):
            return node.value  # a date is text here
        return value

    def mapping(self, node: Any, location: Location) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if key_node.tag == "tag:yaml.org,2002:merge" or key_node.value == "<<":
                merged |= self.merge(value_node, location)
                continue
            key = key_node.value
            if not isinstance(key, str):
                self.fail(line, column, "keys must be plain text")
            if key in own:
                self.fail(line, column, f"the key {key!r} stands here twice; keep one")
            self.source.keys[(*location, key)] = (line, column)
            own[key] = self.value(value_node, (*location, key))
        return {**merged, **own}

    def merge(self, node: Any, location: Location) -> dict[str, Any]:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        merged: dict[str, Any] = {}
        for item in reversed(node.value if isinstance(node, SequenceNode) else [node]):
            if not isinstance(item, MappingNode):
                self.fail(item.start_mark.line + 1, item.start_mark.column + 1, "<< must name a mapping")
            merged |= self.mapping(item, location)
        return merged

    def fail(self, line: int, column: int, message: str) -> None:
        raise ConfigError([Problem(f"{self.source.name}:{line}:{column}", "", message)])
