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
        "Elu",
        "Gelu",
        "LeakyRelu",
        "Relu",
        "Sigmoid",
        "Silu",
        "Softmax",
        "Softplus",
        "Tanh",
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
        "FanInUniform",
        "GlorotUniform",
        "HeUniform",
        "Normal",
        "Ones",
        "Uniform",
        "Zeros",
    ),
    "dualml.spec.layers": ("Activation", "Add", "Concat", "Dense", "Dropout", "Flatten", "Reshape"),
    "dualml.spec.losses": ("CrossEntropy", "MeanSquaredError"),
    "dualml.spec.model": ("Model",),
    "dualml.spec.optimizers": ("Adam", "AdamW", "GlobalNorm", "Sgd"),
    "dualml.spec.schedules": ("ConstantSchedule", "Cosine", "Step", "Warmup"),
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
        Elu as Elu,
    )
    from dualml.spec.activations import (
        Gelu as Gelu,
    )
    from dualml.spec.activations import (
        LeakyRelu as LeakyRelu,
    )
    from dualml.spec.activations import (
        Relu as Relu,
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
        Tanh as Tanh,
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
        FanInUniform as FanInUniform,
    )
    from dualml.spec.initializers import (
        GlorotUniform as GlorotUniform,
    )
    from dualml.spec.initializers import (
        HeUniform as HeUniform,
    )
    from dualml.spec.initializers import (
        Normal as Normal,
    )
    from dualml.spec.initializers import (
        Ones as Ones,
    )
    from dualml.spec.initializers import (
        Uniform as Uniform,
    )
    from dualml.spec.initializers import (
        Zeros as Zeros,
    )
    from dualml.spec.layers import (
        Activation as Activation,
    )
    from dualml.spec.layers import (
        Add as Add,
    )
    from dualml.spec.layers import (
        Concat as Concat,
    )
    from dualml.spec.layers import (
        Dense as Dense,
    )
    from dualml.spec.layers import (
        Dropout as Dropout,
    )
    from dualml.spec.layers import (
        Flatten as Flatten,
    )
    from dualml.spec.layers import (
        Reshape as Reshape,
    )
    from dualml.spec.losses import CrossEntropy as CrossEntropy
    from dualml.spec.losses import MeanSquaredError as MeanSquaredError
    from dualml.spec.model import Model as Model
    from dualml.spec.optimizers import Adam as Adam
    from dualml.spec.optimizers import AdamW as AdamW
    from dualml.spec.optimizers import GlobalNorm as GlobalNorm
    from dualml.spec.optimizers import Sgd as Sgd
    from dualml.spec.schedules import (
        ConstantSchedule as ConstantSchedule,
    )
    from dualml.spec.schedules import (
        Cosine as Cosine,
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
