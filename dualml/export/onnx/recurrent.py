"""Recurrent layers.

ONNX' own operators know how many steps of a sequence are read, not which. So with a mask the steps that are read move
to the front, in their order, and the outputs back to where their inputs were.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from dualml.export.onnx.writer import Emit, Site, Value
from dualml.protocol import Array

_GATES: Mapping[str, tuple[int, ...]] = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "simple_rnn": (0,)}
"""The blocks of a neutral kernel in ONNX' order: for ``lstm`` input, output, forget, cell."""


def _ordered(array: Array, gates: tuple[int, ...]) -> Array:
    """The blocks of the last axis in another order."""
    blocks = np.split(array, len(gates), axis=-1)
    return np.concatenate([blocks[gate] for gate in gates], axis=-1)


def _kernel(site: Site, role: str) -> str:
    """``(inputs, gates units)`` as ``(1, gates units, inputs)``."""
    gates = _GATES[site.node.operation]
    return site.required(role, lambda kernel: _ordered(kernel, gates).T[None], "onnx")


def _biases(site: Site) -> str | None:
    """Both biases side by side, ``(1, 2 gates units)``; ``None`` if there is none."""
    first, second, gates = site.array("bias"), site.array("recurrent_bias"), _GATES[site.node.operation]
    if first is None:
        return None
    if first.ndim == 2:
        first, second = first
    elif second is None:
        second = np.zeros_like(first)
    joined = np.concatenate([_ordered(first, gates), _ordered(second, gates)])[None]
    return site.required("bias", lambda _: joined, "onnx")


class _Reading:
    """Which steps are read.

    Attributes:
        lengths: How many, for each example, int32.
        kept: Bool, ``(examples, time)``.
    """

    def __init__(self, site: Site, steps: int) -> None:
        self.site = site
        mask = site.input(1)
        self.kept = site.op("Not", site.op("Equal", mask, site.number(0.0)))
        self.counted = site.op("Cast", self.kept, to=TensorProto.INT64)
        self.lengths = site.op(
            "Cast",
            site.op("ReduceSum", self.counted, site.whole([1]), keepdims=0),
            to=TensorProto.INT32,
        )
        self.steps = steps

    def gathered(self, x: str, places: str, width: int) -> str:
        """Steps of ``(examples, time, width)`` at ``places`` ``(examples, time)``."""
        site = self.site
        wide = site.op("Expand", site.expanded(places, 2), site.whole([1, 1, width]))
        return site.op("GatherElements", x, wide, axis=1)

    def to_front(self, x: str, width: int) -> str:
        """The steps that are read first, in their order, then the others."""
        site, steps = self.site, self.steps
        # Every key once, so that the order does not depend on how ties are broken.
        keys = site.op("Sub", site.op("Mul", self.counted, site.whole(steps)), site.whole(np.arange(steps)))
        _, places = site.ops("TopK", [keys, site.whole([steps])], 2, axis=1)
        return self.gathered(x, places, width)

    def back(self, y: str, width: int, *, reverse: bool, zeros: bool) -> str:
        """Outputs where their inputs were; a step that is not read has the output of the one read before it, or 0."""
        site = self.site
        if reverse:  # the step read before is the next one in the sequence; behind the last one there are zeros
            places = site.op("CumSum", self.counted, site.whole(1), exclusive=1)
            places = site.op("Min", places, site.whole(self.steps - 1))
        else:
            y = site.op("Pad", y, site.whole([0, 1, 0, 0, 0, 0]), site.number(0.0))
            places = site.op("CumSum", self.counted, site.whole(1))
        y = self.gathered(y, places, width)
        return site.op("Where", site.expanded(self.kept, 2), y, site.number(0.0)) if zeros else y


def _recurrent(site: Site, operator: str, **attributes: object) -> Value:
    settings, (steps, features) = site.settings, site.node.input_shapes[0]
    x = site.input()
    reading = None if settings.mask is None else _Reading(site, steps)
    if reading is not None:
        x = reading.to_front(x, features)
    inputs = [site.op("Transpose", x, perm=[1, 0, 2]), _kernel(site, "kernel"), _kernel(site, "recurrent_kernel")]
    bias = _biases(site)
    if bias is not None or reading is not None:
        inputs.append(bias or "")
    if reading is not None:
        inputs.append(reading.lengths)
    direction = "reverse" if settings.reverse else "forward"
    outputs, last = site.ops(operator, inputs, 2, hidden_size=settings.units, direction=direction, **attributes)
    if not settings.return_sequences:
        return Value(site.op("Squeeze", last, site.whole([0])))
    y = site.op("Transpose", site.op("Squeeze", outputs, site.whole([1])), perm=[1, 0, 2])
    if reading is not None:
        zeros = settings.masked_output == "zeros"
        y = reading.back(y, settings.units, reverse=settings.reverse, zeros=zeros)
    return Value(y)


def _simple_rnn(site: Site) -> Value:
    return _recurrent(site, "RNN", activations=[{"tanh": "Tanh", "relu": "Relu"}[site.settings.nonlinearity]])


def _lstm(site: Site) -> Value:
    return _recurrent(site, "LSTM")


def _gru(site: Site) -> Value:
    return _recurrent(site, "GRU", linear_before_reset=int(bool(site.settings.reset_after)))


EMITTERS: Mapping[str, Emit] = {"simple_rnn": _simple_rnn, "lstm": _lstm, "gru": _gru}
"""By ``Node.operation``."""
