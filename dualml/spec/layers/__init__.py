"""The layers a spec can name, one module for each family."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.layers.activation import Activation
from dualml.spec.layers.base import Layer, LayerName, ParameterShape, PositiveInt, Shape
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.dropout import Dropout
from dualml.spec.layers.merge import Add, Concat
from dualml.spec.layers.shape import Flatten, Reshape

LAYERS: tuple[type[Layer], ...] = (Dense, Activation, Flatten, Reshape, Dropout, Add, Concat)
"""Every layer, in the order of the documentation."""


AnyLayer: TypeAlias = Annotated[Layer, OneKey(*LAYERS)]
"""The type of an entry of ``model.layers``."""


__all__ = [
    "LAYERS",
    "Activation",
    "Add",
    "AnyLayer",
    "Concat",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerName",
    "ParameterShape",
    "PositiveInt",
    "Reshape",
    "Shape",
]
