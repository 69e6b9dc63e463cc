"""Nodes to judge, and the same operations in both frameworks, called directly: no adapter takes part."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualml.spec.activations import Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh
from dualml.spec.config import Spec
from dualml.spec.layers import Dense
from dualml.spec.losses import MeanSquaredError
from dualml.spec.model import Model
from dualml.spec.optimizers import Sgd

FUNCTIONS = {
    "relu": Relu(),
    "tanh": Tanh(),
    "sigmoid": Sigmoid(),
    "gelu": Gelu(approximate="none"),
    "gelu tanh": Gelu(approximate="tanh"),
    "leaky_relu": LeakyRelu(negative_slope=0.01),
    "leaky_relu 0.3": LeakyRelu(negative_slope=0.3),
    "elu": Elu(alpha=1.0),
    "elu 0.3": Elu(alpha=0.3),
    "silu": Silu(),
    "softplus": Softplus(beta=1.0, threshold=20.0),
    "softplus none": Softplus(beta=1.0, threshold="none"),
    "softplus 2.3": Softplus(beta=2.3, threshold=20.0),
    "softmax": Softmax(),
}
"""Activations with every setting filled in."""


def graph_of(layers, shape, precision="float64", **settings):
    """The graph of some layers."""
    return Spec(
        precision=precision,
        model=Model(input=shape, layers=layers),
        loss=settings.get("loss", MeanSquaredError()),
        optimizer=Sgd(0.1),
    ).graph


def activation_node(function, shape=(8,)):
    """A node that applies one activation."""
    return graph_of([Dense(shape[-1], activation=function)], shape).nodes[-1]


def torch_functions() -> dict[str, Any]:
    """PyTorch's own function for each of ``FUNCTIONS``."""
    import torch
    from torch.nn import functional

    return {
        "relu": functional.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "gelu": functional.gelu,
        "gelu tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
        "leaky_relu 0.3": lambda x: functional.leaky_relu(x, 0.3),
        "elu": functional.elu,
        "elu 0.3": lambda x: functional.elu(x, 0.3),
        "silu": functional.silu,
        "softplus": functional.softplus,
        "softplus none": lambda x: functional.softplus(x, threshold=60.0),  # exp overflows without any threshold
        "softplus 2.3": lambda x: functional.softplus(x, beta=2.3),
        "softmax": lambda x: torch.softmax(x, -1),
    }


def tensorflow_functions() -> dict[str, Any]:
    """TensorFlow's function for each of ``FUNCTIONS``, with constants of full precision."""
    import keras
    import tensorflow as tf

    activations = keras.activations

    def constant(value: float, x: Any) -> Any:
        return tf.constant(value, x.dtype)

    def softplus(x: Any, beta: float, threshold: float) -> Any:
        z = constant(beta, x) * x
        return tf.where(z > constant(threshold, x), x, activations.softplus(z) / constant(beta, x))

    def gelu_tanh(x: Any) -> Any:
        inner = constant(np.sqrt(2 / np.pi), x) * (x + constant(0.044715, x) * x * x * x)
        return constant(0.5, x) * x * (constant(1.0, x) + tf.tanh(inner))

    return {
        "relu": activations.relu,
        "tanh": activations.tanh,
        "sigmoid": activations.sigmoid,
        "gelu": lambda x: 0.5 * x * (1 + tf.math.erf(x * constant(np.sqrt(0.5), x))),
        "gelu tanh": gelu_tanh,
        "leaky_relu": lambda x: tf.where(x > 0, x, constant(0.01, x) * x),
        "leaky_relu 0.3": lambda x: tf.where(x > 0, x, constant(0.3, x) * x),
        "elu": activations.elu,
        "elu 0.3": lambda x: activations.elu(x, alpha=np.float64(0.3)),
        "silu": activations.silu,
        "softplus": lambda x: softplus(x, 1.0, 20.0),
        "softplus none": activations.softplus,
        "softplus 2.3": lambda x: softplus(x, 2.3, 20.0),
        "softmax": lambda x: tf.nn.softmax(x, axis=-1),
    }


def run_torch(function: Any, arrays: list[Any], output_gradient: Any) -> tuple[Any, list[Any]]:
    """Value and vector-Jacobian products in PyTorch."""
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = function(*tensors)
    gradients = torch.autograd.grad(value, tensors, torch.tensor(output_gradient))
    return value.detach().numpy(), [gradient.numpy() for gradient in gradients]


def run_tensorflow(function: Any, arrays: list[Any], output_gradient: Any) -> tuple[Any, list[Any]]:
    """Value and vector-Jacobian products in TensorFlow."""
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    gradients = tape.gradient(value, tensors, output_gradients=tf.constant(output_gradient))
    return value.numpy(), [gradient.numpy() for gradient in gradients]


SIDES = {"torch": (run_torch, torch_functions), "tensorflow": (run_tensorflow, tensorflow_functions)}


def ratio(theirs: Any, reference: Any, bound: Any) -> float:
    """Worst ``|theirs - reference| / bound``; NaN counts as infinite, a float64 bound is doubled for the reference."""
    theirs = np.asarray(theirs)
    assert theirs.shape == np.shape(reference) == np.shape(bound)
    doubled = 2.0 if theirs.dtype == np.float64 else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        all_ratios = np.abs(theirs - reference) / (doubled * np.asarray(bound))
    return float(np.max(np.where(np.isnan(all_ratios), np.inf, all_ratios), initial=0.0))
