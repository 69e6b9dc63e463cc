"""ONNX: operators of an allow-list, weights inside the file and exactly as large as declared, nothing nested.

The model's bytes are walked here, not parsed by a library: what comes behind this guard, ONNX Runtime, is the parser
that has to be guarded. A field the walk does not know is refused, as is one that stands twice where one reader would
take the first and another the last.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from dualml.errors import GuardError
from dualml.guards.onnx_operators import DOMAINS, LARGEST_PRODUCT, LARGEST_SIZE, OPERATORS, SIZED, TRACED
from dualml.guards.protobuf import fields, numbers

_NOT = "refused: "
MODEL = {
    1: "ir_version", 2: "producer", 3: "producer_version", 4: "domain", 5: "version", 6: "doc", 7: "graph",
    8: "opset", 14: "metadata", 20: _NOT + "training steps", 25: _NOT + "functions of its own",
}  # fmt: skip
GRAPH = {
    1: "node", 2: "name", 5: "initializer", 10: "doc", 11: "input", 12: "output", 13: "value", 16: "metadata",
    14: _NOT + "quantisation notes", 15: _NOT + "sparse tensors",
}  # fmt: skip
NODE = {1: "input", 2: "output", 3: "name", 4: "operator", 5: "attribute", 6: "doc", 7: "domain", 9: "metadata"}
ATTRIBUTE = {
    1: "name", 2: "float", 3: "int", 4: "string", 5: "tensor", 7: "floats", 8: "ints", 9: "strings", 13: "doc",
    20: "type", 6: _NOT + "a subgraph", 11: _NOT + "subgraphs", 10: _NOT + "a list of tensors",
    22: _NOT + "a sparse tensor", 23: _NOT + "sparse tensors",
}  # fmt: skip
TENSOR = {
    1: "dims", 2: "dtype", 4: "float", 5: "int32", 7: "int64", 8: "name", 9: "raw", 10: "double", 11: "uint64",
    12: "doc", 16: "metadata", 3: _NOT + "a part of a tensor", 6: _NOT + "text",
    13: _NOT + "the name of another file (external data)", 14: _NOT + "a place outside the file (external data)",
}  # fmt: skip
"""Names of the fields of each message, by number; those that begin with ``_NOT`` are refused, as are unknown ones."""
REPEATED = {
    "opset", "metadata", "node", "initializer", "input", "output", "value", "attribute", "floats", "ints", "strings",
    "dims", "float", "int32", "int64", "double", "uint64",
}  # fmt: skip
VALUE = {1: "name", 2: "type", 3: "doc", 4: "metadata"}
TYPE = {1: "tensor", 6: "denotation"}
TENSOR_TYPE = {1: "dtype", 2: "shape"}
SHAPE = {1: "dims"}
DIMENSION = {1: "length", 2: "param", 3: "denotation"}
ENTRY = {1: "name", 2: "text"}
"""Of ``metadata``."""
TEXTS = {"producer", "producer_version", "domain", "doc", "name", "denotation", "param", "text"}
"""Fields of text, which must be UTF-8 wherever they stand."""
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 17: 8, 18: 8,
        19: 8, 20: 8, 21: 4, 22: 4}  # fmt: skip
"""Bits of one value, by ONNX's number of the dtype; text and complex numbers have no place in a model."""
INT64 = 7
NEWEST_OPSET = 30
MOST_NODES = 100_000
_SHOWN = 64


@dataclass
class _Tensor:
    name: str
    dtype: int
    shape: list[int]
    raw: memoryview | None
    int64: list[int]

    def values(self) -> list[int] | None:
        """The numbers of a small int64 tensor; ``None`` for any other."""
        if self.dtype != INT64 or math.prod(self.shape) > 64:
            return None
        if self.raw is not None:
            return list(struct.unpack(f"<{len(self.raw) // 8}q", self.raw))
        return self.int64


@dataclass
class _Node:
    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tensor: _Tensor | None = None


def check(data: bytes, where: str) -> None:
    """Refuse a model that does more than arithmetic on its inputs and the weights inside it.

    Args:
        data: The whole file.
        where: What it is, for messages.

    Raises:
        GuardError: Says what is wrong.
    """
    graph: memoryview | None = None
    opsets = 0
    for name, value in _known(memoryview(data), MODEL, f"{where}: model"):
        if name == "graph":
            graph = _bytes(value, where)
        elif name == "opset":
            opsets += 1
            _check_opset(_bytes(value, where), where)
    if graph is None or not opsets:
        raise GuardError(f"{where}: must be an ONNX model, but has no graph or names no operator set")
    _check_graph(graph, where)


