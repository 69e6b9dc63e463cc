'''An operation from one formula: forward value, vector-Jacobian product and certified bounds on both.

A formula is a function of the call, the node's inputs and its parameters (by role, as keywords), written
with ``dualml.reference.ops``. Inputs carry the examples' axis in front. The same function runs on
float64 arrays for the values and on arrays with error bounds for the bounds; the gradient follows from it by
reverse-mode differentiation. Layer normalisation over the last axis, with both parameters optional::

    from dualml.reference import ops
    from dualml.reference.layers.base import Call, Operation
    from dualml.reference.layers.formula import Formula
    from dualml.reference.trace import Traced

    def layer_norm(call: Call, x: Traced, *, scale: Traced | None = None, offset: Traced | None = None) -> Traced:
        """``y = (x - mean) / sqrt(variance + epsilon) scale + offset``."""
        centred = x - ops.mean(x, -1, keepdims=True)
        variance = ops.mean(ops.square(centred), -1, keepdims=True)
        y = centred * ops.rsqrt(variance + call.node.settings.epsilon)
        y = y if scale is None else y * scale
        return y if offset is None else y + offset

    OPERATIONS: Mapping[str, Operation] = {"layer_norm": Formula(layer_norm)}

A recurrent layer is a Python loop over time; weights that are used at every step need nothing special::

    def lstm(call: Call, x: Traced, *, kernel: Traced, recurrent: Traced, bias: Traced) -> Traced:
        """Gates in the order input, forget, cell, output; returns every step, shape ``(examples, time, units)``."""
        units = recurrent.shape[0]
        h = c = ops.constant(np.zeros((len(x), units)))
        steps = []
        for t in range(x.shape[1]):
            gates = x[:, t] @ kernel + h @ recurrent + bias
            i, f, g, o = (gates[:, units * k : units * (k + 1)] for k in range(4))
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            steps.append(h)
        return ops.stack(steps, axis=1)

Convolution slides windows and contracts them with the kernel, both exact about the order of the axes::

    patches = ops.windows(ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), (1, 2), kernel.shape[:2], strides)
    y = ops.einsum("bhwcij,ijco->bhwo", patches, kernel) + bias

What to know:

* **Sums may be taken in any order**, however they are written: ``x @ kernel + h @ recurrent + bias`` is one sum, and so
  are the contributions of every time step to a gradient. Sums that a *product* or a function interrupts are not
  one sum. An implementation that is equal in exact arithmetic but takes other steps (batch norm as
  ``x * a + b``, a variance as ``mean(x^2) - mean(x)^2``, attention that divides by the sum of the powers last)
  needs its own function in ``variants``.
* **Inputs that are no numbers** (ids, masks): read ``x.value``, which is not differentiated; the input gets a
  gradient of 0: ``ops.take(table, ids.value.astype(np.int64))``.
* **Settings** are constants, ``call.node.settings.epsilon``: working precision may round them. Masks given to
  ``ops.where`` and ``ops.softmax(mask=...)`` are exact.
* **Ties and kinks**: ``ops.max``, ``ops.maximum`` and ``ops.relu`` say with ``ties=`` where the gradient goes; the
  bound admits any choice where rounding may decide. A comparison that a formula makes itself (``x.value > 0`` for
  ``ops.where``) is taken as exact, so compare inputs only. ``kinks`` says where the derivative jumps.
* **Buffers** arrive as keywords beside the parameters and get no gradient; what they become comes from a second
  function of the same arguments, which returns their new values by role.
'''

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dualml.reference.arithmetic import Number, error_of, value_of
from dualml.reference.layers.base import Call, InputsAndParameters, Operation
from dualml.reference.ops import stop_gradient
from dualml.reference.rounding import Float, Rounded, underflow_unit
from dualml.reference.trace import Traced, gradients, source

Function = Callable[..., Traced]
"""``function(call, *inputs, **parameters)``: the output."""

BufferFunction = Callable[..., Mapping[str, Traced]]
"""``function(call, *inputs, **parameters)``: the new value of each buffer, by role."""


