"""The dense layer, and the one that is tied to an embedding."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.export.onnx.writer import Emit, Site, Value


def product(site: Site, x: str, rank: int, kernel: str, bias: str | None) -> str:
    """``x K + b`` over the last axis.

    Args:
        site: Where it is written.
        x: Tensor whose last axis is multiplied.
        rank: Axes of one example of it.
        kernel: Shape ``(inputs, units)``.
        bias: Shape ``(units,)``, or none.
    """
    if rank == 1:
        return site.op("Gemm", x, kernel, *([bias] if bias else []))
    y = site.op("MatMul", x, kernel)
    return site.op("Add", y, bias) if bias else y


def _dense(site: Site) -> Value:
    rank = len(site.node.input_shapes[0])
    return Value(product(site, site.input(), rank, site.required("kernel"), site.weight("bias")))


def _tied_dense(site: Site) -> Value:
    table, bias, x = site.required("kernel"), site.weight("bias"), site.input()
    if len(site.node.input_shapes[0]) == 1:
        return Value(site.op("Gemm", x, table, *([bias] if bias else []), transB=1))
    return Value(product(site, x, 2, site.op("Transpose", table, perm=[1, 0]), bias))


EMITTERS: Mapping[str, Emit] = {"dense": _dense, "tied_dense": _tied_dense}
"""By ``Node.operation``."""
