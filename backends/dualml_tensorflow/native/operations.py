"""Operations of TensorFlow in the terms of the spec: what ``AddV2`` means, or ``StridedSlice``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from dualml_tensorflow.native.activations import Function
from dualml_tensorflow.native.shapes import axis_setting
from dualml_tensorflow.native.trace import Recorder


@dataclass(frozen=True)
class Operation:
    """An operation that was executed.

    Attributes:
        recorder: Of the pass.
        kind: TensorFlow's name of it.
        inputs: Its inputs.
        attributes: By name.
        outputs: Its results.
    """

    recorder: Recorder
    kind: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]
    outputs: Sequence[Any]

    def weight(self, place: int) -> str | None:
        """Name of the weight that an input is, as it stands."""
        name = self.operand(place)
        same = name is not None and tuple(self.inputs[place].shape) == self.recorder.native_shape(name)
        return name if same or self.inputs[place].dtype == tf.resource else None

    def operand(self, place: int) -> str | None:
        """Name of the weight that an input is, as it stands or with axes of size 1 in front for broadcasting."""
        tensor = self.inputs[place]
        return None if id(tensor) in self.recorder.transposed else self.recorder.weights.get(id(tensor))

    def swapped(self, place: int) -> str | None:
        """Name of the weight that an input is the transpose of."""
        tensor = self.inputs[place]
        return self.recorder.weights.get(id(tensor)) if id(tensor) in self.recorder.transposed else None

    def known(self, place: int) -> bool:
        """Whether an input is a value of the trace."""
        return self.recorder.known(self.inputs[place])

    def constant(self, place: int) -> Any:
        """An input's numbers, which come from no value."""
        return self.inputs[place].numpy()

    @property
    def rank(self) -> int:
        """Number of axes of the first input."""
        return len(self.inputs[0].shape)

    @property
    def first(self) -> bool:
        """Whether channels are behind the batch."""
        found = self.attributes.get("data_format", b"")
        return (found if isinstance(found, str) else found.decode()).startswith("NC")


