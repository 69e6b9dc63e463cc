"""An ONNX model that is being rewritten: its operators in order, its arrays by name, and who reads what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dualml.protocol import Array


class OnnxGraph:
    """A model as ``dualml.export.onnx.emit`` wrote it, to be changed and written again.

    Attributes:
        nodes: The operators, each after those that feed it.
        arrays: The weights and constants by name.
        inputs: Names of the inputs.
        outputs: Names of the outputs.

    Args:
        data: The file's bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.model = onnx.load_from_string(data)
        graph = self.model.graph
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.arrays: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.inputs = [item.name for item in graph.input]
        self.outputs = [item.name for item in graph.output]
        names = {*self.arrays, *(name for node in self.nodes for name in node.output)}
        self._numbers = max((int(name) for name in names if name.isdecimal()), default=0)

    def new_name(self) -> str:
        """A name that nothing has: the next number, as short names keep small files small."""
        self._numbers += 1
        return str(self._numbers)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The operators that read a tensor, in order."""
        return [node for node in self.nodes if tensor in node.input]

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The operator that makes a tensor; ``None`` for an input or a weight."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The one operator that reads a tensor; ``None`` if there are several, or it is an output."""
        found = self.readers(tensor)
        return found[0] if len(found) == 1 and tensor not in self.outputs else None

    def replace_input(self, node: onnx.NodeProto, old: str, new: str) -> None:
        """Make an operator read another tensor."""
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new

    def insert_before(self, node: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        """Put operators in front of one."""
        place = next(index for index, item in enumerate(self.nodes) if item is node)
        self.nodes[place:place] = new

    def insert_after(self, tensor: str, *new: onnx.NodeProto) -> None:
        """Put operators behind the one that makes a tensor; in front of all for an input."""
        place = next((index + 1 for index, item in enumerate(self.nodes) if tensor in item.output), 0)
        self.nodes[place:place] = new

    def to_bytes(self, extra_outputs: Sequence[str] = ()) -> bytes:
        """Write the model: the same bytes for the same graph.

        Args:
            extra_outputs: Float tensors to give out as well, of any shape.
        """
        used = {name for node in self.nodes for name in node.input}
        graph = self.model.graph
        new = helper.make_graph(
            self.nodes,
            graph.name,
            list(graph.input),
            [*graph.output, *(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in
                              extra_outputs if name not in self.outputs)],
            [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.arrays.items()
             if name in used],
        )  # fmt: skip
        model = helper.make_model(
            new,
            ir_version=self.model.ir_version,
            opset_imports=list(self.model.opset_import),
            producer_name=self.model.producer_name,
        )
        return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    """An operator's settings."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def layer_of(node: onnx.NodeProto) -> str:
    """The name of the spec's node that an operator was written for."""
    return str(node.name).partition("/")[0]


def raw_outputs(data: bytes) -> dict[str, str]:
    """For each output the tensor that its last operator (softmax, sigmoid) makes a prediction of."""
    graph = OnnxGraph(data)
    last = {name: graph.maker(name) for name in graph.outputs}
    return {name: str(node.input[0]) for name, node in last.items() if node is not None}
