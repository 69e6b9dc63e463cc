"""Recurrent layers: the stock modules, which run the loop in one call, with the spec's choice of outputs.

A stock module returns every step and the final state; an ``nn.Sequential`` needs one tensor. So each class here is the
stock one, whose parameters and arithmetic it keeps, with another ``forward``. Masks need a loop of steps: packed
sequences can leave out a tail only, and want it known on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dualml.spec.graph import Node
from dualml_torch.layers.base import Make, Placement, Role, Roles, same, transposed, uninitialised


class OneOutput(nn.RNNBase):
    """A recurrent module that returns the sequence or the last state, and may be told which steps to read.

    Attributes:
        return_sequences: Whether every step's output is wanted.
        reverse: Whether it reads from the last step to the first; outputs stay where their inputs are.
        masked_output: ``zeros`` or ``previous``: the output at a step that is not read.
        states: Number of states, the output first.
        looped: Whether the stock module cannot run it.
    """

    states = 1
    looped = False
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(
        self,
        *sizes: int,
        return_sequences: bool,
        reverse: bool,
        masked_output: str,
        device: Any = None,
        dtype: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(*sizes, batch_first=True, device=device, dtype=dtype, **settings)  # type: ignore[arg-type, misc]
        self.return_sequences = return_sequences
        self.reverse = reverse
        self.masked_output = masked_output

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: A002
        """Steps ``(examples, time, units)`` or the last state ``(examples, units)``.

        Args:
            input: Shape ``(examples, time, features)``.
            mask: Shape ``(examples, time)``; a step is not read where it is 0.
        """
        if mask is not None or self.looped:
            return self.loop(input, None if mask is None else mask != 0)
        steps = self.every_step(input.flip(1) if self.reverse else input)
        if not self.return_sequences:
            return steps[:, -1]
        return steps.flip(1) if self.reverse else steps

    def every_step(self, input: Tensor) -> Tensor:  # noqa: A002
        """Every step's output, from the first to the last, none left out."""
        return cast("Tensor", super().forward(input)[0])

    def loop(self, input: Tensor, read: Tensor | None) -> Tensor:  # noqa: A002
        """One step after the other; ``read`` says which ones change the state."""
        bias, _ = self.biases()
        gates = functional.linear(input, self.weight_ih_l0, bias)
        states = (input.new_zeros(input.shape[0], self.hidden_size),) * self.states
        outputs: list[Tensor] = []
        times = range(input.shape[1])
        for time in reversed(times) if self.reverse else times:
            after = self.step(gates[:, time], *states)
            output = after[0]
            if read is not None:
                kept = read[:, time, None]
                after = tuple(torch.where(kept, new, old) for new, old in zip(after, states, strict=True))
                output = torch.where(kept, output, 0.0) if self.masked_output == "zeros" else after[0]
            states = after
            outputs.append(output)
        if not self.return_sequences:
            return states[0]
        return torch.stack(outputs[::-1] if self.reverse else outputs, dim=1)

    def step(self, gates: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The states after one step, the output first; ``gates`` is the input's part, bias included."""
        raise NotImplementedError

    def biases(self) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the input's and to the state's part."""
        return (self.bias_ih_l0, self.bias_hh_l0) if self.bias else (None, None)

    def of_state(self, h: Tensor) -> Tensor:
        """The state's part of the gates."""
        return functional.linear(h, self.weight_hh_l0, self.biases()[1])


class SimpleRnn(OneOutput, nn.RNN):  # type: ignore[misc] # another forward
    """``torch.nn.RNN`` with one output."""

    def step(self, gates: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        total = gates + self.of_state(states[0])
        return (torch.relu(total) if self.nonlinearity == "relu" else torch.tanh(total),)


class Lstm(OneOutput, nn.LSTM):  # type: ignore[misc]
    """``torch.nn.LSTM`` with one output."""

    states = 2

    def step(self, gates: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (gates + self.of_state(states[0])).chunk(4, dim=1)
        c = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Gru(OneOutput, nn.GRU):  # type: ignore[misc]
    """``torch.nn.GRU`` with one output."""

    def step(self, gates: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x_r, x_z, x_n = gates.chunk(3, dim=1)
        h_r, h_z, h_n = self.of_state(states[0]).chunk(3, dim=1)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        return (n + torch.sigmoid(x_z + h_z) * (states[0] - n),)


class StackedGru(Gru):
    """``torch.nn.GRU`` with both biases in one parameter, as in Keras.

    Why not stock: an optimizer or clipping that looks at a parameter as a whole sees one, the stock module has two.

    Attributes:
        bias_ih_l0: Shape ``(2, 3 units)``: what is added to the input's part, and to the state's.
    """

    def __init__(self, *sizes: int, device: Any = None, dtype: Any = None, **settings: Any) -> None:
        super().__init__(*sizes, device=device, dtype=dtype, bias=False, **settings)
        self.bias_ih_l0 = nn.Parameter(torch.empty(2, 3 * self.hidden_size, device=device, dtype=dtype))

    def biases(self) -> tuple[Tensor | None, Tensor | None]:
        return self.bias_ih_l0[0], self.bias_ih_l0[1]

    def every_step(self, input: Tensor) -> Tensor:  # noqa: A002
        start = input.new_zeros(1, input.shape[0], self.hidden_size)
        weights = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0[0], self.bias_ih_l0[1]]
        return torch.gru(input, start, weights, True, 1, 0.0, self.training, False, True)[0]


class ResetBeforeGru(Gru):
    """A GRU whose reset gate acts before the product with the state's kernel, which ``torch.nn.GRU`` cannot."""

    looped = True

    def step(self, gates: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,), units = states, self.hidden_size
        bias = self.biases()[1]
        of_gates = functional.linear(h, self.weight_hh_l0[: 2 * units], None if bias is None else bias[: 2 * units])
        x_r, x_z, x_n = gates.chunk(3, dim=1)
        h_r, h_z = of_gates.chunk(2, dim=1)
        reset = torch.sigmoid(x_r + h_r) * h
        last = None if bias is None else bias[2 * units :]
        n = torch.tanh(x_n + functional.linear(reset, self.weight_hh_l0[2 * units :], last))
        return (n + torch.sigmoid(x_z + h_z) * (h - n),)


def _module(kind: type[nn.RNNBase], node: Node, placement: Placement, **more: Any) -> nn.Module:
    """A module in the form the settings ask for; a bias that the spec does not have stays at zero, untrained."""
    settings = node.settings
    if settings.bias != "stacked":
        more["bias"] = settings.bias != "none"
    module = uninitialised(
        kind,
        placement,
        node.input_shapes[0][-1],
        settings.units,
        return_sequences=settings.return_sequences,
        reverse=settings.reverse,
        masked_output=settings.masked_output,
        **more,
    )
    if settings.bias == "single":
        fixed = cast("nn.Parameter", module.bias_hh_l0)
        nn.init.zeros_(fixed)
        fixed.requires_grad = False
    return module


def simple_rnn(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.RNN``."""
    return _module(SimpleRnn, node, placement, nonlinearity=node.settings.nonlinearity)


def lstm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.LSTM``."""
    return _module(Lstm, node, placement)


def gru(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.GRU``, or what it cannot express."""
    kind = Gru if node.settings.reset_after else ResetBeforeGru
    return _module(StackedGru if node.settings.bias == "stacked" else kind, node, placement)


def _swapped(array: NDArray[Any]) -> NDArray[Any]:
    """The first two of three gates exchanged: Keras' z, r, n and PyTorch's r, z, n."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def _gru_role(attribute: str, *, kernel: bool) -> Role:
    """A weight of a GRU: gates in PyTorch's order, and kernels transposed."""

    def to_native(array: NDArray[Any], node: Node) -> NDArray[Any]:  # noqa: ARG001
        return _swapped(array).T if kernel else _swapped(array)

    def to_neutral(array: NDArray[Any], node: Node) -> NDArray[Any]:  # noqa: ARG001
        return _swapped(array.T if kernel else array)

    return Role(attribute, to_native, to_neutral)


LAYERS: Mapping[str, Make] = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}
ROLES: Roles = {
    ("gru", "kernel"): _gru_role("weight_ih_l0", kernel=True),
    ("gru", "recurrent_kernel"): _gru_role("weight_hh_l0", kernel=True),
    ("gru", "bias"): _gru_role("bias_ih_l0", kernel=False),
    ("gru", "recurrent_bias"): _gru_role("bias_hh_l0", kernel=False),
    **{
        (operation, role): given
        for operation in ("simple_rnn", "lstm")
        for role, given in {
            "kernel": transposed("weight_ih_l0", (1, 0)),
            "recurrent_kernel": transposed("weight_hh_l0", (1, 0)),
            "bias": same("bias_ih_l0"),
            "recurrent_bias": same("bias_hh_l0"),
        }.items()
    },
}
