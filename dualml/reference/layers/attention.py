"""Multi-head attention.

Fused implementations contract powers with the values and divide by their sum last, or go through blocks of keys; that
is within the bound of the plain formula, whose softmax has more roundings. Only one that spreads the scale over
queries and keys needs a variant of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.dropout import mask_of
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced
from dualml.spec.layers.positions import waves

Read = Callable[[Traced, Traced, Traced, float, NDArray[np.bool_], NDArray[np.float64] | None], Traced]
"""``(queries, keys, values, scale, readable, kept)``: every head's ``A V``, heads in front of positions."""


def plain(
    q: Traced, k: Traced, v: Traced, scale: float, readable: NDArray[np.bool_], kept: NDArray[np.float64] | None
) -> Traced:
    """``softmax(Q K^t scale) V``; rows without a readable key are zeros."""
    a = ops.softmax((q @ ops.swapaxes(k, -1, -2)) * scale, mask=readable)
    return (a if kept is None else a * kept) @ v


def scaled_before(
    q: Traced, k: Traced, v: Traced, scale: float, readable: NDArray[np.bool_], kept: NDArray[np.float64] | None
) -> Traced:
    """The root of the scale on queries and on keys, before they meet."""
    root = math.sqrt(scale)
    return plain(q * root, k * root, v, 1.0, readable, kept)


def attention(read: Read) -> Callable[..., Traced]:
    """The formula of the layer, given how heads read."""

    def formula(call: Call, x: Traced, *others: Traced, **parameters: Traced) -> Traced:
        """``y = [A V of every head] K_o + b_o``."""
        settings = call.node.settings
        size = settings.head_size(call.node.input_shapes)
        memory = others[0] if len(others) > (settings.mask is not None) else x

        def project(name: str, value: Traced) -> Traced:
            y = value @ parameters[f"{name}_kernel"]
            return y + parameters[f"{name}_bias"] if settings.bias else y

        def cut(name: str, value: Traced) -> Traced:
            """``(examples, heads, positions, size)``."""
            heads = project(name, value)
            return ops.swapaxes(ops.reshape(heads, (*heads.shape[:2], -1, size)), 1, 2)

        q, k, v = cut("query", x), cut("key", memory), cut("value", memory)
        if settings.rotary is not None:
            q, k = (_turned(item, settings.rotary.base, settings.rotary.interleaved) for item in (q, k))
        group = np.arange(settings.heads) // (settings.heads // settings.key_heads)
        k, v = ops.take(k, group, axis=1), ops.take(v, group, axis=1)
        shape = (len(x), 1, x.shape[1], memory.shape[1])
        readable = np.ones(shape, dtype=np.bool_)
        if settings.causal:
            readable &= np.tri(*shape[2:], dtype=np.bool_)
        if settings.mask is not None:
            readable &= (others[-1].value != 0)[:, None, None, :]
        heads = read(q, k, v, settings.scale(call.node.input_shapes), readable, _kept(call))
        joined = ops.reshape(ops.swapaxes(heads, 1, 2), (len(x), x.shape[1], -1))
        return project("output", joined)

    return formula


def _turned(x: Traced, base: float, interleaved: bool) -> Traced:
    """Pairs turned by their positions, ``(examples, heads, positions, size)``."""
    length, size = x.shape[-2:]
    sines, cosines = waves(length, size, base)
    pairs = ops.reshape(x, (*x.shape[:-1], size // 2, 2) if interleaved else (*x.shape[:-1], 2, size // 2))
    axis = -1 if interleaved else -2
    a, b = (ops.take(pairs, place, axis=axis) for place in (0, 1))
    turned = ops.stack([a * cosines - b * sines, a * sines + b * cosines], axis=axis)
    return ops.reshape(turned, x.shape)


def _kept(call: Call) -> NDArray[np.float64] | None:
    """What the weights are multiplied by in training, ``(examples, heads, queries, keys)``."""
    if not call.training or call.node.random_mask is None:
        return None
    return np.asarray(mask_of(call) / (1.0 - call.node.settings.rate))


OPERATIONS: Mapping[str, Operation] = {
    "attention": Formula(attention(plain), variants=(attention(scaled_before),)),
}
"""By ``Node.operation``."""