def _check_graph(graph: memoryview, where: str) -> None:
    nodes: list[_Node] = []
    tensors: dict[str, _Tensor] = {}
    inputs: set[str] = set()
    for name, value in _known(graph, GRAPH, f"{where}: graph"):
        if name == "node":
            nodes.append(_node(_bytes(value, where), where))
            if len(nodes) > MOST_NODES:
                raise GuardError(f"{where}: must have at most {MOST_NODES:,} nodes, but has more")
        elif name == "initializer":
            tensor = _tensor(_bytes(value, where), where)
            if tensor.name in tensors:
                raise GuardError(f"{where}: two weights are called {tensor.name[:_SHOWN]!r}")
            tensors[tensor.name] = tensor
        elif name in ("input", "output", "value"):
            called = _value(_bytes(value, where), where)
            if name == "input":
                inputs.add(called)
    _check_sizes(nodes, tensors, inputs, where)


def _check_opset(message: memoryview, where: str) -> None:
    domain, version = "", 0
    for number, _, value in fields(message, where):
        if number == 1:
            domain = _text(value, where)
        elif number == 2 and isinstance(value, int):
            version = value
    if domain not in DOMAINS:
        raise GuardError(f"{where}: uses operators of {domain[:_SHOWN]!r}; only ONNX's own are allowed")
    if not 1 <= version <= NEWEST_OPSET:
        raise GuardError(f"{where}: the version of its operators must be 1 to {NEWEST_OPSET}, but is {version}")


def _node(message: memoryview, where: str) -> _Node:
    node = _Node()
    for name, value in _known(message, NODE, f"{where}: node"):
        if name == "operator":
            node.operator = _text(value, where)
        elif name == "input":
            node.inputs.append(_text(value, where))
        elif name == "output":
            node.outputs.append(_text(value, where))
        elif name == "domain" and (domain := _text(value, where)) not in DOMAINS:
            raise GuardError(f"{where}: uses an operator of {domain[:_SHOWN]!r}; only ONNX's own are allowed")
        elif name == "attribute":
            tensor = _attribute(_bytes(value, where), where)
            node.tensor = tensor or node.tensor
    if node.operator not in OPERATORS and node.operator not in SIZED:
        raise GuardError(
            f"{where}: uses the operator {node.operator[:_SHOWN]!r}, which is not on the list of those that do "
            "bounded arithmetic"
        )
    return node


def _attribute(message: memoryview, where: str) -> _Tensor | None:
    found = None
    for name, value in _known(message, ATTRIBUTE, f"{where}: attribute"):
        if name == "tensor":
            found = _tensor(_bytes(value, where), where)
    return found


def _tensor(message: memoryview, where: str) -> _Tensor:
    tensor = _Tensor("", 0, [], None, [])
    stored: set[str] = set()
    counts = {"float": 0, "int32": 0, "int64": 0, "double": 0, "uint64": 0}
    for name, value in _known(message, TENSOR, f"{where}: tensor"):
        if name == "dims":
            tensor.shape += numbers(value, where)
        elif name == "dtype" and isinstance(value, int):
            tensor.dtype = value
        elif name == "name":
            tensor.name = _text(value, where)
        elif name == "raw":
            tensor.raw = _bytes(value, where)
            stored.add(name)
        elif name in counts:
            stored.add(name)
            counts[name] += _count(name, value, tensor, where)
    _check_tensor(tensor, stored, sum(counts.values()), where)
    return tensor


def _count(name: str, value: int | memoryview, tensor: _Tensor, where: str) -> int:
    """How many values one field of a tensor holds."""
    if name in ("float", "double"):
        size = 4 if name == "float" else 8
        return len(_bytes(value, where)) // size
    if name == "int64":
        tensor.int64 += numbers(value, where)
        return len(tensor.int64)
    return len(numbers(value, where))


def _check_tensor(tensor: _Tensor, stored: set[str], count: int, where: str) -> None:
    what = f"{where}: tensor {tensor.name[:_SHOWN]!r}"
    if tensor.dtype not in BITS:
        raise GuardError(f"{what} must hold numbers, but has ONNX's dtype {tensor.dtype}")
    if any(length < 0 for length in tensor.shape) or len(tensor.shape) > 32:
        raise GuardError(f"{what} must have a shape of whole numbers from 0 on")
    declared = math.prod(tensor.shape)
    if len(stored) > 1:
        raise GuardError(f"{what} holds its values twice, so it has two meanings")
    if tensor.raw is not None:
        needed = (declared * BITS[tensor.dtype] + 7) // 8
        if needed != len(tensor.raw):
            raise GuardError(f"{what} of shape {tensor.shape} needs {needed} bytes, but has {len(tensor.raw)}")
    elif tensor.dtype in (21, 22):
        raise GuardError(f"{what} of 4-bit numbers must be stored as raw bytes")
    elif declared != count:
        raise GuardError(f"{what} of shape {tensor.shape} needs {declared} values, but has {count}")