class Formula(Operation):
    """An operation written once; see the module.

    Attributes:
        function: What the operation means; the reference value is its.
        variants: Equal in exact arithmetic, and also followed by correct implementations: the bounds admit them all.
        jumps: Where the derivative jumps, of the output's shape; nowhere if not given.
        buffers: New values of the buffers, for operations that have some.
    """

    def __init__(
        self,
        function: Function,
        *,
        variants: tuple[Function, ...] = (),
        kinks: Callable[[Call], NDArray[np.bool_]] | None = None,
        buffers: BufferFunction | None = None,
    ) -> None:
        self.function = function
        self.variants = variants
        self.jumps = kinks
        self.buffers = buffers

    @override
    def forward(self, call: Call) -> Float:
        return _owned(value_of(_Evaluation(call, self.function).output.number))

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        return _Evaluation(call, self.function).backward(gradient, value_of)

    @override
    def forward_bound(self, call: Call, unit: float) -> Float:
        return _largest([self._bound(_Evaluation(call, item, unit).output.number, unit) for item in self._all])

    @override
    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        def bound(number: Number) -> Float:
            return self._bound(number, unit)

        given = Rounded.given(gradient, unit)
        each = [_Evaluation(call, item, unit).backward(given, bound) for item in self._all]
        inputs = [_largest(list(bounds)) for bounds in zip(*(inputs for inputs, _ in each), strict=True)]
        return inputs, {name: _largest([parameters[name] for _, parameters in each]) for name in each[0][1]}

    @override
    def kinks(self, call: Call) -> NDArray[np.bool_]:
        return super().kinks(call) if self.jumps is None else self.jumps(call)

    @override
    def new_buffers(self, call: Call) -> dict[str, Float]:
        if self.buffers is None:
            return {}
        values = _Evaluation(call, self.buffers).output
        return {call.name(role): _owned(value.value) for role, value in values.items()}

    @override
    def new_buffers_bound(self, call: Call, unit: float) -> dict[str, Float]:
        if self.buffers is None:
            return {}
        values = _Evaluation(call, self.buffers, unit).output
        return {call.name(role): self._bound(value.number, unit) for role, value in values.items()}

    @property
    def _all(self) -> tuple[Function, ...]:
        return (self.function, *self.variants)

    @staticmethod
    def _bound(number: Number, unit: float) -> Float:
        """The error, at least an underflow; what overflowed on the way promises nothing."""
        error = np.where(np.isnan(error_of(number)), np.inf, error_of(number))
        return np.asarray(error + underflow_unit(unit))


class _Evaluation:
    """A formula evaluated once: on arrays, or with ``unit`` on arrays that carry bounds."""

    def __init__(self, call: Call, function: Callable[..., Any], unit: float | None = None) -> None:
        self.call = call
        self.inputs = [source(array, unit) for array in call.inputs]
        self.parameters = {item.role: source(call.weight(item.role), unit) for item in call.node.parameters}
        buffers = {item.role: stop_gradient(source(call.weight(item.role), unit)) for item in call.node.buffers}
        with np.errstate(over="ignore", invalid="ignore"):
            self.output = function(call, *self.inputs, **self.parameters, **buffers)

    def backward(self, gradient: Number, read: Callable[[Number], Float]) -> InputsAndParameters:
        """Gradients for inputs and parameters, or with ``read`` what is wanted of them; 0 for what has no influence."""
        sources = [*self.inputs, *self.parameters.values()]
        found = gradients(self.output, gradient, sources)
        arrays = [
            _owned(read(np.zeros(item.shape) if number is None else number))
            for item, number in zip(sources, found, strict=True)
        ]
        count = len(self.inputs)
        names = [self.call.name(role) for role in self.parameters]
        return arrays[:count], dict(zip(names, arrays[count:], strict=True))


def _owned(array: Float) -> Float:
    """An array of its own: moves may have given views."""
    return np.array(array, dtype=np.float64)


def _largest(bounds: list[Float]) -> Float:
    return np.asarray(np.max(np.stack(bounds), axis=0)) if len(bounds) > 1 else bounds[0]
