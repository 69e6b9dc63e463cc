"""What formulas are written with: functions of ``Traced`` values, each with its vector-Jacobian product.

Operands may be ``Traced``, arrays or numbers; arrays and numbers are constants of the formula, which working
precision may round. Axes count all axes, the examples' one included. Everything broadcasts as in NumPy.

- Arithmetic: ``+ - * / ** @``, ``einsum``, ``matmul``, ``sum``, ``mean``, ``square``, ``sqrt``, ``rsqrt``,
  ``absolute``.
- Functions: ``exp``, ``expm1``, ``log``, ``log1p``, ``tanh``, ``sigmoid``, ``softplus``, ``erf``, ``sin``, ``cos``.
- Normalised exponentials: ``softmax``, ``log_softmax``, ``logsumexp``.
- Choices: ``maximum``, ``minimum``, ``clip``, ``relu``, ``max``, ``min``, ``where``.
- Moves, which are exact: indexing, ``take``, ``reshape``, ``transpose``, ``moveaxis``, ``swapaxes``, ``expand_dims``,
  ``squeeze``, ``broadcast_to``, ``flip``, ``pad``, ``concatenate``, ``stack``, ``windows``.
- ``fold``, the transpose of ``windows``, adds where windows overlap. ``stop_gradient`` passes the value alone.
  ``constant`` makes an array one of these values.
"""

from __future__ import annotations

from dualml.reference.ops.choices import (
    clip,
    constant,
    log_softmax,
    logsumexp,
    max,  # noqa: A004 (as in NumPy)
    maximum,
    min,  # noqa: A004
    minimum,
    relu,
    softmax,
    stop_gradient,
    where,
)
from dualml.reference.ops.moves import (
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    fold,
    index,
    moveaxis,
    pad,
    reshape,
    squeeze,
    stack,
    swapaxes,
    take,
    transpose,
    windows,
)
from dualml.reference.ops.smooth import (
    absolute,
    add,
    cos,
    divide,
    einsum,
    erf,
    exp,
    expm1,
    log,
    log1p,
    matmul,
    mean,
    multiply,
    negative,
    power,
    rsqrt,
    sigmoid,
    sin,
    softplus,
    sqrt,
    square,
    subtract,
    sum,  # noqa: A004
    tanh,
)

__all__ = [
    "absolute",
    "add",
    "broadcast_to",
    "clip",
    "concatenate",
    "constant",
    "cos",
    "divide",
    "einsum",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flip",
    "fold",
    "index",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "pad",
    "power",
    "relu",
    "reshape",
    "rsqrt",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "tanh",
    "transpose",
    "where",
    "windows",
]
