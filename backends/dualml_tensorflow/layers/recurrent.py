"""Recurrent layers: the stock ones, or stock cells in a layer that takes a mask by hand and keeps the order of time.

All of them run the plain loop (``use_cudnn=False``), which XLA compiles and which follows the formula in any precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Invoke, Make


@keras.saving.register_keras_serializable(package="dualml")
class Recurrent(keras.layers.RNN):  # type: ignore[misc] # keras is untyped
    """A layer of any cell whose outputs stay where their inputs are, and whose mask is an input like any other.

    Why not stock: with ``go_backwards`` the stock layers turn the order of the outputs; and what is handed to them as
    ``mask`` sticks to their output, where later layers and the loss read it without being asked to.
    """

    def build(self, sequences_shape: Any, kept_shape: Any = None) -> None:
        """Make the cell's variables."""
        super().build(sequences_shape)

    def compute_output_shape(self, sequences_shape: Any, kept_shape: Any = None) -> Any:
        """As the base class."""
        return super().compute_output_shape(sequences_shape)

    def call(self, sequences: Any, kept: Any = None, training: bool = False) -> Any:
        """Steps ``(examples, time, units)`` or the last state ``(examples, units)``.

        Args:
            sequences: Shape ``(examples, time, features)``.
            kept: Shape ``(examples, time)``; a step is not read where it is 0.
            training: Whether it is training.
        """
        mask = None if kept is None else tf.not_equal(kept, 0.0)
        outputs = super().call(sequences, mask=mask, training=training)
        return tf.reverse(outputs, [1]) if self.return_sequences and self.go_backwards else outputs


class _TwoBiases:
    """A cell with a second variable ``recurrent_bias``, trained beside the stock one.

    The stock ``call`` reads ``bias``, which is made of both here.
    """

    input_bias: Any
    recurrent_bias: Any

    def build(self, input_shape: Any) -> None:
        """Make the variables."""
        super().build(input_shape)  # type: ignore[misc] # of the stock cell
        self.recurrent_bias = self.add_weight(  # type: ignore[attr-defined]
            shape=self.input_bias.shape, name="recurrent_bias", initializer="zeros"
        )

    @property
    def bias(self) -> Any:
        """What the stock cell adds."""
        return self.input_bias + self.recurrent_bias

    @bias.setter
    def bias(self, variable: Any) -> None:
        self.input_bias = variable


@keras.saving.register_keras_serializable(package="dualml")
class TwoBiasSimpleRnnCell(_TwoBiases, keras.layers.SimpleRNNCell):  # type: ignore[misc]
    """``keras.layers.SimpleRNNCell`` with PyTorch's two biases; the stock one has no second."""


@keras.saving.register_keras_serializable(package="dualml")
class TwoBiasLstmCell(_TwoBiases, keras.layers.LSTMCell):  # type: ignore[misc]
    """``keras.layers.LSTMCell`` with PyTorch's two biases; the stock one has no second."""


@keras.saving.register_keras_serializable(package="dualml")
class TwoBiasGruCell(_TwoBiases, keras.layers.GRUCell):  # type: ignore[misc]
    """``keras.layers.GRUCell`` with PyTorch's two biases, two variables where the stock one stacks them.

    With ``second=False`` there is only the first, which the stock cell with ``reset_after`` cannot have.
    """

    reset_after: bool

    def __init__(self, units: int, second: bool = True, **settings: Any) -> None:
        super().__init__(units, **settings)
        self.second = second

    def build(self, input_shape: Any) -> None:
        """Make the variables."""
        after, self.reset_after = self.reset_after, False  # the stock cell then makes one bias of (3 units,)
        if self.second:
            super().build(input_shape)
        else:
            keras.layers.GRUCell.build(self, input_shape)
        self.reset_after = after

    @property
    def bias(self) -> Any:
        """Both stacked, or with the reset gate before the product their sum."""
        first = tf.convert_to_tensor(self.input_bias)
        second = tf.convert_to_tensor(self.recurrent_bias) if self.second else tf.zeros_like(first)
        return tf.stack([first, second]) if self.reset_after else first + second

    @bias.setter
    def bias(self, variable: Any) -> None:
        self.input_bias = variable

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "second": self.second}


def _layer(stock: Any, cell: Any, node: Node, precision: str, **more: Any) -> Any:
    """The stock layer where it can express the settings, else ``Recurrent``.

    Args:
        stock: The stock layer's class.
        cell: The class of the cell in ``Recurrent``; ``None``: the stock layer does, unless time or mask forbid it.
        node: The node.
        precision: The layer's dtype.
        more: Settings of layer and cell.
    """
    settings = node.settings
    of_cell = {
        "use_bias": settings.bias != "none",
        "kernel_initializer": "zeros",
        "recurrent_initializer": "zeros",
        "bias_initializer": "zeros",
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "seed": 0,  # without one Keras takes it from Python's global random state
        "dtype": precision,
        **more,
    }
    of_layer = {
        "return_sequences": settings.return_sequences,
        "go_backwards": settings.reverse,
        "stateful": False,
        "unroll": False,
        "name": node.name,
        "dtype": precision,
    }
    turned = settings.reverse and settings.return_sequences
    if cell is None and settings.mask is None and not turned:
        return stock(settings.units, **{**of_cell, **of_layer, **_PLAIN.get(stock, {})})
    # The last state is wanted whatever the last step's mask says, which is what "previous" gives.
    zeros = settings.masked_output == "zeros" and settings.return_sequences
    return Recurrent((cell or _CELLS[stock])(settings.units, **of_cell), zero_output_for_mask=zeros, **of_layer)


_CELLS: Mapping[Any, Any] = {
    keras.layers.SimpleRNN: keras.layers.SimpleRNNCell,
    keras.layers.LSTM: keras.layers.LSTMCell,
    keras.layers.GRU: keras.layers.GRUCell,
}
_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    keras.layers.LSTM: {"use_cudnn": False},
    keras.layers.GRU: {"use_cudnn": False},
}


def simple_rnn(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.SimpleRNN``."""
    cell = TwoBiasSimpleRnnCell if node.settings.bias == "double" else None
    return _layer(keras.layers.SimpleRNN, cell, node, precision, activation=node.settings.nonlinearity)


def lstm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.LSTM``."""
    cell = TwoBiasLstmCell if node.settings.bias == "double" else None
    gates = {"activation": "tanh", "recurrent_activation": "sigmoid", "unit_forget_bias": False}
    return _layer(keras.layers.LSTM, cell, node, precision, **gates)


def gru(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.GRU``."""
    settings = node.settings
    gates = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": settings.reset_after}
    if settings.bias == "double" or (settings.bias == "single" and settings.reset_after):
        gates["second"] = settings.bias == "double"
        return _layer(keras.layers.GRU, TwoBiasGruCell, node, precision, **gates)
    return _layer(keras.layers.GRU, None, node, precision, **gates)


def _call(layer: Any, inputs: list[Any]) -> Any:
    """The sequence and perhaps a mask, as arguments."""
    return layer(*inputs)


LAYERS: Mapping[str, Make] = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}
INVOKE: Mapping[str, Invoke] = dict.fromkeys(LAYERS, _call)
