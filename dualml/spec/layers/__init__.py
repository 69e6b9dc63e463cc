"""The layers a spec can name, one module for each family."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.layers.activation import Activation
from dualml.spec.layers.base import (
    BufferShape,
    Composite,
    Layer,
    LayerName,
    ParameterShape,
    PositiveInt,
    Shape,
)
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.dropout import Dropout
from dualml.spec.layers.merge import Add, Concat
from dualml.spec.layers.shape import Flatten, Reshape
from dualml.spec.layers.structure import Block, Group, Repeat, Residual, Shared

LAYERS: tuple[type[Layer], ...] = (Dense, Activation, Flatten, Reshape, Dropout, Add, Concat)
"""Every layer that is one operation, in the order of the documentation."""

STRUCTURE: tuple[type[Layer], ...] = (Group, Residual, Repeat, Shared, Block)
"""Layers made of other layers."""


AnyLayer: TypeAlias = Annotated[Layer, OneKey(*LAYERS, *STRUCTURE, name="Layer")]
"""The type of an entry of ``model.layers``."""


for _holder in (Group, Repeat, Residual):  # they hold layers, so they can be complete only now
    _holder.model_rebuild(_types_namespace={"AnyLayer": AnyLayer})

__all__ = [
    "LAYERS",
    "STRUCTURE",
    "Activation",
    "Add",
    "AnyLayer",
    "Block",
    "BufferShape",
    "Composite",
    "Concat",
    "Dense",
    "Dropout",
    "Flatten",
    "Group",
    "Layer",
    "LayerName",
    "ParameterShape",
    "PositiveInt",
    "Repeat",
    "Reshape",
    "Residual",
    "Shape",
    "Shared",
]
