"""What every source of data has in common: types of its settings, and how its examples are split and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from dualml.spec.base import Settings


class _FileName:
    """Marks settings that name a file or folder."""


FilePath = Annotated[str, StringConstraints(min_length=1), _FileName()]
"""A file or folder; a relative one starts at the folder of the config file."""

Name = Annotated[str, StringConstraints(min_length=1)]


def no_repeats(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names that must all be different.

    Raises:
        ValueError: One occurs more than once.
    """
    if names is not None:
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"every name must be different, but {', '.join(repeated)} occurs more than once")
    return names


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


ColumnNames = Annotated[
    tuple[Name, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_one_or_several, json_schema_input_type=Name | list[Name]),
]
"""One column of a table, or several."""


class DataSource(Settings):
    """What every source has: how its examples are split and normalised."""

    # ``source`` has a default so that Python code need not repeat it; a file must name it.
    model_config = ConfigDict(json_schema_extra=lambda schema: _require_source(schema))

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the training examples held back for validation; not used if the source has a validation split."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Fraction of all examples held back for the test; not used if the source has a test split."""
    normalize: Literal["none", "unit", "standard"] | None = None
    """How inputs are scaled. ``none``: not at all; ``unit``: divided by the largest possible value (images) or
    the largest magnitude in the training examples; ``standard``: mean 0 and standard deviation 1 over the
    training examples, of all values together (images) or of each value (other sources). Left out: ``unit``
    for images, ``standard`` for tables, ``none`` for arrays and Python functions. Inputs of whole numbers, such as
    token ids, are never scaled."""
    limit: int | None = Field(default=None, gt=0)
    """Train with this many examples only: the first ones after shuffling. Validation and test stay whole."""
    class_names: tuple[Name, ...] | None = Field(default=None, strict=False, min_length=1)
    """Names of the classes in the order of their numbers, in place of the source's own."""

    def anchored(self, folder: Path) -> Self:
        """A copy whose relative file names are absolute, seen from ``folder``."""

        def absolute(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: absolute(item) for key, item in value.items()}
            return str((folder / value).absolute())

        changes = {
            name: absolute(value)
            for name, field in type(self).model_fields.items()
            if isinstance(value := getattr(self, name), str | Mapping) and _names_a_file(field.annotation, field)
        }
        return self.model_copy(update=changes)

    @field_validator("class_names")
    @classmethod
    def _different_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return no_repeats(names)


class LabelledSource(DataSource):
    """A source whose examples are one input and one label."""

    targets: Name | dict[Name, Name] | None = None
    """What each of the model's outputs is compared with: ``label``, or the name of an input (``input``, where the
    model has one) for an output that reconstructs it. One name for a model with one output, otherwise a name for
    each output, for example ``{image: input, kind: label}``. Left out: ``label``."""


def _names_a_file(annotation: Any, field: Any = None) -> bool:
    """Whether a type, or a part of it, is ``FilePath``."""
    marks = [*getattr(field, "metadata", ()), *getattr(annotation, "__metadata__", ())]
    return any(isinstance(mark, _FileName) for mark in marks) or any(map(_names_a_file, get_args(annotation)))


def _require_source(schema: dict[str, Any]) -> None:
    if "source" in schema.get("properties", {}):
        schema["required"] = ["source", *schema.get("required", ())]
