"""What every part of a spec has in common: strict, frozen, and written as one key with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, Self, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

_found: ContextVar[bool] = ContextVar("found", default=False)


def written() -> bool:
    """Whether the settings that are being validated were written for a spec, not found in a native model."""
    return not _found.get()


class Settings(BaseModel):
    """A frozen group of settings that accepts no unknown key and converts no type (``"64"`` is not 64)."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def found(cls, values: Mapping[str, Any]) -> Self:
        """Settings as a native model has them: what would be a slip of somebody who writes a spec is a fact here.

        Raises:
            ValidationError: No such settings can be.
        """
        token = _found.set(True)
        try:
            return cls(**values)
        finally:
            _found.reset(token)


def require_one(settings: Settings, one: str, several: str) -> None:
    """Refuse settings in which not exactly one of two ways to say the same is used.

    Args:
        settings: Validated but for this.
        one: The key for a single one.
        several: The key for several by name.

    Raises:
        PydanticCustomError: Neither or both are given; its context names the key.
    """
    given = [name for name in (one, several) if getattr(settings, name) is not None]
    if len(given) == 1:
        return
    description = (type(settings).model_fields[one].description or "").rstrip(".")
    template = "is given together with {several}; keep one" if given else "is required: {description}; or {several}"
    context = {"key": one, "several": several, "description": description}
    raise PydanticCustomError("one_or_several", template, context)


class Keyed(Settings):
    """Settings written as one key: ``{dense: {units: 512}}``, or ``relu`` where nothing is set.

    In Python the class is called with the same names; settings declared with ``kw_only=False`` may also be
    given by position: ``Dense(512)``. In YAML a single value stands for the first of them: ``dropout: 0.5``.
    """

    kind: ClassVar[str]
    """The key that selects this class."""
    siblings: ClassVar[frozenset[str]] = frozenset()
    """Settings that may also stand beside the key instead of under it."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        positional = self.positional()
        if len(values) > len(positional):
            raise TypeError(
                f"{type(self).__name__} takes at most {len(positional)} values by position "
                f"({', '.join(positional) or 'none'}), got {len(values)}; name the others"
            )
        for name, value in zip(positional, values, strict=False):
            if name in settings:
                raise TypeError(f"{type(self).__name__} got {name} twice: by position and by name")
            settings[name] = value
        super().__init__(**settings)

    @classmethod
    def positional(cls) -> tuple[str, ...]:
        """Settings that may be given by position."""
        return tuple(name for name, field in cls.model_fields.items() if field.kw_only is False)

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if isinstance(value, str) and value == cls.kind:
            return {}
        if not isinstance(value, Mapping) or cls.kind not in value:
            return value
        beside = {key: item for key, item in value.items() if key != cls.kind}
        inner = value[cls.kind]
        if inner is None:
            inner = {}
        elif not isinstance(inner, Mapping):
            positional = cls.positional()
            if not positional:
                return inner  # pydantic says what a mapping must look like
            inner = {positional[0]: inner}
        twice = sorted(set(beside) & set(inner))
        if twice:
            raise ValueError(f"{', '.join(twice)} is given both beside and under {cls.kind!r}; keep one")
        return {**inner, **beside}

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        inner = handler(self)
        # Of a class that holds others of its own union, pydantic calls this once more for the settings themselves.
        wrapped = set(inner) == {self.kind} and self.kind not in type(self).model_fields
        return inner if wrapped else {self.kind: inner}


def kind_of(value: Any) -> str | None:
    """The key that selects a class: of an instance, a bare name or a mapping; ``None`` if there is none."""
    if isinstance(value, Keyed):
        return value.kind
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        keys = [str(key) for key in value if key not in ("name", "inputs")]
        return ", ".join(keys) or None  # more than one key is no known kind, and the message shows them all
    return None


RECURSIVE = "x-dualml-type"
"""Marks the schema of a type that holds itself, and within it the places where it does; see ``config_schema``."""


class OneKey:
    """The type "exactly one of these", each written as its key with its settings: ``Annotated[Layer, OneKey(...)]``.

    Errors carry the key in their location, so that it is also the path in the file:
    ``model.layers[0].dense.units``.

    Args:
        kinds: The classes to choose from.
        name: What the JSON Schema calls the type; needed where some of the classes hold values of it themselves.
    """

    def __init__(self, *kinds: type[Keyed], name: str | None = None) -> None:
        self.kinds = kinds
        self.name = name
        self._described = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        members = tuple(Annotated[kind, Tag(kind.kind)] for kind in self.kinds)
        return handler.generate_schema(Annotated[Union[members], Discriminator(kind_of)])  # noqa: UP007 (built at run time)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if self.name is None:
            return self._choices(handler)
        if self._described:  # inside itself
            return {RECURSIVE: self.name}
        self._described = True
        try:
            return {RECURSIVE: self.name, **self._choices(handler)}
        finally:
            self._described = False

    def _choices(self, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        choices: list[JsonSchemaValue] = []
        bare: list[str] = []
        for kind in self.kinds:
            inner = handler(kind.__pydantic_core_schema__)
            resolved = handler.resolve_ref_schema(inner)
            properties = resolved.get("properties", {})
            required = set(resolved.get("required", ()))
            value: list[JsonSchemaValue] = [inner]
            positional = kind.positional()
            if positional and not required - {positional[0]}:
                value.append(properties[positional[0]])
            if not required:
                value.append({"type": "null"})
                bare.append(kind.kind)
            beside = {name: properties[name] for name in sorted(kind.siblings)}
            choices.append(
                {
                    "type": "object",
                    "properties": {kind.kind: {"anyOf": value} if len(value) > 1 else inner, **beside},
                    "required": [kind.kind],
                    "additionalProperties": False,
                }
            )
        if bare:
            choices.append({"enum": bare})
        return {"anyOf": choices}