def _check_sizes(nodes: list[_Node], tensors: dict[str, _Tensor], inputs: set[str], where: str) -> None:
    """What says how large a result is must be small constants, or lengths of arrays that are there."""
    makers = {output: node for node in nodes for output in node.outputs if output}
    constants = {name: tensor.values() for name, tensor in tensors.items() if name not in inputs}
    for node in nodes:
        if node.operator == "Constant" and node.tensor is not None and node.outputs:
            constants[node.outputs[0]] = node.tensor.values()
    for node in nodes:
        for index in SIZED.get(node.operator, ()):
            if index < len(node.inputs) and node.inputs[index]:
                _check_size(node, index, makers, constants, tensors, where)


def _check_size(
    node: _Node,
    index: int,
    makers: dict[str, _Node],
    constants: dict[str, list[int] | None],
    tensors: dict[str, _Tensor],
    where: str,
) -> None:
    what = f"{where}: {node.operator}: how large its result is"
    waiting, seen, product = [node.inputs[index]], set(), 1
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in constants:
            product *= _bounded(constants[name], tensors.get(name), what)
            if product > LARGEST_PRODUCT:
                raise GuardError(f"{what} must be at most {LARGEST_PRODUCT:,}, but is more")
            continue
        maker = makers.get(name)
        if maker is None or maker.operator not in TRACED:
            maker_name = "an input" if maker is None else f"the operator {maker.operator}"
            raise GuardError(f"{what} must come from constants and lengths of arrays, but comes from {maker_name}")
        if maker.operator != "Shape":
            waiting += [item for item in maker.inputs if item]


def _bounded(values: list[int] | None, tensor: _Tensor | None, what: str) -> int:
    """The product of small whole numbers; of a scale, which is a float, the number itself."""
    if values is None:
        values = _scales(tensor, what)
    if any(abs(value) > LARGEST_SIZE for value in values):
        raise GuardError(f"{what} must be numbers of at most {LARGEST_SIZE:,}, but one is larger")
    return math.prod(max(1, abs(value)) for value in values)


def _scales(tensor: _Tensor | None, what: str) -> list[int]:
    if tensor is None or tensor.dtype != 1 or tensor.raw is None or math.prod(tensor.shape) > 64:
        raise GuardError(f"{what} must be at most 64 whole numbers or float32 scales")
    found = struct.unpack(f"<{len(tensor.raw) // 4}f", tensor.raw)
    if not all(math.isfinite(value) and abs(value) <= LARGEST_SIZE for value in found):
        raise GuardError(f"{what} must be finite and small")
    return [math.ceil(abs(value)) for value in found]


def _value(message: memoryview, where: str) -> str:
    """The name of an input, an output or a value between; its type must be that of a tensor."""
    found = ""
    for name, value in _known(message, VALUE, f"{where}: value"):
        if name == "name":
            found = _text(value, where)
        elif name == "type":
            _check_type(_bytes(value, where), where)
    return found


def _check_type(message: memoryview, where: str) -> None:
    for name, value in _known(message, TYPE, f"{where}: type"):
        if name != "tensor":
            continue
        for inner, part in _known(_bytes(value, where), TENSOR_TYPE, f"{where}: type"):
            if inner != "shape":
                continue
            for _, dimension in _known(_bytes(part, where), SHAPE, f"{where}: shape"):
                list(_known(_bytes(dimension, where), DIMENSION, f"{where}: shape"))


def _known(message: memoryview, names: dict[int, str], where: str) -> Iterable[tuple[str, int | memoryview]]:
    seen: set[str] = set()
    for number, _, value in fields(message, where):
        name = names.get(number, f"{_NOT}the unknown field {number}")
        if name.startswith(_NOT):
            raise GuardError(f"{where}: must hold arithmetic and its weights only, but holds {name.removeprefix(_NOT)}")
        if name in seen and name not in REPEATED:
            raise GuardError(f"{where}: holds its {name} twice, so it has two meanings")
        seen.add(name)
        if name in TEXTS:
            _text(value, where)
        elif name == "metadata":
            list(_known(_bytes(value, where), ENTRY, f"{where}: metadata"))
        yield name, value


def _bytes(value: int | memoryview, where: str) -> memoryview:
    return value if isinstance(value, memoryview) else _wrong(where)


def _text(value: int | memoryview, where: str) -> str:
    try:
        return str(_bytes(value, where), "utf-8")
    except UnicodeDecodeError:
        _wrong(where)


def _wrong(where: str) -> NoReturn:
    raise GuardError(f"{where}: must be an ONNX model, but one of its fields has another type")
