"""One layer of a model beside a native layer: the same inputs and output gradients, values and input gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from dualml_tensorflow import backend as tensorflow_backend
from dualml_torch import backend as torch_backend

from dualml.spec.layers import Dense
from dualml.spec.losses import MeanSquaredError
from dualml.testing.cases import Case

BACKENDS = {"torch": torch_backend, "tensorflow": tensorflow_backend}


@dataclass(frozen=True)
class Passed:
    """What a layer made of its input, in float64 with channels last.

    Attributes:
        case: The model.
        native: The native model.
        inputs: The layer's input.
        output: Its output.
        upstream: Gradient for its output.
        gradient: Gradient for its input.
    """

    case: Case
    native: Any
    inputs: Any
    output: Any
    upstream: Any
    gradient: Any


def passed(side: str, layer: Any, shape: tuple[int, ...], conventions: str, inputs: Any = None) -> Passed:
    """A layer between a model's input and a dense layer, forward and backward; its weights are ``case.weights()``."""
    case = Case("single layer", shape, [layer, Dense(2)], MeanSquaredError(), conventions)
    batch = case.batch()
    if inputs is not None:
        batch = case.batch(examples=len(inputs))
        batch = type(batch)(np.asarray(inputs, dtype=np.float64), batch.targets)
    network = BACKENDS[side].build(case.graph(), case.weights())
    got = network.gradients(batch, case.objective, masks=case.masks(len(batch)), taps=case.graph().names)
    name = case.graph().nodes[0].name
    return Passed(
        case,
        network.native,
        batch.inputs,
        got.values[name],
        got.values_gradients[name],
        got.values_gradients["input"],
    )


def torch_layer(module: Any, inputs: Any, upstream: Any) -> tuple[Any, Any]:
    """Output and input gradient of a module that wants channels first, both with channels last."""
    x = torch.tensor(np.moveaxis(inputs, -1, 1).copy(), requires_grad=True)
    y = module.double()(x)
    slope = torch.tensor(upstream)
    y.backward(slope.movedim(-1, 1) if y.ndim > 2 else slope)
    y = y.detach()
    return (y.movedim(1, -1) if y.ndim > 2 else y).numpy(), x.grad.movedim(1, -1).numpy()


def keras_layer(layer: Any, inputs: Any, upstream: Any) -> tuple[Any, Any]:
    """Output and input gradient of a layer."""
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y.numpy(), tf.convert_to_tensor(tape.gradient(y, x, upstream)).numpy()
