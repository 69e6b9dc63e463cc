"""The model as the user wrote it: inputs, a list of layers and outputs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dualml.spec.base import Settings, require_one
from dualml.spec.blocks import BlockDefinition, replace_blocks
from dualml.spec.layers import AnyLayer, LayerName, PositiveInt, Shape

INPUT = "input"
"""Name of the model's input, where it has one."""


class Input(Settings):
    """One input of a model: ``[28, 28, 1]``, or ``{shape: [128], dtype: integer}`` for class numbers or token ids."""

    shape: tuple[PositiveInt, ...] = Field(strict=False, min_length=1)
    """Shape of one example, channels last."""
    dtype: Literal["float", "integer"] = "float"
    """``float``: values in the spec's precision; ``integer``: whole numbers from 0 on, which an embedding reads."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            value = [value]
        return {"shape": value} if isinstance(value, list | tuple) else value

    @model_serializer(mode="wrap")
    def _shorten(self, handler: SerializerFunctionWrapHandler) -> Any:
        return list(self.shape) if self.dtype == "float" else handler(self)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler.resolve_ref_schema(handler(schema))
        size = {"type": "integer", "minimum": 1}
        return {"anyOf": [{"type": "array", "items": size, "minItems": 1}, size, full]}


class Model(Settings):
    """A graph of layers; without names and inputs, a chain. The last layer is the output.

    Example:
        >>> from dualml import Dense
        >>> Model(input=(4,), layers=[Dense(3, activation="relu"), Dense(2)]).input.shape
        (4,)
    """

    input: Input | None = None
    """The input of a model that has one: a shape, or a mapping with ``shape`` and ``dtype``."""
    inputs: dict[LayerName, Input] | None = Field(default=None, min_length=1)
    """The inputs of a model that has several, by the name that layers' ``inputs`` use."""
    blocks: dict[LayerName, BlockDefinition] = Field(default={}, exclude=True)
    """Definitions that ``block:`` layers use, by name."""
    layers: tuple[AnyLayer, ...] = Field(strict=False, min_length=1)
    """The layers, each fed by the one before it unless it names its ``inputs``."""
    outputs: tuple[LayerName, ...] | None = Field(default=None, strict=False, min_length=1)
    """Layers whose values the losses take; left out, the last layer."""

    @model_validator(mode="before")
    @classmethod
    def _expand_blocks(cls, value: Any) -> Any:
        return replace_blocks(value)

    @model_validator(mode="after")
    def _one_way_of_input(self) -> Model:
        require_one(self, "input", "inputs")
        return self

    @property
    def all_inputs(self) -> dict[str, Input]:
        """Every input by name."""
        if self.inputs is not None:
            return dict(self.inputs)
        assert self.input is not None, "validation requires one of the two"
        return {INPUT: self.input}


__all__ = ["INPUT", "BlockDefinition", "Input", "Model", "Shape"]
