"""Batch norms that follow a convolution become part of it, as integer arithmetic has no place for them in between."""

from __future__ import annotations

import numpy as np
import onnx

from dualml.compress.onnx_graph import OnnxGraph, attributes
from dualml.protocol import Array


def fold_batch_norms(graph: OnnxGraph) -> int:
    """Put every batch norm that alone reads a convolution's result into that convolution.

    With the factor ``f = scale / sqrt(variance + epsilon)`` the kernel ``K`` of each filter becomes ``f K`` and the
    bias ``b`` becomes ``f (b - mean) + offset``, computed in float64.

    Returns:
        How many there were.
    """
    found = 0
    for conv in [node for node in graph.nodes if node.op_type == "Conv"]:
        norm = graph.only_reader(conv.output[0])
        if norm is None or norm.op_type != "BatchNormalization" or norm.input[0] != conv.output[0]:
            continue
        if conv.input[1] not in graph.arrays or not all(name in graph.arrays for name in norm.input[1:]):
            continue
        if len(graph.readers(conv.input[1])) > 1:
            continue  # a shared layer's kernel, which another operator reads as it is
        _fold(graph, conv, norm)
        found += 1
    return found


def _fold(graph: OnnxGraph, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    scale, offset, mean, variance = (graph.arrays[name].astype(np.float64) for name in norm.input[1:])
    kernel = graph.arrays[conv.input[1]]
    factor = scale / np.sqrt(variance + float(attributes(norm)["epsilon"]))
    bias: Array = np.zeros_like(mean)
    if len(conv.input) > 2:
        bias = graph.arrays[conv.input[2]].astype(np.float64)
    folded = factor.reshape(-1, *(1,) * (kernel.ndim - 1)) * kernel.astype(np.float64)
    graph.arrays[conv.input[1]] = folded.astype(kernel.dtype)
    name = f"{conv.input[1]}.folded_bias"
    graph.arrays[name] = (factor * (bias - mean) + offset).astype(kernel.dtype)
    del conv.input[2:]
    conv.input.append(name)
    conv.output[0] = norm.output[0]
    graph.nodes = [node for node in graph.nodes if node is not norm]
