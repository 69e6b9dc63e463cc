"""Which layers stand for each other, as a user writes it in a small file: paths on the left to paths on the right.

``{features.0: conv1, features.3: [conv2, relu2]}``; several layers of the left side are one key with commas between
them (``"head.a, head.b": head``). ``[]`` or ``null`` says that a layer has no counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualml.config.yaml_source import read_source
from dualml.errors import ParityError
from dualml.native.reading import Reading
from dualml.spec.graph import Node
from dualml.spelling import nearest


@dataclass(frozen=True)
class Mapped:
    """Layers that stand for each other.

    Attributes:
        left: Native paths on the left side.
        right: Native paths on the right side; none: nothing there stands for them.
        where: ``file:line:column``, for messages.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    where: str = ""


def read_mapping(path: Path | str) -> tuple[Mapped, ...]:
    """Read a file, YAML or JSON.

    Raises:
        ConfigError: It cannot be read or is neither.
        ParityError: It holds something else than paths.
    """
    source = read_source(Path(path))
    if not isinstance(source.data, dict):
        raise ParityError(
            f"{source.where(())}: a mapping file must hold left paths with the right paths that stand for them, "
            f"such as 'features.0: conv1'; got {_shown(source.data)}"
        )
    return tuple(_entry(key, value, source.where((key,), key=True)) for key, value in source.data.items())


def as_mapping(value: Path | str | Mapping[str, Any] | None) -> tuple[Mapped, ...]:
    """A mapping from what a user may give: a file, or the same in Python.

    Raises:
        ConfigError: A file cannot be read.
        ParityError: It holds something else than paths.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(_entry(key, item, "mapping") for key, item in value.items())
    return read_mapping(value)


def _entry(key: Any, value: Any, where: str) -> Mapped:
    right = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(key, str) or not isinstance(right, list | tuple) or any(not isinstance(p, str) for p in right):
        raise ParityError(
            f"{where}: must be a left path and one right path or a list of them, such as 'features.0: [conv1, relu1]'; "
            f"got {_shown(key)}: {_shown(value)}"
        )
    left = tuple(part.strip() for part in key.split(",") if part.strip())
    if not left:
        raise ParityError(f"{where}: must name a layer of the left side before the colon; got {_shown(key)}")
    return Mapped(left, tuple(right), where)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def places_of(given: Sequence[Mapped], reading: Reading, order: Sequence[Node], side: str) -> list[tuple[int, ...]]:
    """For each entry, the places of its nodes in an order.

    Args:
        given: What the user says.
        reading: The side's reading.
        order: Its nodes.
        side: ``left`` or ``right``.

    Raises:
        ParityError: A path is no layer's, or a layer is named twice.
    """
    known: dict[str, list[int]] = {}
    for place, node in enumerate(order):
        for path in {node.name, node.path, *(call.name for call in reading.places[node.name].calls)}:
            known.setdefault(path, []).append(place)
    taken: dict[int, str] = {}
    found = []
    for item in given:
        places: list[int] = []
        for path in item.left if side == "left" else item.right:
            own = [p for name, own in known.items() if name == path or name.startswith(f"{path}.") for p in own]
            if not own:
                raise ParityError(
                    f"{item.where}: the {side} model must have a layer {path!r} that is called{nearest(path, known)}"
                )
            for place in sorted(set(own) - set(places)):
                if place in taken:
                    raise ParityError(
                        f"{item.where}: {path!r} of the {side} model is mapped already, by {taken[place]!r}; a layer "
                        "can stand in one entry"
                    )
                taken[place] = path
                places.append(place)
        found.append(tuple(sorted(places)))
    return found
