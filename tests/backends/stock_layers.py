"""Every layer's and activation's stock counterpart in each framework, and why some have none."""

from __future__ import annotations

from typing import Any

import keras
import torch
from stock_layers_keras import KERAS
from stock_layers_torch import TORCH
from stock_support import SINGLE, Row
from torch import nn

from dualml.spec import layers as spec
from dualml.spec.activations import ACTIVATIONS

LAYERS = {"torch": TORCH, "keras": KERAS}

_MASK = "no layer: a mask is a value here, where PyTorch's users compare and Keras attaches one unseen"
_POSITIONS = "no layer in the framework itself; its values are judged by the paper's formula"
_TIED = "no layer: users assign the table to a `Linear`; test_a_tied_table_is_one_parameter judges it"
_EXAMPLES = "torchvision has one, the framework has not"
WITHOUT = {
    "torch": {
        "padding_mask": _MASK,
        "tied_dense": _TIED,
        "position_embedding": _POSITIONS,
        "position_encoding": _POSITIONS,
        "stochastic_depth": _EXAMPLES,
    },
    "keras": {
        "padding_mask": _MASK,
        "tied_dense": "`ReversibleEmbedding` is both ends at once; test_a_tied_table_is_one_parameter judges it",
        "position_embedding": _POSITIONS,
        "position_encoding": _POSITIONS,
        "stochastic_depth": "no layer: `Dropout` with a noise shape, which has no default",
        "select": "no layer: indexing",
        "slice": "no layer: indexing",
    },
}
"""Layers without a stock counterpart, with the reason."""

_TORCH_MODULES = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "clipped_relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hard_swish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "tanh": nn.Tanh,
    "hard_tanh": nn.Hardtanh,
    "tanh_shrink": nn.Tanhshrink,
    "hard_shrink": nn.Hardshrink,
    "soft_shrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "softplus": nn.Softplus,
    "exponential": lambda: torch.exp,
    "linear": nn.Identity,
    "softmax": lambda: nn.Softmax(-1),
    "log_softmax": lambda: nn.LogSoftmax(-1),
}
_KERAS_NAMES = {"hard_swish": "hard_silu", "clipped_relu": "relu"}
_REQUIRED = "has no default to compare with"
WITHOUT_ACTIVATION = {
    "torch": {
        **dict.fromkeys(("swish", "threshold"), _REQUIRED),
        **dict.fromkeys(("squareplus", "sparse_plus", "sparse_sigmoid"), "Keras alone has it"),
    },
    "keras": {"swish": _REQUIRED, "threshold": _REQUIRED},
}
"""Activations without a stock counterpart, with the reason."""

_FORMULAS = {"torch": (), "keras": ("selu", "celu", "gelu")}
"""Written out by the adapter, because the stock function rounds constants to float32."""


def first_of(function: Any, values: list[Any]) -> Any:
    """A function of one input."""
    return function(values[0])


def _activation(side: str, kind: Any) -> Row:
    def stock(*dtype: str) -> Any:
        if side == "torch":
            return _TORCH_MODULES[kind.kind]()
        return getattr(keras.activations, _KERAS_NAMES.get(kind.kind, kind.kind))

    close = 3e-6 if kind.kind in _FORMULAS[side] else 0.0
    layer = spec.Activation(kind())
    return Row(layer, (4, 8), stock, first_of, False, close=close, precisions=SINGLE, own=True, scale=20.0)


def activation_rows(side: str) -> list[Row]:
    """In float32, where the stock functions' constants are what they mean to be."""
    return [_activation(side, kind) for kind in ACTIVATIONS if kind.kind not in WITHOUT_ACTIVATION[side]]
