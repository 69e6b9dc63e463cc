"""A setting in words: what may be its value, and what it is if it is left out."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any

from pydantic.fields import FieldInfo

from dualml.conventions import PRESETS, normalization
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.base import Keyed, OneKey, Settings
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.layers import LAYERS
from dualml.spec.layers.sliding import Amounts
from dualml.spec.losses import LOSSES
from dualml.spec.metrics import METRICS
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS
from dualml.spec.regularizers import REGULARIZERS
from dualml.spec.schedules import SCHEDULES

_SCALARS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", dict: "mapping"}
_PLURALS = {"whole number": "whole numbers", "number": "numbers", "text": "texts"}
_AMOUNTS = "whole number ≥ 0, or a list with a number or a pair `[before, after]` for each axis"
_KINDS: tuple[tuple[Iterable[type[Keyed]], str], ...] = (
    (LAYERS, "[layer](#layers)"),
    (ACTIVATIONS, "[activation](#activations)"),
    (INITIALIZERS, "[initializer](#initializers)"),
    (LOSSES, "[loss](#loss)"),
    (REGULARIZERS, "[regularizer](#regularizers)"),
    (OPTIMIZERS, "[optimizer](#optimizer)"),
    (SCHEDULES, "[schedule](#schedule)"),
    (CLIPPINGS, "[clipping](#trainclip)"),
    (METRICS, "[metric](#metrics)"),
)


def value(field: FieldInfo) -> str:
    """What may be the value of a setting."""
    return words(field.annotation, field.metadata)


def words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words.

    Args:
        annotation: The type.
        metadata: What pydantic has taken out of it: limits, and the kinds to choose from.
    """
    marks = list(metadata)
    one_of = next((mark for mark in marks if isinstance(mark, OneKey)), None)
    if one_of is not None:
        return _one_of(one_of)
    if annotation in _SCALARS:
        return _limited(_SCALARS[annotation], marks)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = [mark for item in arguments[1:] for mark in getattr(item, "metadata", (item,))]
        return words(arguments[0], [*inner, *marks])
    if origin is typing.Literal:
        return _either([f"`{item}`" for item in arguments])
    if origin in (typing.Union, types.UnionType):
        return _union([item for item in arguments if item is not type(None)], marks)
    if origin in (tuple, list):
        if origin is tuple and Ellipsis not in arguments:
            return f"list of {len(arguments)} {_plural(words(arguments[0]))}"
        return f"list of {_plural(words(arguments[0]))}"
    if origin is dict:
        inner_words = words(arguments[1])
        return "mapping of names to " + (_plural(inner_words) if inner_words != "any value" else "values")
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return f"mapping: [{annotation.__name__}](#{annotation.__name__.lower()})"
    return "any value"


def _union(members: list[Any], marks: list[Any]) -> str:
    """Several types; the settings of padding share a form that needs words of its own."""
    if typing.get_args(Amounts)[0] in members and len(members) > 1:
        amounts = typing.get_args(Amounts)
        if all(item in members for item in amounts):
            rest = [item for item in members if item not in amounts]
            return f"{_union(rest, marks)}, or {_AMOUNTS}" if rest else _AMOUNTS
    sources = {item.model_fields["source"] for item in members if "source" in getattr(item, "model_fields", {})}
    if sources:
        return "[source](#data)"
    found = [words(item, marks) for item in members]
    lists = [item for item in found if item.startswith("list of ")]
    if len(found) == 2 and lists:  # one for all axes, or one for each
        other = next((item for item in found if item not in lists), "")
        if lists[0] == f"list of {_plural(other)}":
            return f"{other}, or a list of them"
    return _either(found)


def _one_of(choice: OneKey) -> str:
    for kinds, text in _KINDS:
        if set(choice.kinds) >= set(kinds):
            return text
    return _either([f"[`{kind.kind}`](#{kind.kind})" for kind in choice.kinds])


def _limited(text: str, marks: list[Any]) -> str:
    """A number with its limits: ``number > 0``, ``0 ≤ number < 1``; limits that are there for the machine go unsaid."""

    def found(name: str) -> list[Any]:
        return [limit for mark in marks if (limit := getattr(mark, name, None)) is not None and abs(limit) < 1e9]

    below = [*((">", "<", limit) for limit in found("gt")), *(("≥", "≤", limit) for limit in found("ge"))]
    above = [*(("<", limit) for limit in found("lt")), *(("≤", limit) for limit in found("le"))]
    if below and above:
        return f"{below[0][2]:g} {below[0][1]} {text} {above[0][0]} {above[0][1]:g}"
    if below:
        return f"{text} {below[0][0]} {below[0][2]:g}"
    return f"{text} {above[0][0]} {above[0][1]:g}" if above else text


def _either(items: list[str]) -> str:
    found = list(dict.fromkeys(items))
    if any(", " in item or " or " in item for item in found[:-1]):
        return "; or ".join(found)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"


def _plural(text: str) -> str:
    """``whole number > 0`` as ``whole numbers > 0``, ``[layer](#layers)`` as ``[layers](#layers)``."""
    for one, several in sorted(_PLURALS.items(), key=lambda pair: -len(pair[0])):
        if one in text:
            return text.replace(one, several, 1)
    if text.startswith("[") and " " not in text:
        return text.replace("]", "s]", 1)
    return text.replace("mapping: ", "", 1)


def default(settings: type[Settings], name: str) -> str:
    """The default of a setting: its own, or that of each preset."""
    field = settings.model_fields[name]
    presets = {preset: rows.get(settings, {}).get(name) for preset, rows in PRESETS.items()}
    if any(found is not None for found in presets.values()):
        shown = {preset: written(found) for preset, found in presets.items()}
        for preset, rows in normalization.FLOAT64.items():
            if name in rows.get(settings, {}):
                shown[preset] += f" or in float64 {written(rows[settings][name])}"
        same = len(set(shown.values())) == 1
        return shown["torch"] if same else ", ".join(f"{text} ({preset})" for preset, text in shown.items())
    if field.is_required():
        return "required"
    return written(field.get_default(call_default_factory=True, validated_data={}))


def written(found: Any) -> str:
    """A default as a file has it."""
    if found is None or found in ((), {}):
        return ""
    if isinstance(found, Keyed):
        said = {
            name: getattr(found, name)
            for name in type(found).model_fields
            if getattr(found, name) is not None and getattr(found, name) != type(found).model_fields[name].default
        }
        inner = ", ".join(f"{name}: {written(item).strip('`')}" for name, item in said.items())
        return f"`{{{found.kind}: {{{inner}}}}}`" if inner else f"`{found.kind}`"
    if isinstance(found, Settings):
        return "its defaults"
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    if isinstance(found, tuple | list):
        return f"`[{', '.join(written(item).strip('`') for item in found)}]`"
    return f"`{found}`"
