"""What pydantic found wrong, as sentences with places: what was expected, what was found, the nearest name."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dualml.config.yaml_source import Location, Source
from dualml.errors import Problem
from dualml.spec.base import Keyed, OneKey, Settings
from dualml.spelling import dotted, nearest

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of settings",
    "model_type": "a mapping of settings",
    "model_attributes_type": "a mapping of settings",
    "path_type": "a path",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def problems_of(error: ValidationError, source: Source, root: type[Settings]) -> list[Problem]:
    """Every problem of a failed validation, with its place, in the order of the file.

    Args:
        error: What pydantic raised for ``source.data``.
        source: The parsed config.
        root: The class that was validated.
    """
    found: dict[Location, list[Problem]] = {}
    order: list[Location] = []
    for item in error.errors():
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # pydantic counts only the entries that are right; those that are wrong are reported themselves
        raw = tuple(item["loc"])
        location, rest = _in_file(raw, source.data)
        kind = item["type"]
        shown = (*location, rest[-1]) if kind == "missing" and rest else location
        if kind == "one_or_several":
            shown = (*location, item["ctx"]["key"])
        message = _message(item, raw, root)
        problem = Problem(source.where(location, key=kind == "extra_forbidden"), dotted(shown), message)
        if shown not in found:
            order.append(shown)
        found.setdefault(shown, []).append(problem)
    order.sort(key=lambda location: source.place(_in_file(location, source.data)[0]))
    return [_merged(found[location]) for location in order]


def _merged(problems: list[Problem]) -> Problem:
    """Problems of one value: the alternatives of a union, said in one sentence."""
    first = problems[0]
    messages = list(dict.fromkeys(problem.message for problem in problems))
    if len(messages) == 1:
        return first
    head, _, found = messages[0].partition(", got ")
    wanted = [head, *(message.partition(", got ")[0].removeprefix("must be ") for message in messages[1:])]
    wanted = [item for place, item in enumerate(wanted) if place == 0 or f"must be {item}" not in wanted]
    return Problem(first.where, first.path, " or ".join(wanted) + (f", got {found}" if found else ""))


def _in_file(raw: Location, data: Any) -> tuple[Location, Location]:
    """The part of a pydantic location that stands in the file, and what is left of it.

    pydantic puts the names of union members into its locations; those that are no keys of the file are skipped.
    """
    location: list[str | int] = []
    rest: list[str | int] = []
    beside: dict[str, Any] = {}
    for part in raw:
        if isinstance(part, str) and part in beside and not (isinstance(data, dict) and part in data):
            location.pop()  # a key beside that of its kind, such as a layer's name
            data = beside
        beside = data if isinstance(data, dict) else {}
        in_mapping = isinstance(data, dict) and part in data
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not (in_mapping or in_list):
            rest.append(part)
            continue
        data = data[part]
        location.append(part)
        rest.clear()
    return tuple(location), tuple(rest)


def _message(item: Any, raw: Location, root: type[Settings]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    got = found(item.get("input"))
    if kind == "one_or_several":
        return str(item["msg"])
    if kind == "missing":
        return f"is required{_description(raw, root)}"
    if kind == "extra_forbidden":
        owner = settings_at(raw[:-1], root)
        return f"unknown key{nearest(str(raw[-1]), owner.model_fields if owner else ())}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(item, context, [_tag(kind) or "" for kind in candidates_at(raw, root)])
    if kind == "literal_error":
        choices = [choice.strip().strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        hint = nearest(str(item.get("input")), choices) if len(choices) > 3 else ""
        return f"must be {context['expected']}, got {got}{hint if 'did you mean' in hint else ''}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}, got {got}"
    if kind in ("too_short", "string_too_short"):
        return f"must hold at least {context.get('min_length')} of them, got {got}"
    if kind == "string_pattern_mismatch":
        return f"must consist of letters, digits and _ and not begin with a digit, got {got}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        hint = ""
        if kind.startswith("float") and isinstance(item.get("input"), str):
            hint = "; write numbers without quotes"
        return f"must be {_EXPECTED[kind]}, got {got}{hint}"
    return f"{item['msg']}, got {got}"


def _wrong_kind(item: Any, context: Any, known: list[str]) -> str:
    value = item.get("input")
    tag = context.get("tag")
    if isinstance(value, dict) and tag and "," in tag:
        return f"must hold one key, got {tag}; put settings under the key they belong to"
    if tag and isinstance(value, dict | str):
        return f"unknown kind {tag!r}{nearest(tag, known)}"
    return f"must be one kind with its settings, {{kind: {{...}}}}, of: {', '.join(known)}; got {found(value)}"


def found(value: Any) -> str:
    """A value as it is shown in messages: short, with its type where that matters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"a mapping with the keys {', '.join(map(str, value)) or '(none)'}"
    text = repr(value)
    if len(text) > 60:
        text = f"{text[:57]}..."
    return f"the text {text}" if isinstance(value, str) else text


def _description(raw: Location, root: type[Settings]) -> str:
    owner = settings_at(raw[:-1], root)
    info = owner.model_fields.get(str(raw[-1])) if owner else None
    if info is None or not info.description:
        return ""
    return f": {info.description.strip().split(chr(10))[0].rstrip('.')}"


def settings_at(location: Location, root: type[Settings]) -> type[Settings] | None:
    """The class of settings at a pydantic location, if it is one."""
    candidates = candidates_at(location, root)
    return candidates[0] if len(candidates) == 1 else None


def candidates_at(location: Location, root: type[Settings]) -> list[type[Settings]]:
    """The classes of settings that may stand at a pydantic location."""
    current: list[type[Settings]] = [root]
    for part in location:
        if isinstance(part, int):
            continue
        named = [item for item in current if _tag(item) == part]
        if named:
            current = named
            continue
        fields = [item.model_fields[part] for item in current if part in item.model_fields]
        if fields:  # else a key of a mapping, such as an output's name in losses
            current = [found for field in fields for found in _field_settings(field)]
    return current


def _tag(settings: type[Settings]) -> str | None:
    if issubclass(settings, Keyed):
        return settings.kind
    source = settings.model_fields.get("source")
    return typing.get_args(source.annotation)[0] if source is not None else None


def _field_settings(field: FieldInfo) -> Iterator[type[Settings]]:
    chosen = [item for item in field.metadata if isinstance(item, OneKey)]
    for item in chosen or (field.annotation,):
        yield from _settings_in(item)


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, OneKey):
        yield from annotation.kinds
        return
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    arguments = typing.get_args(annotation)
    chosen = [argument for argument in arguments if isinstance(argument, OneKey)]
    for argument in chosen or arguments:
        yield from _settings_in(argument)
