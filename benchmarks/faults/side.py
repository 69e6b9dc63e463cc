"""One side of a pair: what is changed on it, and the native model, loss and optimizer that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras
import numpy as np
import torch

from benchmarks.faults import keras_networks, torch_networks
from benchmarks.faults.data import ROWS, Array, batch, channels_first
from benchmarks.faults.parts import Change, Parts
from benchmarks.faults.port import Mistakes, fill_keras, fill_torch

Framework = Literal["torch", "keras"]
FRAMEWORKS: tuple[Framework, Framework] = ("torch", "keras")


@dataclass(frozen=True)
class Side:
    """What is done otherwise on one side.

    Attributes:
        parts: Layers made otherwise, by part.
        options: Options of the network's function.
        network: Another function that makes the network.
        port: What a wrong port does to an array, by ``<part>.<role>``.
        loss: Makes the native loss.
        optimizer: Of PyTorch: parameters to an optimizer; of Keras: makes the optimizer.
        inputs: What happens to the inputs, channels last, before the side gets them.
        finish: What happens to the model after its weights are written.
    """

    parts: Mapping[str, Change] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    network: Callable[..., Any] | None = None
    port: Mistakes = field(default_factory=dict)
    loss: Callable[[], Any] | None = None
    optimizer: Callable[..., Any] | None = None
    inputs: Callable[[Array], Array] | None = None
    finish: Callable[[Any], None] | None = None

    def __or__(self, other: Side) -> Side:
        """Both; where both say something, ``other`` counts."""
        return replace(
            self,
            parts={**self.parts, **other.parts},
            options={**self.options, **other.options},
            port={**self.port, **other.port},
            network=other.network or self.network,
            loss=other.loss or self.loss,
            optimizer=other.optimizer or self.optimizer,
            inputs=other.inputs or self.inputs,
            finish=other.finish or self.finish,
        )


@dataclass(frozen=True)
class Native:
    """What one side consists of.

    Attributes:
        framework: ``torch`` or ``keras``.
        model: The native model with its weights.
        loss: The native loss.
        optimizer: As ``Side.optimizer``: PyTorch's is made from parameters; Keras' is an object.
        inputs: In the framework's own axes.
        targets: Class numbers.
    """

    framework: Framework
    model: Any
    loss: Any
    optimizer: Any
    inputs: Array
    targets: Array


@contextmanager
def floats(precision: str) -> Iterator[None]:
    """Keras makes layers, losses and learning rates in ``floatx``: build and run in it."""
    before = keras.config.floatx()
    keras.config.set_floatx(precision)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def sgd_torch(parameters: Any) -> Any:
    """PyTorch's plain SGD."""
    return torch.optim.SGD(parameters, lr=0.05)


def sgd_keras() -> Any:
    """Keras' plain SGD."""
    return keras.optimizers.SGD(learning_rate=0.05)


def sparse_cross_entropy() -> Any:
    """Keras' cross entropy from logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(
    framework: Framework, family: str, side: Side, seed: int, *, rows: int = ROWS, precision: str = "float32"
) -> Native:
    """Make one side.

    Args:
        framework: Whose.
        family: Network.
        side: What is done otherwise.
        seed: Of weights and data.
        rows: Examples in the batch.
        precision: ``float64`` only for the benchmark's own checks; ``dualml diff`` gets float32 models.

    Raises:
        KeyError: A change that met nothing.
    """
    part = Parts(side.parts, named=framework == "keras")
    inputs, targets = batch(family, seed, rows)
    if side.inputs is not None:
        inputs = side.inputs(inputs)
    if inputs.dtype.kind == "f":
        inputs = inputs.astype(precision)
    if framework == "torch":
        # Parts that a network makes and initialises draw from PyTorch's generator; none of it survives the port.
        model = (side.network or torch_networks.NETWORKS[family])(part, **side.options)
        model = model.double() if precision == "float64" else model
        fill_torch(model, seed, side.port)
        loss = (side.loss or torch.nn.CrossEntropyLoss)()
        loss = loss.to(getattr(torch, precision)) if isinstance(loss, torch.nn.Module) else loss
        optimizer: Any = side.optimizer or sgd_torch
        inputs = channels_first(inputs)
    else:
        with floats(precision):
            model = (side.network or keras_networks.NETWORKS[family])(part, **side.options)
            fill_keras(model, seed, side.port)
            loss = (side.loss or sparse_cross_entropy)()
            optimizer = (side.optimizer or sgd_keras)()
            if precision == "float64":
                _full_precision(optimizer)
    part.check()
    if side.finish is not None:
        side.finish(model)
    return Native(framework, model, loss, optimizer, inputs, targets)


def _full_precision(optimizer: Any) -> None:
    """Keras casts Python floats to float32 on the way to float64 (``tf.cast``); NumPy's survive."""
    for name in ("momentum", "beta_1", "beta_2", "rho", "epsilon", "weight_decay", "clipnorm", "global_clipnorm"):
        if isinstance(value := getattr(optimizer, name, None), float):
            setattr(optimizer, name, np.float64(value))
