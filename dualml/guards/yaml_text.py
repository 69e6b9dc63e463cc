"""YAML: plain values only, and no more of them than the text is long."""

from __future__ import annotations

import re
from typing import Any

from dualml.errors import ConfigError, GuardError

MOST_VALUES = 200_000
"""Values once aliases are expanded: a few lines can stand for thousands of millions."""
DEEPEST = 100
LONGEST_LEAD = 10 * DEEPEST
"""Characters of indentation, and of dashes that each begin a list."""
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_BRACKET = re.compile(r"[\[\]{}]")
_LEAD = re.compile(r"^[ \t?-]+", re.MULTILINE)


def check(data: bytes, where: str) -> None:
    """Refuse a text whose aliases expand without end, that is nested deeply, has tags or a key twice.

    Raises:
        GuardError: Says what is wrong.
    """
    from dualml.config.yaml_source import parse_source  # which calls the checks below

    try:
        parse_source(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise GuardError(f"{where}: must be YAML in UTF-8, but byte {error.start} is not") from None
    except ConfigError as error:
        raise GuardError(str(error)) from None


def check_depth(text: str) -> None:
    """Refuse a text that is nested deeply, before a reader descends into it.

    Raises:
        ValueError: It is.
    """
    level = 0
    for bracket in _BRACKET.findall(_COMMENT.sub("", text)):
        level = level + 1 if bracket in "[{" else max(0, level - 1)
        if level > DEEPEST:
            break
    if level > DEEPEST or any(len(lead) > LONGEST_LEAD for lead in _LEAD.findall(text)):
        raise ValueError(f"is nested more than {DEEPEST} levels deep")


def check_count(root: Any) -> None:
    """Refuse composed YAML that stands for too many values once aliases are expanded, or holds itself.

    Visits every node once.

    Raises:
        ValueError: It does.
    """
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    counts: dict[int, int] = {}
    around: set[int] = set()
    waiting = [(root, False)]
    while waiting:
        node, ready = waiting.pop()
        if node is None or id(node) in counts:
            continue
        if id(node) in around and not ready:
            raise ValueError("holds an alias of what stands around it, so it has no end")
        if isinstance(node, ScalarNode):
            counts[id(node)] = 1
            continue
        below = [item for pair in node.value for item in pair] if isinstance(node, MappingNode) else node.value
        if ready:
            around.remove(id(node))
            counts[id(node)] = 1 + sum(counts.get(id(item), 0) for item in below)
            if counts[id(node)] > MOST_VALUES:
                raise ValueError(f"holds more than {MOST_VALUES} values once its aliases are expanded")
        else:
            around.add(id(node))
            waiting.append((node, True))
            waiting += [(item, False) for item in below]
