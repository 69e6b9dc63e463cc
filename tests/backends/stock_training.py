"""Every loss's and optimizer's stock counterpart in each framework, and why some have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

CLASSES = 4


def one_hot(targets: Any) -> Any:
    """Class numbers as Keras' focal and hinge losses take them."""
    return tf.one_hot(targets, CLASSES, dtype=tf.float64)


def keras_loss(name: str, prepare: Callable[[Any, Any], tuple[Any, Any]] | None = None, **settings: Any) -> Any:
    """A Keras loss object as a function of outputs and targets."""
    stock = getattr(keras.losses, name)(dtype="float64", **settings)

    def value(outputs: Any, targets: Any) -> Any:
        outputs, targets = (outputs, targets) if prepare is None else prepare(outputs, targets)
        return stock(targets, outputs)

    return value


def torch_cosine(outputs: Any, targets: Any) -> Any:
    """``torch.nn.CosineEmbeddingLoss`` for pairs that shall be alike."""
    return nn.CosineEmbeddingLoss()(outputs, targets, torch.ones(len(outputs)))


def torch_kl(outputs: Any, targets: Any) -> Any:
    """``torch.nn.KLDivLoss`` of logits; its default reduction is deprecated in favour of this one."""
    return nn.KLDivLoss(reduction="batchmean")(outputs.log_softmax(-1), targets)


LOSSES: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    "torch": {
        "cross_entropy": nn.CrossEntropyLoss(),
        "soft_cross_entropy": nn.CrossEntropyLoss(),
        "binary_cross_entropy": nn.BCEWithLogitsLoss(),
        "mse": nn.MSELoss(),
        "mae": nn.L1Loss(),
        "huber": nn.HuberLoss(),
        "smooth_l1": nn.SmoothL1Loss(),
        "kl_divergence": torch_kl,
        "multi_margin": nn.MultiMarginLoss(),
        "cosine": torch_cosine,
        "poisson": nn.PoissonNLLLoss(),
    },
    "keras": {
        "cross_entropy": keras_loss("SparseCategoricalCrossentropy", from_logits=True),
        "soft_cross_entropy": keras_loss("CategoricalCrossentropy", from_logits=True),
        "focal_cross_entropy": keras_loss("CategoricalFocalCrossentropy", lambda z, t: (tf.nn.softmax(z), one_hot(t))),
        "binary_cross_entropy": keras_loss("BinaryCrossentropy", from_logits=True),
        "binary_focal_cross_entropy": keras_loss("BinaryFocalCrossentropy", from_logits=True),
        "mse": keras_loss("MeanSquaredError"),
        "mae": keras_loss("MeanAbsoluteError"),
        "huber": keras_loss("Huber"),
        "log_cosh": keras_loss("LogCosh"),
        "kl_divergence": keras_loss("KLDivergence", lambda z, t: (tf.nn.softmax(z), t)),
        "hinge": keras_loss("Hinge"),
        "squared_hinge": keras_loss("SquaredHinge"),
        "categorical_hinge": keras_loss("CategoricalHinge", lambda z, t: (z, one_hot(t))),
        "cosine": keras_loss("CosineSimilarity"),
        "poisson": keras_loss("Poisson"),
    },
}
"""Each loss of outputs and targets with nothing said but what makes it take logits."""
ROUNDED_LOSSES = {
    ("keras", "log_cosh"): 1e-8,
    ("keras", "focal_cross_entropy"): 1e-7,
    ("keras", "binary_focal_cross_entropy"): 1e-7,
}
"""Where Keras rounds constants to float32, and the largest relative difference."""
WITHOUT_LOSS = {
    "torch": {
        "focal_cross_entropy": "torchvision has one of another definition, the framework has none",
        "binary_focal_cross_entropy": "torchvision's; the framework has none",
        "log_cosh": "Keras alone has it",
        "hinge": "`HingeEmbeddingLoss` and `MarginRankingLoss` are other losses",
        "squared_hinge": "Keras alone has it",
        "categorical_hinge": "Keras alone has it",
    },
    "keras": {
        "smooth_l1": "Keras has `Huber`, which is it times delta",
        "multi_margin": "PyTorch alone has it",
    },
}
"""Losses without a stock counterpart, with the reason."""


@dataclass(frozen=True)
class StockOptimizer:
    """An optimizer's stock counterpart.

    Attributes:
        make: Makes it with its defaults: PyTorch's of a list of parameters, Keras' of nothing.
        precision: In which the stock one is what it says.
        close: Largest difference of a parameter relative to how far the updates moved it.
        matrices: Whether it takes nothing but matrices.
    """

    make: Callable[..., Any]
    precision: str = "float64"
    close: float = 1e-12
    matrices: bool = False


SINGLE = {"precision": "float32", "close": 1e-4}

OPTIMIZERS: dict[str, dict[str, StockOptimizer]] = {
    "torch": {
        "sgd": StockOptimizer(torch.optim.SGD),
        "adam": StockOptimizer(torch.optim.Adam),
        "adamw": StockOptimizer(torch.optim.AdamW),
        "nadam": StockOptimizer(torch.optim.NAdam, **SINGLE),  # a float32 product of momenta beside float64 parameters
        "adamax": StockOptimizer(torch.optim.Adamax),
        "rmsprop": StockOptimizer(torch.optim.RMSprop),
        "adagrad": StockOptimizer(torch.optim.Adagrad),
        "adadelta": StockOptimizer(torch.optim.Adadelta),
        "adafactor": StockOptimizer(torch.optim.Adafactor, **SINGLE),  # its epsilon depends on the precision
        "muon": StockOptimizer(torch.optim.Muon, matrices=True),
    },
    "keras": {
        "sgd": StockOptimizer(keras.optimizers.SGD),
        "adam": StockOptimizer(keras.optimizers.Adam),
        "adamw": StockOptimizer(keras.optimizers.AdamW),
        "nadam": StockOptimizer(keras.optimizers.Nadam, **SINGLE),  # a constant 0.96 in float32
        "adamax": StockOptimizer(keras.optimizers.Adamax),
        "rmsprop": StockOptimizer(keras.optimizers.RMSprop),
        "adagrad": StockOptimizer(keras.optimizers.Adagrad),
        "adadelta": StockOptimizer(keras.optimizers.Adadelta, **SINGLE),  # an np.float64 times a variable fails
        "lion": StockOptimizer(keras.optimizers.Lion),
        "adafactor": StockOptimizer(keras.optimizers.Adafactor),
        "muon": StockOptimizer(keras.optimizers.Muon, **SINGLE),  # the root of a shape in float32
    },
}
WITHOUT_OPTIMIZER = {"torch": {"lion": "Keras alone has it"}, "keras": {}}
"""Optimizers without a stock counterpart, with the reason."""


def exact(optimizer: Any) -> Any:
    """A Keras optimizer whose own numbers are NumPy's, which Keras does not round to float32 as it does Python's."""
    for name, value in vars(optimizer).items():
        if type(value) is float:
            setattr(optimizer, name, np.float64(value))
    return optimizer
