"""Static int8: weights and activations as bytes with scales that are fixed before the model is used.

Every weighted operator (``Gemm``, ``MatMul``, ``Conv``) reads bytes and multiplies them with bytes, in whole numbers:

    y = s_x s_k  sum (q_x - z_x) q_k  +  b

``q_x`` has one scale ``s_x`` and zero point ``z_x`` for the whole tensor, measured on training examples; ``q_k`` has a
scale for each unit or filter. As no scale is computed from a batch, and sums of whole numbers have no rounding, what a
row becomes does not depend on its neighbours. The model is written with ONNX' own ``QuantizeLinear`` and
``DequantizeLinear`` around float operators, which ONNX Runtime replaces by integer ones when it loads the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from dualml.compress.calibration import Levels, calibrate
from dualml.compress.folding import fold_batch_norms
from dualml.compress.onnx_graph import OnnxGraph, attributes, layer_of
from dualml.errors import UnsupportedError
from dualml.protocol import Array, Arrays

LARGEST = 127
"""Of a weight's byte; -128 is not used, so that a scale serves both signs."""
MOST_IN_OUTPUTS = 0.02
"""Share of the weights up to which layers that give an output stay in float32: exactness is cheap there, and what they
lose nothing makes up for."""
FEWEST_FACTORS = 32
"""A convolution that sums fewer products for each result stays in float32: it holds little, and integer arithmetic
would make it slower."""


@dataclass(frozen=True)
class Quantised:
    """A model in int8.

    Attributes:
        model: The ONNX file.
        layers: Names of the layers that compute in whole numbers.
        kept: Names of those that could, but stay in float32, with the reason.
    """

    model: bytes
    layers: tuple[str, ...]
    kept: Mapping[str, str]


def quantise(data: bytes, inputs: Arrays, *, keep_outputs: bool = True) -> Quantised:
    """Make a float32 model one of bytes.

    Args:
        data: What ``dualml.export.onnx.emit`` gave.
        inputs: Training examples by input, which the scales are measured on.
        keep_outputs: Whether layers that give an output stay in float32 if they are small.

    Raises:
        UnsupportedError: No layer of it can compute in bytes.
    """
    graph = OnnxGraph(data)
    fold_batch_norms(graph)
    weighted = [node for node in graph.nodes if _is_weighted(graph, node)]
    narrow = [node for node in weighted if _factors(graph, node) < FEWEST_FACTORS]
    last = _outputs_to_keep(graph, weighted) if keep_outputs else []
    chosen = [node for node in weighted if not any(node is other for other in (*narrow, *last))]
    if not chosen:
        raise UnsupportedError(
            "--method int8 needs a dense or convolutional layer before the output, but this model has none that is "
            "large enough; export it as it is"
        )
    results = _results(graph, chosen)
    tensors = list(dict.fromkeys([*(str(node.input[0]) for node in chosen), *results]))
    levels = calibrate(graph, tensors, inputs)
    for tensor, pooled in _pooled(graph, results):  # a largest byte stands for the largest value
        levels[pooled] = levels[tensor]
        results.append(pooled)
    for tensor in dict.fromkeys([*tensors, *results]):
        if tensor not in results and _is_pooled_float(graph, tensor, results):
            tensor = _held_back(graph, tensor, levels, chosen)
        _write_levels(graph, tensor, levels[tensor], None if tensor in results else chosen)
    for node in chosen:
        _quantise_weights(graph, node)
    names = dict.fromkeys(layer_of(node) for node in chosen)
    kept = {layer_of(node): "it gives an output and is small" for node in last}
    kept |= {layer_of(node): "it sums too few products for bytes to be quicker" for node in narrow}
    return Quantised(graph.to_bytes(), tuple(names), {name: why for name, why in kept.items() if name not in names})


def _is_weighted(graph: OnnxGraph, node: onnx.NodeProto) -> bool:
    if node.op_type not in ("Gemm", "MatMul", "Conv") or node.input[1] not in graph.arrays:
        return False
    kernel = graph.arrays[node.input[1]]
    biased = len(node.input) < 3 or node.input[2] in graph.arrays
    return biased and node.input[0] not in graph.arrays and (node.op_type == "Conv" or kernel.ndim == 2)


def _factors(graph: OnnxGraph, node: onnx.NodeProto) -> float:
    """How many products a convolution sums; of a dense layer, enough."""
    return math.prod(graph.arrays[node.input[1]].shape[1:]) if node.op_type == "Conv" else math.inf


def _pooled(graph: OnnxGraph, tensors: Sequence[str]) -> list[tuple[str, str]]:
    """Tensors that a max pool alone reads, with what it gives."""
    found = []
    for tensor in tensors:
        reader = graph.only_reader(tensor)
        if reader is not None and reader.op_type == "MaxPool" and reader.output[0] not in graph.outputs:
            found.append((tensor, str(reader.output[0])))
    return found


MOVING = ("Flatten", "Reshape", "Transpose")
"""Operators that a conversion to bytes is moved in front of when ONNX Runtime loads a file, as it is for max pools."""


def _is_pooled_float(graph: OnnxGraph, tensor: str, results: Sequence[str]) -> bool:
    """Whether a max pool of floats gives it: one of bytes, which it would become, is many times slower there."""
    maker = graph.maker(tensor)
    while maker is not None and maker.op_type in MOVING:
        maker = graph.maker(str(maker.input[0]))
    return maker is not None and maker.op_type == "MaxPool" and maker.output[0] not in results


