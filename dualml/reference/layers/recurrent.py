"""Recurrent layers: a loop over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced

Step = Callable[..., tuple[Traced, ...]]
"""``step(x_t, *states)``: the new states, of which the first is the output."""


def unrolled(call: Call, x: Traced, mask: Traced | None, states: int, step: Step) -> Traced:
    """The layer's output from what one step does.

    Args:
        call: Settings ``return_sequences``, ``reverse`` and ``masked_output``.
        x: Shape ``(examples, time, features)``.
        mask: Shape ``(examples, time)``, above 0.5 where a step is read.
        states: Number of states of shape ``(examples, units)``.
        step: One step.
    """
    settings = call.node.settings
    now: tuple[Traced, ...] = tuple(ops.constant(np.zeros((len(x), settings.units))) for _ in range(states))
    outputs: dict[int, Traced] = {}
    times = range(x.shape[1])
    for time in reversed(times) if settings.reverse else times:
        after = step(x[:, time], *now)
        output = after[0]
        if mask is not None:
            read = np.broadcast_to(mask.value[:, time, None] > 0.5, output.shape)
            after = tuple(ops.where(read, new, old) for new, old in zip(after, now, strict=True))
            output = ops.where(read, output, 0.0) if settings.masked_output == "zeros" else after[0]
        now, outputs[time] = after, output
    return ops.stack([outputs[time] for time in times], axis=1) if settings.return_sequences else now[0]


def simple_rnn(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``h_t = f(x_t K + h_{t-1} R + b + b')``."""
    function = {"tanh": ops.tanh, "relu": ops.relu}[call.node.settings.nonlinearity]

    def step(x_t: Traced, h: Traced) -> tuple[Traced, ...]:
        return (function(_plus_biases(x_t @ weights["kernel"] + h @ weights["recurrent_kernel"], weights)),)

    return unrolled(call, x, mask, 1, step)


def lstm(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
    """``c_t = s(f) c_{t-1} + s(i) tanh(g)``, ``h_t = s(o) tanh(c_t)``."""

    def step(x_t: Traced, h: Traced, c: Traced) -> tuple[Traced, ...]:
        gates = _plus_biases(x_t @ weights["kernel"] + h @ weights["recurrent_kernel"], weights)
        i, f, g, o = _blocks(gates, 4)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c

    return unrolled(call, x, mask, 2, step)


def _gru(mixed: Callable[[Traced, Traced, Traced], Traced]) -> Callable[..., Traced]:
    """The layer with one way to write how update gate, candidate and state are mixed."""

    def gru(call: Call, x: Traced, mask: Traced | None = None, **weights: Traced) -> Traced:
        kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
        bias, second = weights.get("bias"), weights.get("recurrent_bias")
        if call.node.settings.bias == "stacked":
            assert bias is not None
            bias, second = bias[0], bias[1]

        def after(x_t: Traced, h: Traced) -> tuple[Traced, ...]:
            of_input, of_state = _sum(x_t @ kernel, bias), _sum(h @ recurrent, second)
            (x_z, x_r, x_n), (h_z, h_r, h_n) = _blocks(of_input, 3), _blocks(of_state, 3)
            return (mixed(ops.sigmoid(x_z + h_z), ops.tanh(x_n + ops.sigmoid(x_r + h_r) * h_n), h),)

        def before(x_t: Traced, h: Traced) -> tuple[Traced, ...]:
            gate_kernel, candidate_kernel = recurrent[:, : 2 * len(recurrent)], recurrent[:, 2 * len(recurrent) :]
            x_z, x_r, x_n = _blocks(_sum(_sum(x_t @ kernel, bias), second), 3)
            h_z, h_r = _blocks(h @ gate_kernel, 2)
            reset = ops.sigmoid(x_r + h_r) * h
            return (mixed(ops.sigmoid(x_z + h_z), ops.tanh(x_n + reset @ candidate_kernel), h),)

        return unrolled(call, x, mask, 1, after if call.node.settings.reset_after else before)

    return gru


gru = _gru(lambda z, n, h: z * h + (1.0 - z) * n)
gru_by_difference = _gru(lambda z, n, h: n + z * (h - n))
"""As PyTorch writes it (``aten/src/ATen/native/RNN.cpp``)."""


def _sum(a: Traced, b: Traced | None) -> Traced:
    return a if b is None else a + b


def _plus_biases(gates: Traced, weights: Mapping[str, Any]) -> Traced:
    return _sum(_sum(gates, weights.get("bias")), weights.get("recurrent_bias"))


def _blocks(array: Traced, count: int) -> tuple[Traced, ...]:
    size = array.shape[-1] // count
    return tuple(array[:, size * place : size * (place + 1)] for place in range(count))


OPERATIONS: Mapping[str, Operation] = {
    "simple_rnn": Formula(simple_rnn),
    "lstm": Formula(lstm),
    "gru": Formula(gru, variants=(gru_by_difference,)),
}
"""By ``Node.operation``."""