@dataclass(frozen=True)
class Read:
    """An operation in the terms of the spec.

    Attributes:
        kind: Of the spec's layer.
        settings: All of them.
        inputs: Places of the inputs it reads.
        weights: Role to name.
        channels_first: As ``Call.channels_first``.
        name: What it is called; empty: after the operation.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = (0,)
    weights: Mapping[str, str] = field(default_factory=dict)
    channels_first: bool | None = None
    name: str = ""


def _function(function: Function) -> Callable[[Operation], Read | None]:
    return lambda _: Read("activation", {"function": function}, name=next(iter(function)))


def _leaky(operation: Operation) -> Read:
    slope = float(np.format_float_positional(np.float32(operation.attributes["alpha"])))
    return Read("activation", {"function": {"leaky_relu": {"negative_slope": slope}}})


def _arithmetic(kind: str) -> Callable[[Operation], Read | None]:
    """``add``, ``subtract``, ``multiply`` of two values, or of a value and a weight or a constant."""

    def read(operation: Operation) -> Read | None:
        for value, other in ((0, 1), (1, 0)):
            weight = operation.operand(other)
            if weight is not None and operation.known(value) and (kind != "subtract" or other == 1):
                return Read(kind, inputs=(value,), weights={"operand": weight})
        weights = operation.recorder.weights
        return None if any(id(item) in weights for item in operation.inputs) else _two(kind)

    return read


def _two(kind: str) -> Read:
    settings = {"ties": "first"} if kind in {"maximum", "minimum"} else {}
    return Read(kind, settings, inputs=(0, 1))


def _bias_add(operation: Operation) -> Read | None:
    weight = operation.operand(1)
    if weight is None or (operation.first and operation.rank > 2):
        return None
    return Read("add", weights={"operand": weight}, name="bias_add")


def _matmul(operation: Operation) -> Read | None:
    """A value times a weight on its last axis."""
    flags = operation.attributes
    left = flags.get("transpose_a") or flags.get("adj_x")
    right = bool(flags.get("transpose_b") or flags.get("adj_y"))
    if left or len(operation.inputs[1].shape) != 2 or not operation.known(0):
        return None
    straight, swapped = (operation.weight(1), operation.swapped(1))
    if right:
        straight, swapped = swapped, straight
    units = operation.outputs[0].shape[-1]
    if straight is not None:
        return Read("dense", {"units": units, "bias": False}, weights={"kernel": straight}, name="matmul")
    if swapped is not None:
        return Read("tied_dense", {"bias": False}, weights={"kernel": swapped}, name="matmul")
    return None


def _spatial(operation: Operation, name: str) -> tuple[int, ...]:
    values = tuple(int(item) for item in operation.attributes[name])
    return values[2:] if operation.first else values[1:-1]


def _padding(operation: Operation) -> Any:
    found = operation.attributes["padding"]
    found = found if isinstance(found, str) else found.decode()
    if found != "EXPLICIT":
        return found.lower()
    flat = [int(item) for item in operation.attributes["explicit_paddings"]]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return tuple(pairs[2:] if operation.first else pairs[1:-1])


def _convolution(operation: Operation) -> Read | None:
    weight = operation.weight(1)
    if weight is None:
        return None
    kernel = tuple(operation.inputs[1].shape)
    rank = len(kernel) - 2
    channels = operation.inputs[0].shape[1 if operation.first else -1]
    settings = {
        "kernel_size": kernel[:rank],
        "stride": _spatial(operation, "strides"),
        "dilation": _spatial(operation, "dilations"),
        "padding": _padding(operation),
        "padding_mode": "zeros",
        "bias": False,
    }
    if operation.kind.startswith("Depthwise"):
        settings |= {"multiplier": kernel[-1], "fans": "kernel"}
        kind = "depthwise_conv2d"
    else:
        settings |= {"filters": kernel[-1], "groups": channels // kernel[-2]}
        kind = f"conv{rank}d"
    return Read(kind, settings, weights={"kernel": weight}, channels_first=operation.first, name="conv")


def _pool(kind: str) -> Callable[[Operation], Read | None]:
    def read(operation: Operation) -> Read | None:
        settings: dict[str, Any] = {
            "size": _spatial(operation, "ksize"),
            "stride": _spatial(operation, "strides"),
            "padding": _padding(operation),
            "ceil_mode": False,
        }
        settings |= {"dilation": 1} if kind == "max" else {"count_padding": False}
        rank = operation.rank - 2
        return Read(f"{kind}_pool{rank}d", settings, channels_first=operation.first, name=f"{kind}_pool")

    return read


def _reshape(_: Operation) -> Read | None:
    return Read("reshape")


def _transpose(operation: Operation) -> Read | None:
    return Read("permute", {"axes": [int(axis) for axis in operation.constant(1)]}, name="transpose")


def _concat(operation: Operation) -> Read | None:
    axis = axis_setting(int(operation.constant(len(operation.inputs) - 1)), operation.rank)
    return Read("concat", {"axis": axis}, inputs=tuple(range(len(operation.inputs) - 1)), name="concat")


def _reduced(kind: str) -> Callable[[Operation], Read | None]:
    """A mean or maximum over all axes between the batch and the channels is a global pool."""

    def read(operation: Operation) -> Read | None:
        rank = operation.rank
        axes = sorted(int(axis) % rank for axis in np.ravel(operation.constant(1)))
        places = {tuple(range(1, rank - 1)): False, tuple(range(2, rank)): True}
        first = places.get(tuple(axes)) if rank > 2 else None
        if first is None:
            return None
        settings: dict[str, Any] = {"keep_axes": bool(operation.attributes["keep_dims"])}
        settings |= {"ties": "even"} if kind == "max" else {}
        return Read(f"global_{kind}_pool", settings, channels_first=first, name=f"reduce_{kind}")

    return read


def _softmax(kind: str) -> Callable[[Operation], Read | None]:
    return lambda _: Read("activation", {"function": {kind: {"axis": -1}}}, name=kind)


def _slice(operation: Operation) -> Read | None:
    """``x[:, 0]`` and ``x[:, a:b]``: one position or a part of one axis."""
    flags = operation.attributes
    if flags["ellipsis_mask"] or flags["new_axis_mask"]:
        return None
    begin, end, step = (operation.constant(place) for place in (1, 2, 3))
    shape = tuple(operation.inputs[0].shape)
    changed = []
    for axis in range(len(begin)):
        bit = 1 << axis
        if flags["shrink_axis_mask"] & bit:
            changed.append(("select", axis, {"index": int(begin[axis])}))
            continue
        start = None if flags["begin_mask"] & bit else int(begin[axis])
        stop = None if flags["end_mask"] & bit else int(end[axis])
        kept = range(*slice(start, stop, int(step[axis])).indices(shape[axis]))
        if kept != range(shape[axis]):
            changed.append(("slice", axis, {"start": kept.start, "stop": kept.stop, "step": kept.step}))
    if not changed:
        return Read("identity")
    if len(changed) > 1 or changed[0][1] == 0:
        return None
    kind, axis, settings = changed[0]
    if kind == "slice" and settings["step"] < 1:
        return None
    return Read(kind, {**settings, "axis": axis_setting(axis, len(shape))}, name="getitem")


def _gather(operation: Operation) -> Read | None:
    """Rows of a table that is a weight."""
    table = operation.weight(0)
    if table is None or not operation.known(1):
        return None
    rows, units = operation.inputs[0].shape
    settings = {"vocabulary": rows, "units": units, "padding_index": None, "scale": False}
    return Read("embedding", settings, inputs=(1,), weights={"table": table}, name="gather")


def _not_equal(operation: Operation) -> Read | None:
    """Ids that are not the padding's."""
    ids, other = operation.inputs[0], operation.inputs[1]
    if operation.known(1) or not ids.dtype.is_integer or len(other.shape):
        return None
    return Read("padding_mask", {"index": int(operation.constant(1))})


