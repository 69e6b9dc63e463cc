"""Formulas to judge, and the same in PyTorch, called directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dualml.reference import ops
from dualml.reference.layers.base import Call
from dualml.spec.graph import Buffer, Node


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape)


def positive(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.uniform(0.1, 4.0, shape)


@dataclass(frozen=True)
class Case:
    """One formula.

    Attributes:
        formula: On traced values.
        theirs: On PyTorch tensors.
        shapes: Of its inputs.
        draw: Its inputs' values.
        scales: Whether they may be much larger or smaller.
        exact: Whether an error of a thousandth may be within its bounds, as for what is known only as a difference.
    """

    formula: Callable[..., Any]
    theirs: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] = normal
    scales: bool = True
    exact: bool = False


def call_of(arrays: list[np.ndarray], buffers: dict[str, np.ndarray] | None = None) -> Call:
    """A call of a node without settings or parameters."""
    arrays = [np.asarray(array, dtype=np.float64) for array in arrays]
    held = tuple(Buffer(f"node.{role}", role, array.shape, 0.0) for role, array in (buffers or {}).items())
    names = tuple(f"input_{place}" for place in range(len(arrays)))
    shape = arrays[0].shape[1:]
    shapes = tuple(array.shape[1:] for array in arrays)
    node = Node("node", "formula", None, names, shapes, shape, (), held, "node", None, "layers[0]")
    weights = {f"node.{role}": array for role, array in (buffers or {}).items()}
    return Call(node, weights, tuple(arrays), True, None)


TWO = ((3, 4), (3, 4))
ROW = ((3, 4), (4,))
COLUMN = ((3, 1), (2, 1, 4))
MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, True, True]])
SOME = torch.from_numpy(MASK)
INDICES = np.array([[2, 0, 2], [1, 2, 2]])

CASES = {
    "add": Case(lambda a, b: a + b, lambda a, b: a + b, TWO),
    "add, broadcast": Case(lambda a, b: a + b, lambda a, b: a + b, ROW),
    "add a constant": Case(lambda a: 0.3 + a, lambda a: 0.3 + a),
    "add, same": Case(lambda a: a + a + a, lambda a: a + a + a),
    "subtract": Case(lambda a, b: a - b, lambda a, b: a - b, COLUMN),
    "subtract from a constant": Case(lambda a: 0.7 - a, lambda a: 0.7 - a),
    "negative": Case(lambda a: -a, lambda a: -a),
    "multiply": Case(lambda a, b: a * b, lambda a, b: a * b, TWO),
    "multiply, broadcast": Case(lambda a, b: a * b, lambda a, b: a * b, COLUMN),
    "multiply by itself": Case(lambda a: a * a, lambda a: a * a),
    "multiply by an array": Case(
        lambda a: np.arange(4.0) / 3 * a, lambda a: (torch.arange(4.0, dtype=a.dtype) / 3) * a
    ),
    "divide": Case(lambda a, b: a / b, lambda a, b: a / b, ROW, positive, scales=False),
    "divide a constant": Case(lambda a: 1.0 / a, lambda a: 1.0 / a, draw=positive, scales=False),
    "power": Case(lambda a: a**2.5, lambda a: a**2.5, draw=positive, scales=False),
    "cube": Case(lambda a: a**3, lambda a: a**3),
    "square": Case(lambda a: a**2, lambda a: a**2),
    "sqrt": Case(ops.sqrt, torch.sqrt, draw=positive, scales=False),
    "rsqrt": Case(ops.rsqrt, torch.rsqrt, draw=positive, scales=False),
    "absolute": Case(ops.absolute, torch.abs),
    "exp": Case(ops.exp, torch.exp, scales=False),
    "expm1": Case(ops.expm1, torch.expm1, scales=False),
    "log": Case(ops.log, torch.log, draw=positive, scales=False),
    "log1p": Case(ops.log1p, torch.log1p, draw=positive, scales=False),
    "tanh": Case(ops.tanh, torch.tanh),
    "sigmoid": Case(ops.sigmoid, torch.sigmoid),
    "softplus": Case(ops.softplus, lambda a: functional.softplus(a, threshold=80.0)),
    "erf": Case(ops.erf, torch.erf, scales=False),
    "sin": Case(ops.sin, torch.sin),
    "cos": Case(ops.cos, torch.cos),
    "matmul": Case(lambda a, b: a @ b, lambda a, b: a @ b, ((3, 4), (4, 5))),
    "matmul by an array": Case(
        lambda a: np.full((2, 3), 0.3) @ a, lambda a: torch.full((2, 3), 0.3, dtype=a.dtype) @ a
    ),
    "matmul, stacked": Case(lambda a, b: a @ b, lambda a, b: a @ b, ((2, 3, 4), (2, 4, 5))),
    "matmul, one stacked": Case(lambda a, b: a @ b, lambda a, b: a @ b, ((2, 3, 4), (4, 5))),
    "einsum": Case(
        lambda a, b: ops.einsum("bqhd,bkhd->bhqk", a, b),
        lambda a, b: torch.einsum("bqhd,bkhd->bhqk", a, b),
        ((2, 3, 2, 4), (2, 5, 2, 4)),
    ),
    "einsum, letters of one array": Case(
        lambda a, b: ops.einsum("abc,cd->ad", a, b),
        lambda a, b: torch.einsum("abc,cd->ad", a, b),
        ((2, 3, 4), (4, 5)),
    ),
    "einsum, outer": Case(
        lambda a, b: ops.einsum("a,bc->cab", a, b), lambda a, b: torch.einsum("a,bc->cab", a, b), ((3,), (2, 4))
    ),
    "sum": Case(lambda a: ops.sum(a), lambda a: a.sum()),
    "sum over axes": Case(
        lambda a: ops.sum(a, (0, -1), keepdims=True), lambda a: a.sum((0, -1), keepdim=True), ((3, 4, 5),)
    ),
    "mean": Case(lambda a: ops.mean(a, 1), lambda a: a.mean(1), ((3, 7, 2),)),
    "softmax": Case(ops.softmax, lambda a: torch.softmax(a, -1)),
    "softmax over two axes": Case(
        lambda a: ops.softmax(a, (1, 2)), lambda a: torch.softmax(a.flatten(1), -1).reshape(a.shape), ((2, 3, 4),)
    ),
    "softmax, masked": Case(
        lambda a: ops.softmax(a, mask=MASK), lambda a: torch.softmax(a.masked_fill(~SOME, -torch.inf), -1)
    ),
    "log_softmax": Case(ops.log_softmax, lambda a: torch.log_softmax(a, -1)),
    "logsumexp": Case(lambda a: ops.logsumexp(a, 0), lambda a: torch.logsumexp(a, 0)),
    "maximum": Case(ops.maximum, torch.maximum, TWO),
    "minimum": Case(ops.minimum, torch.minimum, ROW),
    "clip": Case(lambda a: ops.clip(a, -0.5, 0.75), lambda a: torch.clamp(a, -0.5, 0.75)),
    "relu": Case(ops.relu, torch.relu),
    "max": Case(lambda a: ops.max(a, (0, 2)), lambda a: torch.amax(a, (0, 2)), ((3, 4, 5),)),
    "min": Case(lambda a: ops.min(a, -1, keepdims=True), lambda a: torch.amin(a, -1, keepdim=True)),
    "where": Case(lambda a, b: ops.where(MASK, a, b), lambda a, b: torch.where(SOME, a, b), ROW),
    "where, one constant": Case(lambda a: ops.where(MASK, a, 0.0), lambda a: a.masked_fill(~SOME, 0.0)),
    "reshape": Case(lambda a: ops.reshape(a, (2, -1)), lambda a: a.reshape(2, -1)),
    "transpose": Case(lambda a: ops.transpose(a, (2, 0, 1)), lambda a: a.permute(2, 0, 1), ((2, 3, 4),)),
    "moveaxis": Case(lambda a: ops.moveaxis(a, 0, -1), lambda a: a.movedim(0, -1), ((2, 3, 4),)),
    "swapaxes": Case(lambda a: ops.swapaxes(a, 1, 2), lambda a: a.swapaxes(1, 2), ((2, 3, 4),)),
    "expand_dims": Case(lambda a: ops.expand_dims(a, 1), lambda a: a[:, None]),
    "squeeze": Case(lambda a: ops.squeeze(a, 1), lambda a: a.squeeze(1), ((3, 1, 4),)),
    "flip": Case(lambda a: ops.flip(a, 1), lambda a: a.flip(1)),
    "broadcast_to": Case(lambda a: ops.broadcast_to(a, (2, 3, 5, 4)), lambda a: a.expand(2, 3, 5, 4), ((3, 1, 4),)),
    "slice": Case(lambda a: a[::-2, 1:3], lambda a: a.flip(0)[::2, 1:3]),
    "index": Case(lambda a: a[..., 2], lambda a: a[..., 2]),
    "index by arrays": Case(lambda a: a[np.array([0, 2, 2]), np.array([1, 3, 3])], lambda a: a[[0, 2, 2], [1, 3, 3]]),
    "take": Case(lambda a: ops.take(a, INDICES), lambda a: a[torch.from_numpy(INDICES)]),
    "take along the last axis": Case(lambda a: ops.take(a, INDICES, -1), lambda a: a[:, torch.from_numpy(INDICES)]),
    "pad": Case(lambda a: ops.pad(a, [(1, 0), (2, 3)], 0.5), lambda a: functional.pad(a, (2, 3, 1, 0), value=0.5)),
    "concatenate": Case(
        lambda a, b: ops.concatenate([a, b, a], -1), lambda a, b: torch.cat([a, b, a], -1), ((3, 4), (3, 2))
    ),
    "stack": Case(lambda a, b: ops.stack([a, b], 1), lambda a, b: torch.stack([a, b], 1), TWO),
    "windows": Case(lambda a: ops.windows(a, (1,), (3,), (2,)), lambda a: a.unfold(1, 3, 2), ((2, 9, 2),)),
    "fold": Case(
        lambda a: ops.fold(a, (2, 9, 7), (1, 2), (2, 1)),
        lambda a: functional.fold(a.flatten(1, 2).movedim(1, -1).flatten(1, 2), (9, 7), (3, 2), stride=(2, 1))[:, 0],
        ((2, 4, 6, 3, 2),),
    ),
}
"""Every function by itself."""


def convolution(x: Any, kernel: Any, bias: Any) -> Any:
    padded = ops.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)])
    patches = ops.windows(padded, (1, 2), kernel.shape[:2], (2, 1), (1, 2))
    return ops.einsum("bhwcij,ijco->bhwo", patches, kernel) + bias


def torch_convolution(x: Any, kernel: Any, bias: Any) -> Any:
    padded = functional.pad(x.permute(0, 3, 1, 2), (0, 1, 1, 2))
    y = functional.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, stride=(2, 1), dilation=(1, 2))
    return y.permute(0, 2, 3, 1)


def max_pooling(x: Any) -> Any:
    padded = ops.pad(x, [(0, 0), (1, 1), (0, 0)], -np.inf)
    return ops.max(ops.windows(padded, (1,), (3,), (2,)), -1, ties="first")


def layer_norm(x: Any, scale: Any, offset: Any) -> Any:
    centred = x - ops.mean(x, -1, keepdims=True)
    variance = ops.mean(ops.square(centred), -1, keepdims=True)
    return centred * ops.rsqrt(variance + 1e-5) * scale + offset


def attention(queries: Any, keys: Any, values: Any) -> Any:
    scores = ops.einsum("bqd,bkd->bqk", queries, keys) * queries.shape[-1] ** -0.5
    causal = np.tril(np.ones(scores.shape[1:], dtype=np.bool_))
    return ops.softmax(scores, mask=causal) @ values


def lstm(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    units = recurrent.shape[0]
    h = c = ops.constant(np.zeros((len(x), units)))
    steps = []
    for t in range(x.shape[1]):
        gates = x[:, t] @ kernel + h @ recurrent + bias
        i, f, g, o = (gates[:, units * k : units * (k + 1)] for k in range(4))
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        steps.append(h)
    return ops.stack(steps, 1)


def torch_lstm(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    units = recurrent.shape[0]
    h = c = x.new_zeros(len(x), units)
    steps = []
    for t in range(x.shape[1]):
        gates = torch.cat([bias.expand(len(x), -1)[:, :0], torch.cat([x[:, t], h], 1)], 1)
        gates = torch.addmm(bias, gates, torch.cat([kernel, recurrent]))
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        steps.append(h)
    return torch.stack(steps, 1)


def gelu(x: Any) -> Any:
    return x * (1.0 + ops.erf(x * 0.5**0.5)) * 0.5


def glu(x: Any) -> Any:
    return x[:, :2] * ops.sigmoid(x[:, 2:])


COMPOSED = {
    "convolution": Case(convolution, torch_convolution, ((2, 6, 5, 3), (3, 2, 3, 4), (4,))),
    "max pooling": Case(
        max_pooling, lambda x: functional.max_pool1d(x.movedim(1, 2), 3, 2, 1).movedim(2, 1), ((2, 8, 3),)
    ),
    "layer norm": Case(
        layer_norm,
        lambda x, scale, offset: functional.layer_norm(x, (6,), scale, offset, 1e-5),
        ((4, 6), (6,), (6,)),
        scales=False,
    ),
    "attention": Case(
        attention,
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        ((2, 5, 4), (2, 5, 4), (2, 5, 3)),
    ),
    "lstm": Case(lstm, torch_lstm, ((2, 6, 3), (3, 16), (4, 16), (16,)), scales=False),
    "gelu": Case(gelu, functional.gelu, scales=False),
    "glu": Case(glu, lambda x: functional.glu(x, 1)),
}
"""Formulas of several steps."""
