"""A model as an ONNX file, written from its spec and weights: the same bytes whichever backend trained it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from dualml.errors import UnsupportedError
from dualml.export.onnx import (
    activations,
    attention,
    convolution,
    dense,
    embedding,
    merge,
    normalization,
    pooling,
    recurrent,
    shape,
)
from dualml.export.onnx.writer import Emit, Site, Writer
from dualml.protocol import Arrays
from dualml.spec.graph import Graph
from dualml.weights import check_weights

OPSET = 20
"""Version of the operators; Gelu came with it."""
IR_VERSION = 9
"""Version of the file format that goes with it."""
MOST_BYTES = 2**31 - 2**20
"""What a file can hold, with some room for the graph: protobuf counts bytes in 31 bits."""

EMITTERS: Mapping[str, Emit] = {
    **dense.EMITTERS,
    **convolution.EMITTERS,
    **activations.EMITTERS,
    **shape.EMITTERS,
    **merge.EMITTERS,
    **embedding.EMITTERS,
    **attention.EMITTERS,
    **recurrent.EMITTERS,
    **normalization.EMITTERS,
    **pooling.EMITTERS,
}
"""Every layer, by ``Node.operation``."""


def emit(graph: Graph, weights: Arrays, *, predictions: bool = True, batch: str = "N") -> bytes:
    """Write a model as ONNX.

    Inputs have the model's names, shape ``(batch, *shape)`` and the graph's precision (int64 for whole numbers);
    outputs have ``graph.output_names``. A model of mixed precision is written in float32.

    Args:
        graph: The model.
        weights: All parameters and buffers, neutral names and layout.
        predictions: Whether outputs are predictions (softmax, sigmoid); else what the losses take.
        batch: Name of the axis of examples.

    Returns:
        The file's bytes: the same for the same arguments.

    Raises:
        UnsupportedError: Names the part that ONNX cannot express.
        WeightsError: The weights are not the graph's.
    """
    check_weights(weights, graph)
    writer = Writer(graph, weights)
    for node in graph.nodes:
        if node.operation not in EMITTERS:
            raise UnsupportedError(f"ONNX cannot express the layer {node.operation!r} ({node.path}) yet")
        writer.values[node.name] = EMITTERS[node.operation](Site(writer, node))
    for name, label in zip(graph.outputs, graph.output_names, strict=True):
        _output(writer, name, label, predictions)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(graph.precision))
    inputs = [
        helper.make_tensor_value_info(
            item.name, onnx.TensorProto.INT64 if item.integer else element, [batch, *item.shape]
        )
        for item in graph.inputs
    ]
    outputs = [
        helper.make_tensor_value_info(label, element, [batch, *graph.by_name[name].shape])
        for name, label in zip(graph.outputs, graph.output_names, strict=True)
    ]
    tensors = list(writer.initializers.values())
    size = sum(len(tensor.raw_data) for tensor in tensors)
    if size > MOST_BYTES:
        raise UnsupportedError(
            f"an ONNX file must be below {MOST_BYTES / 2**30:.3g} GiB, but the weights are {size / 2**30:.3g} GiB; "
            "export another format"
        )
    model = helper.make_model(
        helper.make_graph(writer.nodes, "model", inputs, outputs, tensors),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="dualml",
    )
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _output(writer: Writer, name: str, label: str, predictions: bool) -> None:
    """A node's value, or the prediction made of it, under an output's name."""
    kind = writer.graph.predictions[name] if predictions else "identity"
    operator, settings = {"softmax": ("Softmax", {"axis": -1}), "sigmoid": ("Sigmoid", {})}.get(kind, ("Identity", {}))
    writer.add(label, operator, [writer.tensor(name, "last")], [label], **settings)


__all__ = ["EMITTERS", "emit"]