def _einsum(operation: Operation) -> Read | None:
    """A value times a weight on its last axis, ``...a,ab->...b``."""
    equation = operation.attributes["equation"]
    equation = equation if isinstance(equation, str) else equation.decode()
    terms, _, result = equation.replace(" ", "").partition("->")
    left, _, right = terms.partition(",")
    weight = operation.weight(1) if len(operation.inputs) == 2 else None
    if weight is None or len(right) != 2 or left[-1:] != right[:1] or result != left[:-1] + right[1]:
        return None
    units = operation.outputs[0].shape[-1]
    return Read("dense", {"units": units, "bias": False}, weights={"kernel": weight}, name="einsum")


READERS: Mapping[str, Callable[[Operation], Read | None]] = {
    "Relu": _function({"relu": {}}),
    "Relu6": _function({"relu6": {}}),
    "Elu": _function({"elu": {"alpha": 1.0}}),
    "Selu": _function({"selu": {}}),
    "LeakyRelu": _leaky,
    "Tanh": _function({"tanh": {}}),
    "Sigmoid": _function({"sigmoid": {}}),
    "Softplus": _function({"softplus": {"beta": 1.0, "threshold": "none"}}),
    "Softsign": _function({"softsign": {}}),
    "Exp": _function({"exponential": {}}),
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "AddV2": _arithmetic("add"),
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("subtract"),
    "Mul": _arithmetic("multiply"),
    "Maximum": lambda _: _two("maximum"),
    "Minimum": lambda _: _two("minimum"),
    "BiasAdd": _bias_add,
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "MaxPool": _pool("max"),
    "MaxPool3D": _pool("max"),
    "AvgPool": _pool("average"),
    "AvgPool3D": _pool("average"),
    "Mean": _reduced("average"),
    "Max": _reduced("max"),
    "Reshape": _reshape,
    "ExpandDims": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "ConcatV2": _concat,
    "StridedSlice": _slice,
    "ResourceGather": _gather,
    "GatherV2": _gather,
    "NotEqual": _not_equal,
    "Einsum": _einsum,
    "Identity": lambda _: Read("identity"),
}
"""For each operation what it means; ``None``: nothing of the catalogue, it is opaque."""
