"""The JSON Schema of ``dualml.report/1``, made from the dataclasses that a report consists of."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from dualml.parity import findings, report
from dualml.parity.report import SCHEMA, Report

NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
"""A number; those that JSON cannot hold are texts."""
PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: NUMBER,
    type(None): {"type": "null"},
    Any: {},
}


class Divergence(TypedDict):
    """Where the first check fails.

    Attributes:
        step: Number of the update, counted from 1; 0 is before the first.
        phase: Rung of the ladder.
        node: Node of the graph.
        tensor: What of it.
    """

    step: int
    phase: str
    node: str
    tensor: str


class Steps(TypedDict):
    """Updates of one precision.

    Attributes:
        free: How many the free run did.
        judged: Which were judged in full.
    """

    free: int
    judged: list[int]


class Skipped(TypedDict):
    """Something that was not compared.

    Attributes:
        what: What.
        why: Why not.
    """

    what: str
    why: str


class Coverage(TypedDict):
    """How much was compared.

    Attributes:
        compared: Arrays, each counted once.
        checks: Judged comparisons of them.
        steps: Updates, by precision.
        skipped: What was not compared.
        notes: What else is to be known.
    """

    compared: int
    checks: int
    steps: Mapping[str, Steps]
    skipped: list[Skipped]
    notes: NotRequired[list[str]]


class SideEnvironment(TypedDict):
    """What one side ran on.

    Attributes:
        backend: Name of the backend.
        name: What the user calls the side; empty if nothing.
        versions: Versions of its packages.
        data: SHA-256 of the examples it was given.
        examples: How many there are.
    """

    backend: str
    name: NotRequired[str]
    versions: NotRequired[Mapping[str, str]]
    data: NotRequired[str]
    examples: NotRequired[int]


class Environment(TypedDict):
    """What the comparison ran on.

    Attributes:
        dualml: Version.
        python: Version.
        numpy: Version.
        platform: Operating system and processor.
        left: The left side.
        right: The right side.
        precision: Number format that was asked for.
        device: Where it ran.
    """

    dualml: str
    python: str
    numpy: str
    platform: str
    left: SideEnvironment
    right: SideEnvironment
    precision: str
    device: NotRequired[str]


class PrecisionScaling(TypedDict):
    """The difference in both precisions.

    Attributes:
        float32: Its 2-norm there.
        float64: Its 2-norm there.
        bits: ``S``, the binary logarithm of their ratio; ``None`` if one of them is 0.
    """

    float32: NotRequired[float | None]
    float64: NotRequired[float | None]
    bits: NotRequired[float | None]


SHARPER: Mapping[str, Any] = {
    "first_divergence": Divergence | None,
    "coverage": Coverage,
    "environment": Environment,
    "precision_scaling": PrecisionScaling,
}
"""What a field of the report holds, where its annotation says no more than a mapping."""


def report_schema() -> dict[str, Any]:
    """The schema of what ``Report.to_dict`` gives.

    Properties that it does not name are allowed: a later ``dualml.report/1`` may have more of them, never fewer.
    """
    definitions: dict[str, Any] = {}
    whole = _object(Report, definitions, SHARPER)
    whole["properties"] = {"schema": {"const": SCHEMA}, **whole["properties"]}
    whole["required"] = ["schema", *whole["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: type, definitions: dict[str, Any], sharper: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A dataclass or a typed dictionary as an object whose properties say what the docstring says."""
    known = vars(report) | vars(findings) | {"Replay": object}
    hints = get_type_hints(kind, known, include_extras=True)
    # What does not take part in comparisons of two reports is no data.
    names = [item.name for item in fields(kind) if item.compare] if is_dataclass(kind) else list(hints)
    said, properties, required = attributes(kind), {}, []
    for name in names:
        hint = (sharper or {}).get(name, hints[name])
        if get_origin(hint) is NotRequired:
            (hint,) = get_args(hint)
        else:
            required.append(name)
        properties[name] = {**_schema(hint, definitions), "description": said[name]}
    return {
        "type": "object",
        "description": _words((inspect.getdoc(kind) or "").partition("\n\n")[0]),
        "properties": properties,
        "required": required,
    }


def _schema(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of an annotation.

    Raises:
        TypeError: It has no counterpart; a report must hold nothing of the kind.
    """
    if annotation in PLAIN:
        return dict(PLAIN[annotation])
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        options: list[Any] = []
        for item in inner:
            found = _schema(item, definitions)
            options += found.get("anyOf", [found])
        return {"anyOf": options}
    if origin is tuple and inner[-1:] != (Ellipsis,):
        parts = [_schema(item, definitions) for item in inner]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(inner[0], definitions)}
    if origin is Mapping or origin is dict:
        return {"type": "object", "additionalProperties": _schema(inner[1], definitions)}
    if is_dataclass(annotation) or is_typeddict(annotation):
        name = annotation.__name__
        if name not in definitions:
            definitions[name] = {}  # so that what it holds of itself does not go on for ever
            definitions[name] = _object(annotation, definitions)
        return {"$ref": f"#/$defs/{name}"}
    raise TypeError(f"a report must hold what JSON can, but a field is annotated {annotation}")


def attributes(kind: type) -> dict[str, str]:
    """What the ``Attributes:`` section of a docstring says of each attribute.

    Example:
        >>> attributes(Skipped)
        {'what': 'What.', 'why': 'Why not.'}
    """
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: _words(text) for name, text in found}


def _words(text: str) -> str:
    """A docstring's text in a line, with the marks and the words of JSON."""
    return re.sub(r"\s+", " ", text).replace("``None``", "null").replace("``", "`")
