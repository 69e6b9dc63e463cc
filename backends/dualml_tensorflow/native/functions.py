"""Operations of TensorFlow that no known layer did (``tf.nn.relu``, ``x + y``, ``keras.ops.reshape``) as calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute

from dualml.native.protocol import OPAQUE
from dualml_tensorflow.native.operations import READERS, Operation, Read
from dualml_tensorflow.native.trace import Reading, Recorder

_UNTRACED = frozenset({"Shape", "ShapeN", "Size", "Rank", "Assert", "NoOp", "ZerosLike", "OnesLike"})
"""Operations whose results depend on no value of their inputs."""


def observe(
    recorder: Recorder, kind: str, inputs: Sequence[Any], attributes: Sequence[Any], outputs: Sequence[Any]
) -> None:
    """Enter an executed operation, unless it has nothing to do with a value or a weight.

    Args:
        recorder: Of the pass.
        kind: TensorFlow's name of the operation.
        inputs: Its inputs, resources among them.
        attributes: Names and values in turn.
        outputs: Its results.
    """
    if kind in _UNTRACED or not outputs:
        return
    named = dict(zip(attributes[::2], attributes[1::2], strict=True))
    if kind == "ReadVariableOp":
        name = recorder.variables.get(id(inputs[0]))
        if name is not None:
            recorder.mark_weight(outputs[0], name)
        return
    for tensor in inputs:  # operations on a variable itself take its handle
        if id(tensor) in recorder.variables:
            recorder.mark_weight(tensor, recorder.variables[id(tensor)])
    values = [place for place, tensor in enumerate(inputs) if recorder.known(tensor)]
    weights = [place for place, tensor in enumerate(inputs) if id(tensor) in recorder.weights]
    if not values and not weights:
        return
    operation = Operation(recorder, kind, inputs, named, outputs)
    if not values and _of_weight(operation):
        return
    reader = READERS.get(kind)
    read = reader(operation) if reader is not None else None
    if read is None:
        names = {f"weight_{place}": recorder.weights[id(inputs[place])] for place in weights}
        read = Read(OPAQUE, {}, tuple(values), names)
    name = recorder.local(read.name or _snake(kind))
    reading = Reading(
        kind=read.kind,
        settings=read.settings,
        inputs=[inputs[place] for place in read.inputs],
        replay=_replay(operation, read.inputs, attributes),
        channels_first=read.channels_first,
        weights=read.weights,
        native=f"tf.raw_ops.{kind}",
        code=f"tf.raw_ops.{kind}",
    )
    recorder.record(name, reading, outputs)


def _of_weight(operation: Operation) -> bool:
    """Whether an operation gives a weight as it stands or transposed; then its result is marked as that."""
    recorder, result = operation.recorder, operation.outputs[0]
    name = recorder.weights.get(id(operation.inputs[0]))
    if name is None:
        return False
    turned = id(operation.inputs[0]) in recorder.transposed
    if operation.kind == "Identity":
        recorder.mark_weight(result, name, transposed=turned)
        return True
    shaped = operation.kind in {"Reshape", "Squeeze", "ExpandDims"} and not turned
    if shaped and _without_leading(result.shape) == _without_leading(recorder.native_shape(name)):
        recorder.mark_weight(result, name)
        return True
    if operation.kind == "Transpose" and list(operation.constant(1)) == [1, 0]:
        recorder.mark_weight(result, name, transposed=not turned)
        return True
    return False


def _without_leading(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of size 1 before the first other one: broadcasting adds these itself."""
    wide = [axis for axis, size in enumerate(shape) if size != 1]
    return tuple(shape[wide[0] :]) if wide else ()


def _replay(operation: Operation, places: Sequence[int], attributes: Sequence[Any]) -> Callable[..., Any]:
    """Do an operation again with other values and the weights as they then are."""
    count, kind, recorder = len(operation.outputs), operation.kind, operation.recorder
    names = {
        place: recorder.weights[id(tensor)]
        for place, tensor in enumerate(operation.inputs)
        if id(tensor) in recorder.weights and tensor.dtype != tf.resource
    }
    turned = {place for place in names if id(operation.inputs[place]) in recorder.transposed}
    given = {*places, *names}  # what is known elsewhere need not be kept
    held = [None if place in given else tensor for place, tensor in enumerate(operation.inputs)]
    shapes = {place: tuple(operation.inputs[place].shape) for place in names}
    current = recorder.current

    def replay(inputs: Sequence[Any], *_: Any) -> Any:
        tensors = list(held)
        for place, name in names.items():
            weight = current(name)
            tensors[place] = tf.transpose(weight) if place in turned else tf.reshape(weight, shapes[place])
        for place, tensor in zip(places, inputs, strict=True):
            tensors[place] = tensor
        return execute.execute(kind.encode(), count, tensors, tuple(attributes), context.context())

    return replay


def _snake(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.removesuffix("V2")).lower()
