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
    from dualml.protocol import Batch as Batch


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dualml' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
