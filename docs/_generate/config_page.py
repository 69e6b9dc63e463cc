"""docs/config.md: every setting, from the docstrings in dualml/spec."""

from __future__ import annotations

import inspect
import itertools
import re
import typing
from collections.abc import Collection, Iterator

from _generate import texts
from _generate.sections import SECTIONS, Section, check_complete, check_families
from _generate.values import default, value
from dualml.spec.base import Keyed, Settings

Row = tuple[str, str, str, str]
"""Setting, value, default and description."""


def lines() -> Iterator[str]:
    """The page."""
    check_families()
    check_complete()
    yield "# Every setting\n"
    yield "<!-- Written by docs/generate.py; change the docstrings in dualml/spec instead. -->\n"
    yield texts.INTRODUCTION
    yield texts.EXAMPLE
    yield "Sections:\n"
    for section in SECTIONS:
        kinds = ", ".join(f"`{item.kind}`" for item in section.classes if issubclass(item, Keyed))
        yield f"- [{section.heading}](#{anchor(section.heading)})" + (f": {kinds}" if kinds else "")
    yield ""
    for section in SECTIONS:
        yield from _section(section)


def anchor(heading: str) -> str:
    """The name a heading is linked by, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.heading}\n"
    if section.text:
        yield section.text
    common = _common(section)
    if common and section.classes:
        yield f"{_told(section.common)}\n" if section.common is not None else ""
        yield "Settings that several of them have; where a table below has the same setting, that one holds.\n"
    yield from _table(common)
    for _, group in itertools.groupby(section.classes, key=lambda item: _together(item, common)):
        yield from _entry(tuple(group), common, alone=len(section.classes) == 1)


def _common(section: Section) -> list[Row]:
    """The settings of the common base that stand unchanged in at least two of a section's tables."""
    if section.common is None:
        return []
    rows = list(_rows(section.common, _siblings(section.common) if section.classes else set()))
    tables = [list(_rows(item, set())) for item in section.classes]
    return [row for row in rows if not tables or sum(row in table for table in tables) > 1]


def _together(settings: type[Settings], common: list[Row]) -> object:
    """What settings that are described together have in common: a base with a description, and the same table."""
    base = settings.__mro__[1]
    family = base if base.__name__[0] != "_" and base.__doc__ and base.__module__ == settings.__module__ else settings
    return family, tuple(_own_rows(settings, common))


def _entry(group: tuple[type[Settings], ...], common: list[Row], *, alone: bool) -> Iterator[str]:
    """Settings with the same table: their names, what they mean, and the table."""
    first = group[0]
    if not alone:
        yield f"### {', '.join(map(title, group))}\n"
    if len(group) > 1:
        yield _told(first.__mro__[1]) + "\n"
        for settings in group:
            yield f"- {title(settings)}: {_told(settings)}"
        yield ""
    else:
        yield _told(first) + "\n"
    yield from _table(_own_rows(first, common))


def title(settings: type[Settings]) -> str:
    """What selects a class in a file, or its name."""
    if issubclass(settings, Keyed):
        return f"`{settings.kind}`"
    source = settings.model_fields.get("source")
    if source is not None:
        return f"`source: {typing.get_args(source.annotation)[0]}`"
    return settings.__name__


def _told(settings: type[Settings]) -> str:
    """The docstring, without what is for Python only and with its formulas as Markdown."""
    text = inspect.cleandoc(settings.__doc__ or "")
    for part in ("Example:", "Raises:", "Attributes:"):
        text = text.split(f"\n{part}")[0]
    text = re.sub(r"; see ``\w+``", "", text)
    return text.strip().replace("``", "`").replace("::\n\n    ", ":\n\n    ")


def _rows(settings: type[Settings], without: Collection[str]) -> Iterator[Row]:
    positional = settings.positional()[:1] if issubclass(settings, Keyed) else ()
    for name, field in settings.model_fields.items():
        if name not in without:
            told = " ".join((field.description or "").split()).replace("``", "`").replace("|", "\\|")
            yield f"`{name}`" + ("*" if name in positional else ""), value(field), default(settings, name), told


def _own_rows(settings: type[Settings], common: list[Row]) -> list[Row]:
    """The rows that are not already in the table of the section's common settings."""
    return [row for row in _rows(settings, {"source", *_siblings(settings)}) if row not in common]


def _siblings(settings: type[Settings]) -> frozenset[str]:
    """Settings that may stand beside the key: those that every layer has."""
    return settings.siblings if issubclass(settings, Keyed) else frozenset()


def _table(rows: list[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "| setting | value | default | |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
