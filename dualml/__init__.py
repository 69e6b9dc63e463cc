"""dualml: one model, two frameworks, proven equal.

Everything public is reached from here and imported when it is first used, so that ``import dualml``
costs next to nothing and imports no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "dualml.api": ("build", "compare", "evaluate", "load", "predict", "train"),
    "dualml.errors": (
        "BackendError",
        "BackendNotFoundError",
        "BackendUnavailableError",
        "ConfigError",
        "DataError",
        "DualmlError",
        "ParityError",
        "RunError",
        "SpecError",
        "TrainingError",
        "UnsupportedError",
        "WeightsError",
    ),
    "dualml.protocol": ("Batch",),
    "dualml.spec.activations": (
        "Celu",
        "ClippedRelu",
        "Elu",
        "Exponential",
        "Gelu",
        "HardShrink",
        "HardSigmoid",
        "HardSwish",
        "HardTanh",
        "LeakyRelu",
        "Linear",
        "LogSigmoid",
        "LogSoftmax",
        "Mish",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Silu",
        "SoftShrink",
        "Softmax",
        "Softplus",
        "Softsign",
        "SparsePlus",
        "SparseSigmoid",
        "Squareplus",
        "Swish",
        "Tanh",
        "TanhShrink",
        "Threshold",
    ),
    "dualml.spec.config": ("Spec",),
    "dualml.spec.data": (
        "CsvData",
        "DigitsData",
        "FashionMnistData",
        "IdxData",
        "NpyData",
        "NpzData",
        "ParquetData",
        "PythonData",
    ),
    "dualml.spec.initializers": (
        "Constant",
        "Dirac",
        "FanInUniform",
        "GateUniform",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "Identity",
        "KaimingNormal",
        "KaimingUniform",
        "LecunNormal",
        "LecunUniform",
        "Normal",
        "Ones",
        "Orthogonal",
        "Sparse",
        "TruncatedNormal",
        "Uniform",
        "UnitForgetBias",
        "VarianceScaling",
        "Zeros",
    ),
    "dualml.spec.layers": (
        "Activation",
        "AdaptiveAveragePool1d",
        "AdaptiveAveragePool2d",
        "AdaptiveAveragePool3d",
        "AdaptiveMaxPool1d",
        "AdaptiveMaxPool2d",
        "AdaptiveMaxPool3d",
        "Add",
        "AlphaDropout",
        "Attention",
        "Average",
        "AveragePool1d",
        "AveragePool2d",
        "AveragePool3d",
        "BatchNorm",
        "Bidirectional",
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
        "GroupNorm",
        "Gru",
        "InstanceNorm",
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
        "Permute",
        "PositionEmbedding",
        "PositionEncoding",
        "Prelu",
        "Reshape",
        "Resize",
        "RmsNorm",
        "Rotary",
        "Select",
        "SeparableConv1d",
        "SeparableConv2d",
        "SimpleRnn",
        "Slice",
        "SpatialDropout",
        "SqueezeExcite",
        "StochasticDepth",
        "Subtract",
        "TiedDense",
        "TransformerDecoder",
        "TransformerEncoder",
    ),
    "dualml.spec.losses": (
        "BinaryCrossEntropy",
        "BinaryFocalCrossEntropy",
        "CategoricalHinge",
        "CosineDistance",
        "CrossEntropy",
        "FocalCrossEntropy",
        "Hinge",
        "Huber",
        "KlDivergence",
        "LogCosh",
        "MeanAbsoluteError",
        "MeanSquaredError",
        "MultiMargin",
        "Poisson",
        "SmoothL1",
        "SoftCrossEntropy",
        "SquaredHinge",
    ),
    "dualml.spec.metrics": (
        "AbsoluteError",
        "Accuracy",
        "Auc",
        "BinaryAccuracy",
        "ConfusionMatrix",
        "F1",
        "Perplexity",
        "Precision",
        "R2",
        "Recall",
        "SquaredError",
        "TopK",
    ),
    "dualml.spec.model": ("Model",),
    "dualml.spec.optimizers": ("Adam", "AdamW", "GlobalNorm", "Sgd"),
    "dualml.spec.regularizers": ("L1", "L1L2", "L2"),
    "dualml.spec.schedules": (
        "ConstantSchedule",
        "Cosine",
        "CosineRestarts",
        "ExponentialSchedule",
        "InverseSqrt",
        "InverseTime",
        "LinearSchedule",
        "MultiStep",
        "OneCycle",
        "Piecewise",
        "Polynomial",
        "ReduceOnPlateau",
        "Step",
        "Warmup",
    ),
    "dualml.spec.train": ("Checkpoints", "EarlyStopping", "Train"),
    "dualml.training.progress": ("LiveDisplay", "PlainLines"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]

if TYPE_CHECKING:  # for type checkers and editors; at run time __getattr__ does it
    from dualml.api import (
        build as build,
    )
    from dualml.api import (
        compare as compare,
    )
    from dualml.api import (
        evaluate as evaluate,
    )
    from dualml.api import (
        load as load,
    )
    from dualml.api import (
        predict as predict,
    )
    from dualml.api import (
        train as train,
    )
    from dualml.errors import (
        BackendError as BackendError,
    )
    from dualml.errors import (
        BackendNotFoundError as BackendNotFoundError,
    )
    from dualml.errors import (
        BackendUnavailableError as BackendUnavailableError,
    )
    from dualml.errors import (
        ConfigError as ConfigError,
    )
    from dualml.errors import (
        DataError as DataError,
    )
    from dualml.errors import (
        DualmlError as DualmlError,
    )
    from dualml.errors import (
        ParityError as ParityError,
    )
    from dualml.errors import (
        RunError as RunError,
    )
    from dualml.errors import (
        SpecError as SpecError,
    )
    from dualml.errors import (
        TrainingError as TrainingError,
    )
    from dualml.errors import (
        UnsupportedError as UnsupportedError,
    )
    from dualml.errors import (
        WeightsError as WeightsError,
    )
    from dualml.protocol import Batch as Batch
    from dualml.spec.activations import (
        Celu as Celu,
    )
    from dualml.spec.activations import (
        ClippedRelu as ClippedRelu,
    )
    from dualml.spec.activations import (
        Elu as Elu,
    )
    from dualml.spec.activations import (
        Exponential as Exponential,
    )
    from dualml.spec.activations import (
        Gelu as Gelu,
    )
    from dualml.spec.activations import (
        HardShrink as HardShrink,
    )
    from dualml.spec.activations import (
        HardSigmoid as HardSigmoid,
    )
    from dualml.spec.activations import (
        HardSwish as HardSwish,
    )
    from dualml.spec.activations import (
        HardTanh as HardTanh,
    )
    from dualml.spec.activations import (
        LeakyRelu as LeakyRelu,
    )
    from dualml.spec.activations import (
        Linear as Linear,
    )
    from dualml.spec.activations import (
        LogSigmoid as LogSigmoid,
    )
    from dualml.spec.activations import (
        LogSoftmax as LogSoftmax,
    )
    from dualml.spec.activations import (
        Mish as Mish,
    )
    from dualml.spec.activations import (
        Relu as Relu,
    )
    from dualml.spec.activations import (
        Relu6 as Relu6,
    )
    from dualml.spec.activations import (
        Selu as Selu,
    )
    from dualml.spec.activations import (
        Sigmoid as Sigmoid,
    )
    from dualml.spec.activations import (
        Silu as Silu,
    )
    from dualml.spec.activations import (
        Softmax as Softmax,
    )
    from dualml.spec.activations import (
        Softplus as Softplus,
    )
    from dualml.spec.activations import (
        SoftShrink as SoftShrink,
    )
    from dualml.spec.activations import (
        Softsign as Softsign,
    )
    from dualml.spec.activations import (
        SparsePlus as SparsePlus,
    )
    from dualml.spec.activations import (
        SparseSigmoid as SparseSigmoid,
    )
    from dualml.spec.activations import (
        Squareplus as Squareplus,
    )
    from dualml.spec.activations import (
        Swish as Swish,
    )
    from dualml.spec.activations import (
        Tanh as Tanh,
    )
    from dualml.spec.activations import (
        TanhShrink as TanhShrink,
    )
    from dualml.spec.activations import (
        Threshold as Threshold,
    )
    from dualml.spec.config import Spec as Spec
    from dualml.spec.data import (
        CsvData as CsvData,
    )
    from dualml.spec.data import (
        DigitsData as DigitsData,
    )
    from dualml.spec.data import (
        FashionMnistData as FashionMnistData,
    )
    from dualml.spec.data import (
        IdxData as IdxData,
    )
    from dualml.spec.data import (
        NpyData as NpyData,
    )
    from dualml.spec.data import (
        NpzData as NpzData,
    )
    from dualml.spec.data import (
        ParquetData as ParquetData,
    )
    from dualml.spec.data import (
        PythonData as PythonData,
    )
    from dualml.spec.initializers import (
        Constant as Constant,
    )
    from dualml.spec.initializers import (
        Dirac as Dirac,
    )
    from dualml.spec.initializers import (
        FanInUniform as FanInUniform,
    )
    from dualml.spec.initializers import (
        GateUniform as GateUniform,
    )
    from dualml.spec.initializers import (
        GlorotNormal as GlorotNormal,
    )
    from dualml.spec.initializers import (
        GlorotUniform as GlorotUniform,
    )
    from dualml.spec.initializers import (
        HeNormal as HeNormal,
    )
    from dualml.spec.initializers import (
        HeUniform as HeUniform,
    )
    from dualml.spec.initializers import (
        Identity as Identity,
    )
    from dualml.spec.initializers import (
        KaimingNormal as KaimingNormal,
    )
    from dualml.spec.initializers import (
        KaimingUniform as KaimingUniform,
    )
    from dualml.spec.initializers import (
        LecunNormal as LecunNormal,
    )
    from dualml.spec.initializers import (
        LecunUniform as LecunUniform,
    )
    from dualml.spec.initializers import (
        Normal as Normal,
    )
    from dualml.spec.initializers import (
        Ones as Ones,
    )
    from dualml.spec.initializers import (
        Orthogonal as Orthogonal,
    )
    from dualml.spec.initializers import (
        Sparse as Sparse,
    )
    from dualml.spec.initializers import (
        TruncatedNormal as TruncatedNormal,
    )
    from dualml.spec.initializers import (
        Uniform as Uniform,
    )
    from dualml.spec.initializers import (
        UnitForgetBias as UnitForgetBias,
    )
    from dualml.spec.initializers import (
        VarianceScaling as VarianceScaling,
    )
    from dualml.spec.initializers import (
        Zeros as Zeros,
    )
    from dualml.spec.layers import (
        Activation as Activation,
    )
    from dualml.spec.layers import (
        AdaptiveAveragePool1d as AdaptiveAveragePool1d,
    )
    from dualml.spec.layers import (
        AdaptiveAveragePool2d as AdaptiveAveragePool2d,
    )
    from dualml.spec.layers import (
        AdaptiveAveragePool3d as AdaptiveAveragePool3d,
    )
    from dualml.spec.layers import (
        AdaptiveMaxPool1d as AdaptiveMaxPool1d,
    )
    from dualml.spec.layers import (
        AdaptiveMaxPool2d as AdaptiveMaxPool2d,
    )
    from dualml.spec.layers import (
        AdaptiveMaxPool3d as AdaptiveMaxPool3d,
    )
    from dualml.spec.layers import (
        Add as Add,
    )
    from dualml.spec.layers import (
        AlphaDropout as AlphaDropout,
    )
    from dualml.spec.layers import (
        Attention as Attention,
    )
    from dualml.spec.layers import (
        Average as Average,
    )
    from dualml.spec.layers import (
        AveragePool1d as AveragePool1d,
    )
    from dualml.spec.layers import (
        AveragePool2d as AveragePool2d,
    )
    from dualml.spec.layers import (
        AveragePool3d as AveragePool3d,
    )
    from dualml.spec.layers import (
        BatchNorm as BatchNorm,
    )
    from dualml.spec.layers import (
        Bidirectional as Bidirectional,
    )
    from dualml.spec.layers import (
        Concat as Concat,
    )
    from dualml.spec.layers import (
        Conv1d as Conv1d,
    )
    from dualml.spec.layers import (
        Conv2d as Conv2d,
    )
    from dualml.spec.layers import (
        Conv3d as Conv3d,
    )
    from dualml.spec.layers import (
        ConvTranspose1d as ConvTranspose1d,
    )
    from dualml.spec.layers import (
        ConvTranspose2d as ConvTranspose2d,
    )
    from dualml.spec.layers import (
        Crop as Crop,
    )
    from dualml.spec.layers import (
        Dense as Dense,
    )
    from dualml.spec.layers import (
        DepthwiseConv1d as DepthwiseConv1d,
    )
    from dualml.spec.layers import (
        DepthwiseConv2d as DepthwiseConv2d,
    )
    from dualml.spec.layers import (
        Dropout as Dropout,
    )
    from dualml.spec.layers import (
        Embedding as Embedding,
    )
    from dualml.spec.layers import (
        FeedForward as FeedForward,
    )
    from dualml.spec.layers import (
        Flatten as Flatten,
    )
    from dualml.spec.layers import (
        GlobalAveragePool as GlobalAveragePool,
    )
    from dualml.spec.layers import (
        GlobalMaxPool as GlobalMaxPool,
    )
    from dualml.spec.layers import (
        Glu as Glu,
    )
    from dualml.spec.layers import (
        GroupNorm as GroupNorm,
    )
    from dualml.spec.layers import (
        Gru as Gru,
    )
    from dualml.spec.layers import (
        InstanceNorm as InstanceNorm,
    )
    from dualml.spec.layers import (
        LayerNorm as LayerNorm,
    )
    from dualml.spec.layers import (
        Lstm as Lstm,
    )
    from dualml.spec.layers import (
        Maximum as Maximum,
    )
    from dualml.spec.layers import (
        MaxPool1d as MaxPool1d,
    )
    from dualml.spec.layers import (
        MaxPool2d as MaxPool2d,
    )
    from dualml.spec.layers import (
        MaxPool3d as MaxPool3d,
    )
    from dualml.spec.layers import (
        Minimum as Minimum,
    )
    from dualml.spec.layers import (
        Multiply as Multiply,
    )
    from dualml.spec.layers import (
        Pad as Pad,
    )
    from dualml.spec.layers import (
        PaddingMask as PaddingMask,
    )
    from dualml.spec.layers import (
        Permute as Permute,
    )
    from dualml.spec.layers import (
        PositionEmbedding as PositionEmbedding,
    )
    from dualml.spec.layers import (
        PositionEncoding as PositionEncoding,
    )
    from dualml.spec.layers import (
        Prelu as Prelu,
    )
    from dualml.spec.layers import (
        Reshape as Reshape,
    )
    from dualml.spec.layers import (
        Resize as Resize,
    )
    from dualml.spec.layers import (
        RmsNorm as RmsNorm,
    )
    from dualml.spec.layers import (
        Rotary as Rotary,
    )
    from dualml.spec.layers import (
        Select as Select,
    )
    from dualml.spec.layers import (
        SeparableConv1d as SeparableConv1d,
    )
    from dualml.spec.layers import (
        SeparableConv2d as SeparableConv2d,
    )
    from dualml.spec.layers import (
        SimpleRnn as SimpleRnn,
    )
    from dualml.spec.layers import (
        Slice as Slice,
    )
    from dualml.spec.layers import (
        SpatialDropout as SpatialDropout,
    )
    from dualml.spec.layers import (
        SqueezeExcite as SqueezeExcite,
    )
    from dualml.spec.layers import (
        StochasticDepth as StochasticDepth,
    )
    from dualml.spec.layers import (
        Subtract as Subtract,
    )
    from dualml.spec.layers import (
        TiedDense as TiedDense,
    )
    from dualml.spec.layers import (
        TransformerDecoder as TransformerDecoder,
    )
    from dualml.spec.layers import (
        TransformerEncoder as TransformerEncoder,
    )
    from dualml.spec.losses import (
        BinaryCrossEntropy as BinaryCrossEntropy,
    )
    from dualml.spec.losses import (
        BinaryFocalCrossEntropy as BinaryFocalCrossEntropy,
    )
    from dualml.spec.losses import (
        CategoricalHinge as CategoricalHinge,
    )
    from dualml.spec.losses import (
        CosineDistance as CosineDistance,
    )
    from dualml.spec.losses import (
        CrossEntropy as CrossEntropy,
    )
    from dualml.spec.losses import (
        FocalCrossEntropy as FocalCrossEntropy,
    )
    from dualml.spec.losses import (
        Hinge as Hinge,
    )
    from dualml.spec.losses import (
        Huber as Huber,
    )
    from dualml.spec.losses import (
        KlDivergence as KlDivergence,
    )
    from dualml.spec.losses import (
        LogCosh as LogCosh,
    )
    from dualml.spec.losses import (
        MeanAbsoluteError as MeanAbsoluteError,
    )
    from dualml.spec.losses import (
        MeanSquaredError as MeanSquaredError,
    )
    from dualml.spec.losses import (
        MultiMargin as MultiMargin,
    )
    from dualml.spec.losses import (
        Poisson as Poisson,
    )
    from dualml.spec.losses import (
        SmoothL1 as SmoothL1,
    )
    from dualml.spec.losses import (
        SoftCrossEntropy as SoftCrossEntropy,
    )
    from dualml.spec.losses import (
        SquaredHinge as SquaredHinge,
    )
    from dualml.spec.metrics import (
        F1 as F1,
    )
    from dualml.spec.metrics import (
        R2 as R2,
    )
    from dualml.spec.metrics import (
        AbsoluteError as AbsoluteError,
    )
    from dualml.spec.metrics import (
        Accuracy as Accuracy,
    )
    from dualml.spec.metrics import (
        Auc as Auc,
    )
    from dualml.spec.metrics import (
        BinaryAccuracy as BinaryAccuracy,
    )
    from dualml.spec.metrics import (
        ConfusionMatrix as ConfusionMatrix,
    )
    from dualml.spec.metrics import (
        Perplexity as Perplexity,
    )
    from dualml.spec.metrics import (
        Precision as Precision,
    )
    from dualml.spec.metrics import (
        Recall as Recall,
    )
    from dualml.spec.metrics import (
        SquaredError as SquaredError,
    )
    from dualml.spec.metrics import (
        TopK as TopK,
    )
    from dualml.spec.model import Model as Model
    from dualml.spec.optimizers import Adam as Adam
    from dualml.spec.optimizers import AdamW as AdamW
    from dualml.spec.optimizers import GlobalNorm as GlobalNorm
    from dualml.spec.optimizers import Sgd as Sgd
    from dualml.spec.regularizers import L1 as L1
    from dualml.spec.regularizers import L1L2 as L1L2
    from dualml.spec.regularizers import L2 as L2
    from dualml.spec.schedules import (
        ConstantSchedule as ConstantSchedule,
    )
    from dualml.spec.schedules import (
        Cosine as Cosine,
    )
    from dualml.spec.schedules import (
        CosineRestarts as CosineRestarts,
    )
    from dualml.spec.schedules import (
        ExponentialSchedule as ExponentialSchedule,
    )
    from dualml.spec.schedules import (
        InverseSqrt as InverseSqrt,
    )
    from dualml.spec.schedules import (
        InverseTime as InverseTime,
    )
    from dualml.spec.schedules import (
        LinearSchedule as LinearSchedule,
    )
    from dualml.spec.schedules import (
        MultiStep as MultiStep,
    )
    from dualml.spec.schedules import (
        OneCycle as OneCycle,
    )
    from dualml.spec.schedules import (
        Piecewise as Piecewise,
    )
    from dualml.spec.schedules import (
        Polynomial as Polynomial,
    )
    from dualml.spec.schedules import (
        ReduceOnPlateau as ReduceOnPlateau,
    )
    from dualml.spec.schedules import (
        Step as Step,
    )
    from dualml.spec.schedules import (
        Warmup as Warmup,
    )
    from dualml.spec.train import Checkpoints as Checkpoints
    from dualml.spec.train import EarlyStopping as EarlyStopping
    from dualml.spec.train import Train as Train
    from dualml.training.progress import LiveDisplay as LiveDisplay
    from dualml.training.progress import PlainLines as PlainLines


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dualml' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
