"""Recurrent layers: a loop over time. Bounds are carried along as ``dualml.reference.layers.steps`` explains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from dualml.reference import ops
from dualml.reference.arithmetic import error_of
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.layers.steps import Weights, advance, largest, size, spectral, start
from dualml.reference.rounding import Float
from dualml.reference.trace import Traced

BOUNDED = 2.01
"""Two numbers of size 1 at most, each off by the roundings of any number of steps that fit into memory."""


class _Step:
    """What the steps have in common.

    Args:
        settings: The layer's.
        weights: Parameters by role.
    """

    limit: float = BOUNDED

    def __init__(self, settings: Any, weights: Weights) -> None:
        self.settings = settings
        self.weights = weights
        self.recurrent = weights["recurrent_kernel"]

    def __call__(self, x: Traced, states: Traced, weights: Weights) -> Traced:
        """See ``dualml.reference.layers.steps.Step``."""
        raise NotImplementedError

    def gains(self, x: Traced, states: Traced, weights: Weights) -> Float:
        """See ``dualml.reference.layers.steps.Step``."""
        raise NotImplementedError

    def all_gates(self, x: Traced, h: Traced, weights: Weights) -> Traced:
        """``x_t K + h_{t-1} R + b + b'``."""
        total = x @ weights["kernel"] + h @ weights["recurrent_kernel"]
        return _sum(_sum(total, weights.get("bias")), weights.get("recurrent_bias"))

    @cached_property
    def norm(self) -> float:
        """Of the state's kernel."""
        return spectral(self.recurrent)

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """Of each gate's part of the state's kernel."""
        return tuple(
            spectral(block) for block in _blocks(self.recurrent, self.recurrent.shape[1] // len(self.recurrent))
        )


def unrolled(call: Call, x: Traced, mask: Traced | None, states: int, step: _Step) -> Traced:
    """The layer's output from what one step does.

    Args:
        call: Settings ``return_sequences``, ``reverse`` and ``masked_output``.
        x: Shape ``(examples, time, features)``.
        mask: Shape ``(examples, time)``, 0 where a step is not read.
        states: Number of states of shape ``(examples, units)``; the first is the output.
        step: One step.
    """
    settings = call.node.settings
    moving = start(states, len(x), settings.units)
    outputs: dict[int, Traced] = {}
    times = range(x.shape[1])
    for time in reversed(times) if settings.reverse else times:
        read = None if mask is None else mask.value[:, time] != 0
        moving = advance(step, x[:, time], moving, step.weights, read)
        output = moving.states[0]
        if read is not None and settings.masked_output == "zeros":
            output = ops.where(np.broadcast_to(read[:, None], output.shape), output, 0.0)
        outputs[time] = output
    last = moving.states[0]
    return ops.stack([outputs[time] for time in times], axis=1) if settings.return_sequences else last


class _SimpleRnnStep(_Step):
    """``h_t = f(x_t K + h_{t-1} R + b + b')``."""

    def __init__(self, settings: Any, weights: Weights) -> None:
        super().__init__(settings, weights)
        self.limit = BOUNDED if settings.nonlinearity == "tanh" else np.inf

    def __call__(self, x: Traced, states: Traced, weights: Weights) -> Traced:
        function = {"tanh": ops.tanh, "relu": ops.relu}[self.settings.nonlinearity]
        return ops.expand_dims(function(self.all_gates(x, states[0], weights)), 0)

    def gains(self, x: Traced, states: Traced, weights: Weights) -> Float:
        total = self.all_gates(x, states[0], weights)
        if self.settings.nonlinearity == "tanh":
            slope = _tanh_slope(total)
        else:
            slope = (total.value + error_of(total.number) >= 0).astype(np.float64)
        return np.asarray(largest(slope) * self.norm)[None, None]


class _LstmStep(_Step):
    """``c_t = s(f) c_{t-1} + s(i) tanh(g)``, ``h_t = s(o) tanh(c_t)``."""

    @cached_property
    def norm_to_cell(self) -> float:
        """Of the state's kernel without the output gate's part."""
        return spectral(self.recurrent[:, : 3 * len(self.recurrent)])

    def __call__(self, x: Traced, states: Traced, weights: Weights) -> Traced:
        i, f, g, o = _blocks(self.all_gates(x, states[0], weights), 4)
        c = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
        return ops.stack([ops.sigmoid(o) * ops.tanh(c), c], axis=0)

    def gains(self, x: Traced, states: Traced, weights: Weights) -> Float:
        i, f, g, o = _blocks(self.all_gates(x, states[0], weights), 4)
        c = ops.sigmoid(f) * states[1] + ops.sigmoid(i) * ops.tanh(g)
        kept = size(ops.sigmoid(f))
        to_c = (
            size(ops.tanh(g)) * _sigmoid_slope(i),
            size(states[1]) * _sigmoid_slope(f),
            size(ops.sigmoid(i)) * _tanh_slope(g),
        )
        through = size(ops.sigmoid(o)) * _tanh_slope(c)
        to_h = (*(through * item for item in to_c), size(ops.tanh(c)) * _sigmoid_slope(o))
        of_h = np.stack([largest(*to_h) * self.norm, largest(through * kept)])
        of_c = np.stack([largest(*to_c) * self.norm_to_cell, largest(kept)])
        return np.stack([of_h, of_c])


class _GruStep(_Step):
    """``h_t = z h_{t-1} + (1 - z) n``."""

    def __call__(self, x: Traced, states: Traced, weights: Weights) -> Traced:
        h = states[0]
        z, _, n, _ = self.gates(x, h, weights)
        return ops.expand_dims(self.mixed(ops.sigmoid(z), ops.tanh(n), h), 0)

    def mixed(self, z: Traced, n: Traced, h: Traced) -> Traced:
        """The new state."""
        return z * h + (1.0 - z) * n

    def gates(self, x: Traced, h: Traced, weights: Weights) -> tuple[Traced, Traced, Traced, Traced]:
        """Before their functions: update, reset and candidate; and what the reset gate multiplies."""
        kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
        bias, second = weights.get("bias"), weights.get("recurrent_bias")
        if self.settings.bias == "stacked":
            assert bias is not None
            bias, second = bias[0], bias[1]
        if self.settings.reset_after:
            x_z, x_r, x_n = _blocks(_sum(x @ kernel, bias), 3)
            h_z, h_r, h_n = _blocks(_sum(h @ recurrent, second), 3)
            return x_z + h_z, x_r + h_r, x_n + ops.sigmoid(x_r + h_r) * h_n, h_n
        x_z, x_r, x_n = _blocks(_sum(_sum(x @ kernel, bias), second), 3)
        units = len(recurrent)
        h_z, h_r = _blocks(h @ recurrent[:, : 2 * units], 2)
        return x_z + h_z, x_r + h_r, x_n + (ops.sigmoid(x_r + h_r) * h) @ recurrent[:, 2 * units :], h

    def gains(self, x: Traced, states: Traced, weights: Weights) -> Float:
        h = states[0]
        z, r, n, reset = self.gates(x, h, weights)
        update = size(h - ops.tanh(n)) * _sigmoid_slope(z)
        candidate = size(1.0 - ops.sigmoid(z)) * _tanh_slope(n)
        opened, opening = size(ops.sigmoid(r)), size(reset) * _sigmoid_slope(r)
        kept = largest(size(ops.sigmoid(z)))
        if self.settings.reset_after:
            gain = kept + largest(update, candidate * opening, candidate * opened) * self.norm
        else:
            of_update, of_reset, of_candidate = self.norms
            reset_gain = largest(opened) + largest(opening) * of_reset
            gain = kept + largest(update) * of_update + largest(candidate) * of_candidate * reset_gain
        return np.asarray(gain)[None, None]


class _GruStepByDifference(_GruStep):
    """``h_t = n + z (h_{t-1} - n)``, as PyTorch has it (``aten/src/ATen/native/RNN.cpp``)."""

    def mixed(self, z: Traced, n: Traced, h: Traced) -> Traced:
        return n + z * (h - n)


def _sigmoid_slope(x: Traced) -> Float:
    y = ops.sigmoid(x)
    return np.fmin(size(y * (1.0 - y)), 0.25)


def _tanh_slope(x: Traced) -> Float:
    return np.fmin(size(1.0 - ops.square(ops.tanh(x))), 1.0)


def _sum(a: Traced, b: Traced | None) -> Traced:
    return a if b is None else a + b


def _blocks(array: Traced, count: int) -> tuple[Traced, ...]:
    width = array.shape[-1] // count
    return tuple(array[:, width * place : width * (place + 1)] for place in range(count))


def simple_rnn(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``h_t = f(x_t K + h_{t-1} R + b + b')``."""
    return unrolled(call, x, mask, 1, _SimpleRnnStep(call.node.settings, weights))


def lstm(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``c_t = s(f) c_{t-1} + s(i) tanh(g)``, ``h_t = s(o) tanh(c_t)``."""
    return unrolled(call, x, mask, 2, _LstmStep(call.node.settings, weights))


def gru(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``h_t = z h_{t-1} + (1 - z) n``."""
    return unrolled(call, x, mask, 1, _GruStep(call.node.settings, weights))


def gru_by_difference(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``h_t = n + z (h_{t-1} - n)``."""
    return unrolled(call, x, mask, 1, _GruStepByDifference(call.node.settings, weights))


OPERATIONS: Mapping[str, Operation] = {
    "simple_rnn": Formula(simple_rnn),
    "lstm": Formula(lstm),
    "gru": Formula(gru, variants=(gru_by_difference,)),
}
"""By ``Node.operation``."""
