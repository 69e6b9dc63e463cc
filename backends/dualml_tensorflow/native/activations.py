"""Activations: Keras' functions and layers, and those that an argument ``activation`` may hold, in the spec's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import activations as native

Function = dict[str, dict[str, Any]]
"""A function as ``dualml.spec.activations`` writes it: ``{"gelu": {"approximate": "none"}}``."""

FUNCTIONS: Mapping[Callable[..., Any], Function] = {
    native.relu: {"relu": {}},
    native.relu6: {"relu6": {}},
    native.leaky_relu: {"leaky_relu": {"negative_slope": 0.2}},
    native.elu: {"elu": {"alpha": 1.0}},
    native.selu: {"selu": {}},
    native.celu: {"celu": {"alpha": 1.0}},
    native.gelu: {"gelu": {"approximate": "none"}},
    native.silu: {"silu": {}},
    native.sigmoid: {"sigmoid": {}},
    native.hard_sigmoid: {"hard_sigmoid": {}},
    native.hard_silu: {"hard_swish": {}},
    native.log_sigmoid: {"log_sigmoid": {}},
    native.sparse_sigmoid: {"sparse_sigmoid": {}},
    native.tanh: {"tanh": {}},
    native.hard_tanh: {"hard_tanh": {"minimum": -1.0, "maximum": 1.0}},
    native.tanh_shrink: {"tanh_shrink": {}},
    native.hard_shrink: {"hard_shrink": {"threshold": 0.5}},
    native.soft_shrink: {"soft_shrink": {"threshold": 0.5}},
    native.softsign: {"softsign": {}},
    native.softplus: {"softplus": {"beta": 1.0, "threshold": "none"}},
    native.squareplus: {"squareplus": {"b": 4.0}},
    native.sparse_plus: {"sparse_plus": {}},
    native.exponential: {"exponential": {}},
    native.linear: {"linear": {}},
    native.mish: {"mish": {}},
    native.softmax: {"softmax": {"axis": -1}},
    native.log_softmax: {"log_softmax": {"axis": -1}},
}
"""Functions of ``keras.activations`` with the parameters they have when nothing is said."""


def example_axis(axis: int) -> int | None:
    """An axis counted with the batch's as one of an example; ``None`` if it is the batch's."""
    return axis if axis < 0 else axis - 1 if axis else None


def clipped(max_value: float | None, negative_slope: float, threshold: float) -> Function:
    """What ``keras.layers.ReLU`` and ``keras.activations.relu`` compute with these arguments."""
    if threshold == 0 and max_value is None:
        return {"leaky_relu": {"negative_slope": negative_slope}} if negative_slope else {"relu": {}}
    if threshold == 0 and max_value == 6 and negative_slope == 0:
        return {"relu6": {}}
    limit = "none" if max_value is None else float(max_value)
    return {"clipped_relu": {"max_value": limit, "negative_slope": negative_slope, "threshold": threshold}}


def _softmax(layer: Any) -> Function | None:
    axis = example_axis(layer.axis) if isinstance(layer.axis, int) else None
    return None if axis is None else {"softmax": {"axis": axis}}


LAYERS: Mapping[type, Callable[[Any], Function | None]] = {
    keras.layers.Activation: lambda layer: function_of(layer.activation),
    keras.layers.ReLU: lambda layer: clipped(
        None if layer.max_value is None else float(layer.max_value), float(layer.negative_slope), float(layer.threshold)
    ),
    keras.layers.LeakyReLU: lambda layer: {"leaky_relu": {"negative_slope": float(layer.negative_slope)}},
    keras.layers.ELU: lambda layer: {"elu": {"alpha": float(layer.alpha)}},
    keras.layers.Softmax: _softmax,
}
"""Layers that are an activation."""

UNSAID: Mapping[type, Mapping[str, str]] = {
    keras.layers.ReLU: {"max_value": "max_value", "negative_slope": "negative_slope", "threshold": "threshold"},
    keras.layers.LeakyReLU: {"negative_slope": "negative_slope"},
    keras.layers.ELU: {"alpha": "alpha"},
    keras.layers.Softmax: {"axis": "axis"},
}
"""Settings of the function to arguments of the layer."""


def function_of(activation: Any) -> Function | None:
    """The function an argument ``activation`` holds; ``None``: it is none of the catalogue's."""
    if type(activation) in LAYERS:
        return LAYERS[type(activation)](activation)
    try:
        return FUNCTIONS.get(activation)
    except TypeError:  # not hashable
        return None


def name_of(activation: Any) -> str:
    """What a user would call it: ``keras.activations.gelu``."""
    if isinstance(activation, keras.Layer):
        return f"keras.layers.{type(activation).__name__}"
    if activation in FUNCTIONS:
        return f"keras.activations.{activation.__name__}"
    return str(getattr(activation, "__name__", type(activation).__name__))
