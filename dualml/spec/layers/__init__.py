"""The layers a spec can name, one module for each family."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.layers.activation import Activation
from dualml.spec.layers.attention import Attention, Rotary
from dualml.spec.layers.base import (
    BufferShape,
    Composite,
    Layer,
    LayerName,
    ParameterShape,
    PositiveInt,
    Shape,
)
from dualml.spec.layers.bidirectional import Bidirectional
from dualml.spec.layers.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    DepthwiseConv1d,
    DepthwiseConv2d,
    SeparableConv1d,
    SeparableConv2d,
)
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.dropout import (
    AlphaDropout,
    Dropout,
    SpatialDropout,
    StochasticDepth,
)
from dualml.spec.layers.embedding import Embedding, PositionEmbedding, PositionEncoding, TiedDense
from dualml.spec.layers.gated import (
    Glu,
    Prelu,
    SqueezeExcite,
)
from dualml.spec.layers.masks import PaddingMask
from dualml.spec.layers.merge import (
    Add,
    Average,
    Concat,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from dualml.spec.layers.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm
from dualml.spec.layers.pooling import (
    AdaptiveAveragePool1d,
    AdaptiveAveragePool2d,
    AdaptiveAveragePool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AveragePool1d,
    AveragePool2d,
    AveragePool3d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from dualml.spec.layers.recurrent import Gru, Lstm, Recurrent, SimpleRnn
from dualml.spec.layers.resize import (
    Resize,
)
from dualml.spec.layers.shape import (
    Crop,
    Flatten,
    Pad,
    Permute,
    Reshape,
    Select,
    Slice,
)
from dualml.spec.layers.structure import Block, Group, Repeat, Residual, Shared
from dualml.spec.layers.transformer import FeedForward, TransformerDecoder, TransformerEncoder
from dualml.spec.layers.transposed import ConvTranspose1d, ConvTranspose2d

LAYERS: tuple[type[Layer], ...] = (
    Dense,
    Conv1d,
    Conv2d,
    Conv3d,
    DepthwiseConv1d,
    DepthwiseConv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Activation,
    Flatten,
    Reshape,
    Dropout,
    Add,
    Multiply,
    Concat,
    PaddingMask,
    Embedding,
    TiedDense,
    PositionEmbedding,
    PositionEncoding,
    Attention,
    LayerNorm,
    RmsNorm,
    UnitNorm,
    SimpleRnn,
    Lstm,
    Gru,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    AveragePool1d,
    AveragePool2d,
    AveragePool3d,
    AdaptiveAveragePool1d,
    AdaptiveAveragePool2d,
    AdaptiveAveragePool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    GlobalAveragePool,
    GlobalMaxPool,
    Permute,
    Pad,
    Crop,
    Slice,
    Select,
    Resize,
    Subtract,
    Average,
    Maximum,
    Minimum,
    SpatialDropout,
    StochasticDepth,
    AlphaDropout,
    Glu,
    Prelu,
)
"""Every layer that is one operation, in the order of the documentation."""

STRUCTURE: tuple[type[Layer], ...] = (
    Group,
    Residual,
    Repeat,
    Shared,
    Block,
    SeparableConv1d,
    SeparableConv2d,
    Bidirectional,
    FeedForward,
    TransformerEncoder,
    TransformerDecoder,
    SqueezeExcite,
)
"""Layers made of other layers."""


AnyLayer: TypeAlias = Annotated[Layer, OneKey(*LAYERS, *STRUCTURE, name="Layer")]
"""The type of an entry of ``model.layers``."""


for _holder in (Group, Repeat, Residual):  # they hold layers, so they can be complete only now
    _holder.model_rebuild(_types_namespace={"AnyLayer": AnyLayer})

__all__ = [
    "LAYERS",
    "STRUCTURE",
    "Activation",
    "AdaptiveAveragePool1d",
    "AdaptiveAveragePool2d",
    "AdaptiveAveragePool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "Add",
    "AlphaDropout",
    "AnyLayer",
    "Attention",
    "Average",
    "AveragePool1d",
    "AveragePool2d",
    "AveragePool3d",
    "BatchNorm",
    "Bidirectional",
    "Block",
    "BufferShape",
    "Composite",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Crop",
    "Dense",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "Dropout",
    "Embedding",
    "FeedForward",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Glu",
    "Group",
    "GroupNorm",
    "Gru",
    "InstanceNorm",
    "Layer",
    "LayerName",
    "LayerNorm",
    "Lstm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Maximum",
    "Minimum",
    "Multiply",
    "Pad",
    "PaddingMask",
    "ParameterShape",
    "Permute",
    "PositionEmbedding",
    "PositionEncoding",
    "PositiveInt",
    "Prelu",
    "Recurrent",
    "Repeat",
    "Reshape",
    "Residual",
    "Resize",
    "RmsNorm",
    "Rotary",
    "Select",
    "SeparableConv1d",
    "SeparableConv2d",
    "Shape",
    "Shared",
    "SimpleRnn",
    "Slice",
    "SpatialDropout",
    "SqueezeExcite",
    "StochasticDepth",
    "Subtract",
    "TiedDense",
    "TransformerDecoder",
    "TransformerEncoder",
    "UnitNorm",
]
