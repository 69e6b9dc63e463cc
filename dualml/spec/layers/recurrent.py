"""Recurrent layers: one step after the other along the first axis of ``(time, features)``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Layer, LayerName, ParameterShape, PositiveInt, Shape


class Recurrent(Layer):
    """What recurrent layers have in common.

    The input is ``(time, features)``; the output is ``(time, units)`` with ``return_sequences``, else ``(units,)``:
    the state after the last step that is read. States begin at 0. Kernels hold the gates side by side in Keras' order.

    A step where the mask is 0 changes no state; any other number counts as 1. No gradient reaches the mask.
    """

    references = ("mask",)
    gates: ClassVar[int]
    """Number of blocks of ``units`` columns in a kernel."""

    units: PositiveInt = Field(kw_only=False)
    """Size of the state and of the output's last axis."""
    return_sequences: bool = False
    """Whether every step's output is wanted; else the last one, as in Keras. ``torch.nn.LSTM`` returns both."""
    reverse: bool = False
    """Whether it reads from the last step to the first. Outputs stay where their inputs are: position ``t`` has read
    ``t`` and all after it, as in both frameworks' bidirectional layers (Keras' ``go_backwards`` alone turns them)."""
    mask: LayerName | None = None
    """A layer of shape ``(time,)`` with 1 where a step is to be read and 0 where not, for example a padding_mask."""
    masked_output: Literal["zeros", "previous"] | None = None
    """With ``return_sequences``, the output at a step that is not read: zeros, as ``torch.nn.utils.rnn``'s packed
    sequences have it, or the output of the step read before (zeros before the first), as in Keras."""
    kernel_initializer: Initializer | None = None
    """How the input's kernel ``(features, gates units)`` is drawn."""
    recurrent_initializer: Initializer | None = None
    """How the state's kernel ``(units, gates units)`` is drawn."""
    bias_initializer: Initializer | None = None
    """How the bias is drawn."""
    recurrent_bias_initializer: Initializer | None = None
    """How the second bias is drawn, if there is one."""

    @property
    def bias_form(self) -> str:
        """Which biases there are."""
        raise NotImplementedError

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs[0]) != 2:
            raise ValueError(
                f"its input must have shape (time, features), got {list(inputs[0])}; "
                "for one value at each step, reshape it to [time, 1]"
            )
        if len(inputs) > 1 and inputs[1] != inputs[0][:1]:
            raise ValueError(
                f"the mask {self.mask!r} must have shape {list(inputs[0][:1])}, one number for each step, "
                f"got {list(inputs[1])}"
            )
        return (inputs[0][0], self.units) if self.return_sequences else (self.units,)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        features, units, columns = inputs[0][-1], self.units, self.gates * self.units
        kernels = (
            ParameterShape("kernel", (features, columns), self.kernel_initializer, features, columns),
            ParameterShape("recurrent_kernel", (units, columns), self.recurrent_initializer, units, columns),
        )
        shape = (2, columns) if self.bias_form == "stacked" else (columns,)
        bias = ParameterShape("bias", shape, self.bias_initializer, units, columns)
        second = ParameterShape("recurrent_bias", shape, self.recurrent_bias_initializer, units, columns)
        biases = {"none": (), "single": (bias,), "stacked": (bias,), "double": (bias, second)}
        return *kernels, *biases[self.bias_form]


class SimpleRnn(Recurrent):
    """``h_t = f(x_t K + b + h_{t-1} R + b')`` (Elman, Cognitive Science 14, 1990).

    ``torch.nn.RNN``, which trains both biases, and ``keras.layers.SimpleRNN``, which has ``b`` alone.
    """

    kind = "simple_rnn"
    gates = 1

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Function ``f``."""
    bias: Literal["none", "single", "double"] | None = None
    """``b`` alone, or ``b`` and ``b'``: both get the same gradient, so that their sum learns twice as fast."""

    @property
    def bias_form(self) -> str:
        return self.bias or "double"


class Lstm(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9, 1997; forget gate: Gers et al., 2000).

    With ``[i, f, g, o] = x_t K + b + h_{t-1} R + b'``, ``s`` the sigmoid::

        c_t = s(f) c_{t-1} + s(i) tanh(g)
        h_t = s(o) tanh(c_t)

    ``torch.nn.LSTM``, which trains both biases, and ``keras.layers.LSTM``, which has ``b`` alone; the gates' order is
    the same.
    """

    kind = "lstm"
    gates = 4

    bias: Literal["none", "single", "double"] | None = None
    """``b`` alone, or ``b`` and ``b'``: both get the same gradient, so that their sum learns twice as fast."""

    @property
    def bias_form(self) -> str:
        return self.bias or "double"


class Gru(Recurrent):
    """Gated recurrent unit (Cho et al., arXiv:1406.1078): gates ``z`` (update) and ``r`` (reset), candidate ``n``.

    With ``x_t K + b = [x_z, x_r, x_n]`` and ``h_{t-1} R + b' = [h_z, h_r, h_n]``, ``s`` the sigmoid::

        z = s(x_z + h_z),  r = s(x_r + h_r)
        n = tanh(x_n + r h_n)                          reset_after: true
        n = tanh(x_n + (r h_{t-1}) R_n + b'_n)         reset_after: false
        h_t = z h_{t-1} + (1 - z) n

    ``keras.layers.GRU``; ``torch.nn.GRU`` is the first form with its gates in the order r, z, n, and has no other.
    """

    kind = "gru"
    gates = 3

    reset_after: bool | None = None
    """Whether the reset gate acts after the product with ``R`` (both frameworks' default) or before it (the paper)."""
    bias: Literal["none", "single", "double", "stacked"] | None = None
    """``b`` alone; ``b`` and ``b'`` as two parameters, as in PyTorch; or stacked in one of shape ``(2, 3 units)``, as
    in Keras, which matters where an optimizer or clipping looks at a parameter as a whole. With
    ``reset_after: false`` it is ``single`` if left out, as in Keras."""

    @model_validator(mode="after")
    def _biases_of_the_paper(self) -> Gru:
        if self.reset_after is False and self.bias is None:
            object.__setattr__(self, "bias", "single")  # before the conventions say what goes with reset_after: true
        if self.reset_after is False and self.bias == "stacked":
            raise ValueError(
                "bias: stacked is for reset_after: true; with reset_after: false use single (as Keras), double or none"
            )
        return self

    @property
    def bias_form(self) -> str:
        return self.bias or "double"
