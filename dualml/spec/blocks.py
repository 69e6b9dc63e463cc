"""Reusable pieces of a model: ``blocks`` with parameters, replaced by what they stand for before validation.

Replacing comes first because a parameter may be any setting of any layer: ``conv2d: {filters: $width}`` has no
type until ``$width`` has a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from dualml.spec.base import Settings
from dualml.spelling import nearest

_WHOLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
_INSIDE = re.compile(r"\$\{(\w+)\}")


class BlockDefinition(Settings):
    """A reusable list of layers: ``$width`` anywhere in it stands for the parameter ``width``.

    Used by ``block: {use: NAME, arguments: {width: 64}}``; inside, ``input`` is what feeds the block.
    """

    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters with their defaults; one whose default is ``null`` must be given at each use."""
    layers: list[Any] = Field(min_length=1)
    """The layers, as under ``model.layers``."""


def replace_blocks(model: Any) -> Any:
    """A model as a file has it, without ``blocks`` and with a ``group:`` of what it stands for for each ``block:``.

    Raises:
        ValueError: A block is not defined, its arguments do not fit, or blocks use each other in a circle.
    """
    if not isinstance(model, Mapping) or not isinstance(model.get("layers"), list | tuple):
        return model  # the types are checked afterwards
    given = model.get("blocks") or {}
    if not isinstance(given, Mapping):
        return model
    try:
        definitions = {
            name: item if isinstance(item, BlockDefinition) else BlockDefinition.model_validate(item)
            for name, item in given.items()
        }
    except ValidationError:
        return model  # validation of the key "blocks" says what and where
    kept = {key: item for key, item in model.items() if key != "blocks"}
    return {**kept, "layers": [_replaced(layer, definitions, ()) for layer in model["layers"]]}


def _replaced(layer: Any, definitions: Mapping[str, BlockDefinition], used: tuple[str, ...]) -> Any:
    """A layer, blocks inside it replaced at any depth."""
    if isinstance(layer, list | tuple):
        return [_replaced(item, definitions, used) for item in layer]
    if not isinstance(layer, Mapping):
        return layer
    if "block" not in layer:
        return {
            key: _replaced(item, definitions, used) if isinstance(item, list | tuple | Mapping) else item
            for key, item in layer.items()
        }
    settings = layer["block"]
    if isinstance(settings, str):
        settings = {"use": settings}
    if not isinstance(settings, Mapping) or not isinstance(settings.get("use"), str):
        raise ValueError("block must name a definition under model.blocks: block: {use: NAME, arguments: {...}}")
    unknown = set(settings) - {"use", "arguments", "name", "inputs"}
    if unknown:
        raise ValueError(f"block takes use, arguments, name and inputs, got {', '.join(sorted(map(str, unknown)))}")
    name = settings["use"]
    if name not in definitions:
        raise ValueError(f"no block is defined under model.blocks as {name!r}{nearest(name, definitions)}")
    if name in used:
        raise ValueError(f"blocks must not use each other in a circle, got {' -> '.join((*used, name))}")
    definition = definitions[name]
    values = {**definition.parameters, **_arguments(name, definition, settings.get("arguments") or {})}
    missing = [parameter for parameter, value in values.items() if value is None]
    if missing:
        raise ValueError(f"block {name!r} needs a value for {', '.join(missing)}: add it to its arguments")
    inner = [_replaced(_substituted(item, values, name), definitions, (*used, name)) for item in definition.layers]
    beside = {key: item for key, item in layer.items() if key != "block"}
    within = {key: settings[key] for key in ("name", "inputs") if key in settings}
    return {"group": {"layers": inner, **within}, **beside}


def _arguments(name: str, definition: BlockDefinition, arguments: Any) -> Mapping[str, Any]:
    if not isinstance(arguments, Mapping):
        raise ValueError(f"arguments of block {name!r} must be a mapping of parameters to values")
    for given in arguments:
        if given not in definition.parameters:
            known = ", ".join(definition.parameters) or "none"
            raise ValueError(
                f"block {name!r} has no parameter {given!r}{nearest(str(given), definition.parameters)}; it has {known}"
            )
    return arguments


def _substituted(value: Any, values: Mapping[str, Any], block: str) -> Any:
    """A value of a definition with its parameters filled in."""
    if isinstance(value, Mapping):
        return {key: _substituted(item, values, block) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_substituted(item, values, block) for item in value]
    if not isinstance(value, str):
        return value

    def known(parameter: str) -> Any:
        if parameter not in values:
            raise ValueError(
                f"block {block!r} uses ${parameter}, which is not among its parameters{nearest(parameter, values)}"
            )
        return values[parameter]

    whole = _WHOLE.fullmatch(value)
    if whole:
        return known(whole[1] or whole[2])
    return _INSIDE.sub(lambda match: str(known(match[1])), value)