def _held_back(graph: OnnxGraph, tensor: str, levels: dict[str, Levels], readers: Sequence[onnx.NodeProto]) -> str:
    """The same tensor behind an operator that changes no byte of it, and that no conversion is moved in front of."""
    low, held = graph.new_name(), graph.new_name()
    found = levels[held] = levels[tensor]
    graph.arrays[low] = np.asarray(-float(found.zero_point) * float(found.scale), dtype=np.float32)
    for node in readers:
        if node.input[0] == tensor:
            node.input[0] = held
    graph.insert_after(tensor, helper.make_node("Max", [tensor, low], [held]))
    return held


def _outputs_to_keep(graph: OnnxGraph, weighted: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The operators behind which no other weighted one comes, if they hold few of the weights."""
    before: set[str] = set()  # tensors that a weighted operator still comes behind
    for node in reversed(graph.nodes):
        if any(node is item for item in weighted) or before.intersection(node.output):
            before.update(node.input)
    last = [node for node in weighted if not before.intersection(node.output)]
    size = {str(node.input[1]): graph.arrays[node.input[1]].size for node in weighted}
    held = sum(size[name] for name in {str(node.input[1]) for node in last})
    return last if held <= MOST_IN_OUTPUTS * sum(size.values()) else []


def _results(graph: OnnxGraph, chosen: list[onnx.NodeProto]) -> list[str]:
    """What is made bytes where it is given, behind a relu if there is one.

    A convolution's integer operator gives bytes only. That of a dense layer can give floats, but ONNX Runtime would
    rather make one float operator of the layer and its relu.
    """
    found = []
    for node in chosen:
        after = graph.only_reader(node.output[0])
        if after is not None and after.op_type == "Relu":
            found.append(str(after.output[0]))
        elif node.op_type == "Conv":
            found.append(str(node.output[0]))
    return [name for name in found if name not in graph.outputs]


def _write_levels(graph: OnnxGraph, tensor: str, levels: Levels, readers: list[onnx.NodeProto] | None) -> None:
    """Bytes in between: a tensor is quantised and taken back, for some readers or for all of them."""
    found = graph.readers(tensor) if readers is None else [node for node in readers if node.input[0] == tensor]
    scale, zero, quantised, back = (graph.new_name() for _ in range(4))
    graph.arrays[scale] = np.asarray(levels.scale, dtype=np.float32)
    graph.arrays[zero] = np.asarray(levels.zero_point, dtype=np.uint8)
    for node in found:
        graph.replace_input(node, tensor, back)
    graph.insert_after(
        tensor,
        helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantised]),
        helper.make_node("DequantizeLinear", [quantised, scale, zero], [back]),
    )


def _quantise_weights(graph: OnnxGraph, node: onnx.NodeProto) -> None:
    """Kernel as int8 with a scale for each unit, bias as int32 in the scale of the products."""
    kernel = str(node.input[1])
    axis = _unit_axis(node)
    back = graph.maker(str(node.input[0]))
    assert back is not None, "its input is taken back from bytes"
    scale_x = float(graph.arrays[back.input[1]])
    bias = graph.arrays[node.input[2]] if len(node.input) > 2 else None
    scale = unit_scales(graph.arrays[kernel], axis, bias, scale_x)
    node.input[1] = _stored(graph, node, kernel, _rounded(graph.arrays[kernel], scale, axis), scale, axis)
    if bias is not None:
        product = scale.astype(np.float64) * scale_x
        whole = np.rint(bias.astype(np.float64) / product).astype(np.int32)
        node.input[2] = _stored(graph, node, str(node.input[2]), whole, product.astype(np.float32), 0)


def _unit_axis(node: onnx.NodeProto) -> int:
    """The axis of the kernel that counts units or filters."""
    if node.op_type == "Conv":
        return 0
    return 0 if node.op_type == "Gemm" and attributes(node).get("transB", 0) else 1


def unit_scales(kernel: Array, axis: int, bias: Array | None, scale_x: float) -> NDArray[np.float32]:
    """The scale of each unit's weights: the largest becomes 127, and the bias fits 32 bits.

    Args:
        kernel: The weights.
        axis: Which of its axes counts units.
        bias: Shape ``(units,)``, or none.
        scale_x: Scale of what the weights are multiplied with.
    """
    others = tuple(item for item in range(kernel.ndim) if item != axis)
    scale = np.max(np.abs(kernel.astype(np.float64)), axis=others) / LARGEST
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias.astype(np.float64)) / (scale_x * 2.0**30))
    tiny = float(np.finfo(np.float32).tiny)
    return np.where(scale > tiny, scale, 1.0).astype(np.float32)


def _rounded(kernel: Array, scale: NDArray[np.float32], axis: int) -> NDArray[np.int8]:
    shape = [1] * kernel.ndim
    shape[axis] = -1
    steps = np.rint(kernel.astype(np.float64) / scale.astype(np.float64).reshape(shape))
    return np.clip(steps, -LARGEST, LARGEST).astype(np.int8)


def _stored(
    graph: OnnxGraph,
    node: onnx.NodeProto,
    name: str,
    whole: NDArray[np.int8] | NDArray[np.int32],
    scale: NDArray[np.float32],
    axis: int,
) -> str:
    """Put whole numbers into the file and an operator before their reader that says what they mean."""
    stored = f"{name}.{whole.dtype}"
    if not np.array_equal(graph.arrays.setdefault(stored, whole), whole):
        stored = graph.new_name()  # two readers of one bias may have different scales
        graph.arrays[stored] = whole
    factor, zero, back = (graph.new_name() for _ in range(3))
    graph.arrays[factor] = scale
    inputs = [stored, factor]
    if whole.dtype == np.int8:  # without it, ONNX Runtime does not take the layer for one of whole numbers
        graph.arrays[zero] = np.zeros(scale.shape, dtype=whole.dtype)
        inputs.append(zero)
    graph.insert_before(node, helper.make_node("DequantizeLinear", inputs, [back], axis=axis))
    return back
