"""Multi-head attention, from products and a softmax."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualml.export.onnx.dense import product
from dualml.export.onnx.writer import Emit, Site, Value
from dualml.spec.layers.positions import waves


def _turned(site: Site, x: str, length: int, size: int) -> str:
    """Pairs turned by their positions, ``(examples, heads, positions, size)``."""
    rotary = site.settings.rotary
    sines, cosines = waves(length, size, rotary.base)
    half = size // 2
    if rotary.interleaved:
        a, b = site.sliced(x, 3, 0, size, 2), site.sliced(x, 3, 1, size, 2)
    else:
        a, b = site.sliced(x, 3, 0, half), site.sliced(x, 3, half, size)
    sine, cosine = site.number(sines), site.number(cosines)
    first = site.op("Sub", site.op("Mul", a, cosine), site.op("Mul", b, sine))
    second = site.op("Add", site.op("Mul", a, sine), site.op("Mul", b, cosine))
    if not rotary.interleaved:
        return site.op("Concat", first, second, axis=3)
    pairs = site.op("Concat", site.expanded(first, 4), site.expanded(second, 4), axis=4)
    return site.op("Reshape", pairs, site.whole([0, 0, 0, size]))


def _readable(site: Site, queries: int, keys: int) -> str | None:
    """Which keys a query reads: bool, of a shape that broadcasts to ``(examples, heads, queries, keys)``."""
    parts = []
    if site.settings.causal:
        # Compared in the file rather than stored: queries + keys numbers instead of their product.
        later = site.op("Greater", site.whole(np.arange(keys)[None]), site.whole(np.arange(queries)[:, None]))
        parts.append(site.op("Not", later))
    if site.settings.mask is not None:
        mask = site.input(len(site.node.inputs) - 1)
        kept = site.op("Not", site.op("Equal", mask, site.number(0.0)))
        parts.append(site.expanded(kept, 1, 2))
    return site.chained("And", parts) if parts else None


def _attention(site: Site) -> Value:
    settings, shapes = site.settings, site.node.input_shapes
    size, queries, keys = settings.head_size(shapes), shapes[0][0], settings.memory(shapes)[0]
    crossed = len(shapes) - (settings.mask is not None) == 2
    x, memory = site.input(), site.input(1) if crossed else site.input()

    def projected(name: str, value: str) -> str:
        return product(site, value, 2, site.required(f"{name}_kernel"), site.weight(f"{name}_bias"))

    def heads(name: str, value: str, length: int, count: int, order: list[int]) -> str:
        return site.op("Transpose", site.reshaped(projected(name, value), (length, count, size)), perm=order)

    q = heads("query", x, queries, settings.heads, [0, 2, 1, 3])
    turned = settings.rotary is not None
    k = heads("key", memory, keys, settings.key_heads, [0, 2, 1, 3] if turned else [0, 2, 3, 1])
    v = heads("value", memory, keys, settings.key_heads, [0, 2, 1, 3])
    if turned:
        q, k = _turned(site, q, queries, size), _turned(site, k, keys, size)
        k = site.op("Transpose", k, perm=[0, 1, 3, 2])
    if settings.key_heads != settings.heads:
        group = np.arange(settings.heads) // (settings.heads // settings.key_heads)
        k, v = site.gathered(k, group, 1), site.gathered(v, group, 1)
    scores = site.op("Mul", site.op("MatMul", q, k), site.number(settings.scale(shapes)))
    readable = _readable(site, queries, keys)
    if readable is None:
        weights = site.op("Softmax", scores, axis=-1)
    else:
        # The smallest number rather than minus infinity: where nothing is readable, softmax must not give NaN.
        least = site.number(np.finfo(site.precision).min)
        weights = site.op("Softmax", site.op("Where", readable, scores, least), axis=-1)
        weights = site.op("Where", readable, weights, site.number(0.0))
    joined = site.op("Transpose", site.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    return Value(projected("output", site.reshaped(joined, (queries, settings.heads * size))))


EMITTERS: Mapping[str, Emit] = {"attention": _attention}
"""By ``Node.operation``."""
