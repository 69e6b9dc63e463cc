"""Which variable of a Keras layer holds which parameter of the spec's layer, and in what shape.

Keras' layout is the neutral one but for axes that the neutral layout joins: attention's heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from dualml.protocol import Array

_NORM = {"gamma": "scale", "beta": "offset", "moving_mean": "running_mean", "moving_variance": "running_variance"}


@dataclass(frozen=True)
class Held:
    """A weight.

    Attributes:
        variable: The Keras or TensorFlow variable.
        shape: Its neutral shape, a reshape of the variable's.
    """

    variable: Any
    shape: tuple[int, ...]

    def get(self) -> Array:
        """A copy in the neutral layout."""
        return np.array(self.neutral(self.variable.numpy()))

    def neutral(self, array: Any) -> Array:
        """An array of the variable's shape in the neutral layout."""
        return np.asarray(array).reshape(self.shape)

    def native(self, array: Array) -> Array:
        """An array in the neutral layout in the variable's shape."""
        return np.asarray(array).reshape(tuple(self.variable.shape))

    def set(self, array: Array) -> None:
        """Replace it."""
        dtype = self.variable.dtype
        self.variable.assign(self.native(array).astype(dtype if isinstance(dtype, str) else dtype.as_numpy_dtype))


def plain(variable: Any) -> Held:
    """A variable whose layout is the neutral one."""
    return Held(variable, tuple(variable.shape))


def _by_name(layer: Any, names: Mapping[str, str]) -> dict[str, Held]:
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    return {names.get(variable.name, variable.name): plain(variable) for variable in own}


def _dense(layer: Any) -> dict[str, Held]:
    return _by_name(layer, {})


def _inner_dense(layer: Any) -> dict[str, Held]:
    return _dense(layer.layer) if type(layer.layer) is keras.layers.Dense else {}


def _depthwise(layer: Any) -> dict[str, Held]:
    return _by_name(layer, {"depthwise_kernel": "kernel"})


def _norm(layer: Any) -> dict[str, Held]:
    return _by_name(layer, _NORM)


def _embedding(layer: Any) -> dict[str, Held]:
    return _by_name(layer, {"embeddings": "table"})


def _recurrent(layer: Any) -> dict[str, Held]:
    return _by_name(layer.cell, {})


def _prelu(layer: Any) -> dict[str, Held]:
    return {"slope": Held(layer.alpha, tuple(size for size in layer.alpha.shape if size != 1) or (1,))}


def _attention(layer: Any) -> dict[str, Held]:
    """Kernels ``(inputs, heads, size)`` as ``(inputs, heads size)``; the output's ``(heads, size, units)`` alike."""
    found = {}
    parts = {"query": layer._query_dense, "key": layer._key_dense, "value": layer._value_dense}
    for name, dense in parts.items():
        found[f"{name}_kernel"] = Held(dense.kernel, (dense.kernel.shape[0], math.prod(dense.kernel.shape[1:])))
        if dense.bias is not None:
            found[f"{name}_bias"] = Held(dense.bias, (math.prod(dense.bias.shape),))
    output = layer._output_dense
    found["output_kernel"] = Held(output.kernel, (math.prod(output.kernel.shape[:2]), *output.kernel.shape[2:]))
    if output.bias is not None:
        found["output_bias"] = plain(output.bias)
    return found


_L = keras.layers
ROLES: Mapping[type, Callable[[Any], dict[str, Held]]] = {
    **dict.fromkeys((_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D, _L.Conv1DTranspose, _L.Conv2DTranspose), _dense),
    **dict.fromkeys((_L.DepthwiseConv1D, _L.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((_L.BatchNormalization, _L.LayerNormalization, _L.GroupNormalization, _L.RMSNormalization), _norm),
    _L.TimeDistributed: _inner_dense,
    _L.Embedding: _embedding,
    **dict.fromkeys((_L.SimpleRNN, _L.LSTM, _L.GRU), _recurrent),
    _L.PReLU: _prelu,
    **dict.fromkeys((_L.MultiHeadAttention, _L.GroupQueryAttention), _attention),
}
"""For each stock layer whose weights have roles in the spec, the weights by role."""


def held_in(layer: Any) -> dict[str, Held]:
    """The weights of a stock layer or of a subclass of one by role; those that a subclass adds have none."""
    kind = next((base for base in type(layer).__mro__ if base in ROLES), None)
    if kind is None:
        return {}
    try:
        found = ROLES[kind](layer)
    except AttributeError:  # a subclass that builds something else
        return {}
    return {role: held for role, held in found.items() if role in _KNOWN}


_KNOWN = frozenset(
    [
        *(
            "kernel",
            "bias",
            "recurrent_kernel",
            "scale",
            "offset",
            "running_mean",
            "running_variance",
            "table",
            "slope",
        ),
        *(f"{part}_{role}" for part in ("query", "key", "value", "output") for role in ("kernel", "bias")),
    ]
)
"""Roles of the spec's layers."""


def stock_class(layer: Any, known: Mapping[type, Any]) -> type | None:
    """The stock class a layer is, or is a subclass of that computes nothing of its own; else ``None``."""
    for base in type(layer).__mro__:
        if base in known:
            return base
        if set(vars(base)) - HARMLESS:
            return None
    return None


HARMLESS = frozenset(
    [
        "__module__",
        "__doc__",
        "__init__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "__parameters__",
        "__orig_bases__",
        "__slots__",
        "_api_export_path",
        "_api_export_symbol_id",
        "get_config",
        "from_config",
    ]
)
"""What a subclass may define without computing anything else than its base."""
