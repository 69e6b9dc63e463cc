"""Layers: one native Keras layer for each operation of a graph; one module for each family.

A family module has ``LAYERS`` (operation to layer) and, where the common way does not do, ``INVOKE`` (how a layer is
called) and ``VARIABLES`` (where weights are kept).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualml_tensorflow.layers import (
    activation,
    attention,
    convolution,
    dense,
    dropout,
    embedding,
    gated,
    masks,
    merge,
    normalization,
    pooling,
    recurrent,
    shape,
    transposed,
)
from dualml_tensorflow.layers.base import Invoke, Make, Masked, Variables, given_masks, seen_by
from dualml_tensorflow.layers.dropout import MaskedDropout

_FAMILIES = (
    dense,
    activation,
    shape,
    dropout,
    merge,
    masks,
    embedding,
    attention,
    convolution,
    transposed,
    normalization,
    recurrent,
    pooling,
    gated,
)


def _gathered(table: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for family in _FAMILIES:
        found |= getattr(family, table, {})
    return found


def _call(layer: Any, inputs: list[Any]) -> Any:
    return layer(inputs[0] if len(inputs) == 1 else inputs)


def _variables(layer: Any) -> Mapping[str, Any]:
    return {variable.name: variable for variable in layer.weights}


LAYERS: Mapping[str, Make] = _gathered("LAYERS")
"""What makes the layer of each operation."""
_INVOKE: Mapping[str, Invoke] = _gathered("INVOKE")
_VARIABLES: Mapping[str, Variables] = _gathered("VARIABLES")


def invoke(operation: str, layer: Any, inputs: list[Any]) -> Any:
    """The value of a layer called on the values of a node's inputs."""
    return _INVOKE.get(operation, _call)(layer, inputs)


def variables(operation: str, layer: Any) -> Mapping[str, Any]:
    """A layer's variables by the role they have for a node of that operation."""
    return _VARIABLES.get(operation, _variables)(layer)


__all__ = ["LAYERS", "Masked", "MaskedDropout", "given_masks", "invoke", "seen_by", "variables"]
