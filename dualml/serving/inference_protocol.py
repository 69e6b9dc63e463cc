"""Inference requests and answers of the Open Inference Protocol, version 2, with its binary tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from numpy.typing import NDArray

from dualml.serving.documents import decode
from dualml.serving.model import Arrays, Model
from dualml.serving.refusals import shown, wrong
from dualml.serving.tensors import Tensor, check_rows, from_binary, from_json, to_binary

Parameters = dict[str, str | bool | int | float | None]
HEADER_LENGTH = b"inference-header-content-length"


class InputTensor(Struct, forbid_unknown_fields=True):
    """One tensor of a request."""

    name: str
    shape: list[Annotated[int, Meta(ge=0, le=2**31)]]
    datatype: str
    parameters: Parameters | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class OutputWish(Struct, forbid_unknown_fields=True):
    """An output that a request asks for."""

    name: str
    parameters: Parameters | UnsetType = UNSET


class InferenceDocument(Struct, forbid_unknown_fields=True):
    """The JSON part of a request."""

    inputs: list[InputTensor]
    id: str | UnsetType | None = UNSET
    parameters: Parameters | UnsetType | None = UNSET
    outputs: list[OutputWish] | UnsetType | None = UNSET


@dataclass(frozen=True)
class InferenceRequest:
    """A request that fits the model.

    Attributes:
        inputs: Raw examples of each input.
        rows: How many.
        outputs: Each output wanted, and whether as binary values.
        identifier: What the answer repeats.
    """

    inputs: Arrays
    rows: int
    outputs: Mapping[str, bool]
    identifier: str | None


_DECODER = msgspec.json.Decoder(InferenceDocument)


def read_request(body: bytes, header_length: bytes | None, model: Model, most_rows: int) -> InferenceRequest:
    """Read a request.

    Args:
        body: JSON, and after it binary values if there is a header length.
        header_length: Value of ``Inference-Header-Content-Length``, if it was sent.
        model: What it is for.
        most_rows: Most examples in it.

    Raises:
        RefusedError: It does not fit the protocol or the model.
    """
    end = len(body) if header_length is None else _header_length(header_length, len(body))
    document = decode(_DECODER, body if header_length is None else memoryview(body)[:end])
    tensors = _by_name([item.name for item in document.inputs], model.inputs, "input")
    rest = memoryview(body)[end:]
    arrays: Arrays = {}
    rows = None
    for given in document.inputs:
        tensor = tensors[given.name]
        shape = _checked_shape(given, tensor)
        if rows is None:
            rows = shape[0]
            check_rows(rows, most_rows)
        elif shape[0] != rows:
            raise wrong(
                f"inputs must all hold as many examples, but {given.name!r} holds {shape[0]} and another {rows}"
            )
        size = _binary_size(given)
        if size is None:
            assert not isinstance(given.data, UnsetType)  # _binary_size checks it
            arrays[given.name] = from_json(given.data, tensor, shape, most_rows)
            continue
        if size > len(rest):
            raise wrong(f"input {shown(given.name)}: binary_data_size is {size}, but {len(rest)} bytes are left")
        arrays[given.name] = from_binary(rest[:size], tensor, shape)
        rest = rest[size:]
    if len(rest):
        raise wrong(f"the body must end with the last input's binary data, but {len(rest)} bytes follow")
    if rows is None or len(arrays) < len(model.inputs):
        missing = ", ".join(item.name for item in model.inputs if item.name not in arrays)
        raise wrong(f"inputs must be all of the model's, but {missing} is missing")
    identifier = document.id if isinstance(document.id, str) else None
    return InferenceRequest(arrays, rows, _outputs(document, model), identifier)


def _header_length(value: bytes, body: int) -> int:
    if not (value.isdigit() and len(value) < 12 and int(value) <= body):
        raise wrong(f"Inference-Header-Content-Length must be a number of bytes from 0 to the body's {body}")
    return int(value)


def _by_name(names: Sequence[str], known: Sequence[Tensor], what: str) -> dict[str, Tensor]:
    tensors = {item.name: item for item in known}
    for name in names:
        if name not in tensors:
            raise wrong(f"there is no {what} {shown(name)}; the model has {', '.join(tensors)}")
    if len(set(names)) < len(names):
        raise wrong(f"each {what} must be named once, but one stands twice")
    return tensors


def _checked_shape(given: InputTensor, tensor: Tensor) -> tuple[int, ...]:
    if given.datatype != tensor.datatype:
        raise wrong(f"input {shown(given.name)}: datatype must be {tensor.datatype}, but is {shown(given.datatype)}")
    shape = tuple(given.shape)
    if len(shape) != 1 + len(tensor.shape) or shape[1:] != tensor.shape:
        wanted = [-1, *tensor.shape]
        raise wrong(
            f"input {shown(given.name)}: shape must be {wanted} with the number of examples for -1, but is "
            f"{list(shape)[:16]}"
        )
    return shape


def _binary_size(given: InputTensor) -> int | None:
    """Bytes of binary data; ``None`` if the values are in the document."""
    parameters = {} if isinstance(given.parameters, UnsetType) else given.parameters
    unknown = set(parameters) - {"binary_data_size"}
    if unknown:
        raise wrong(f"input {shown(given.name)}: parameter {shown(min(unknown))} is not supported")
    size = parameters.get("binary_data_size")
    if (size is None) == isinstance(given.data, UnsetType):
        raise wrong(f"input {shown(given.name)}: must have either data or the parameter binary_data_size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise wrong(f"input {shown(given.name)}: binary_data_size must be a number of bytes")
    return size


def _outputs(document: InferenceDocument, model: Model) -> dict[str, bool]:
    parameters = document.parameters if isinstance(document.parameters, dict) else {}
    binary = _flag(parameters, "binary_data_output", "parameters")
    wishes = document.outputs if isinstance(document.outputs, list) else []
    if not wishes:
        return {item.name: binary for item in model.outputs}
    _by_name([wish.name for wish in wishes], model.outputs, "output")
    wanted = {}
    for wish in wishes:
        given = {} if isinstance(wish.parameters, UnsetType) else wish.parameters
        unknown = set(given) - {"binary_data"}
        if unknown:
            raise wrong(f"output {shown(wish.name)}: parameter {shown(min(unknown))} is not supported")
        wanted[wish.name] = _flag(given, "binary_data", f"output {shown(wish.name)}") if given else binary
    return wanted


def _flag(parameters: Parameters, name: str, where: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise wrong(f"{where}: {name} must be true or false")
    return value


def write_answer(request: InferenceRequest, outputs: Arrays, model: Model) -> tuple[bytes, int | None]:
    """The answer to a request.

    Returns:
        The body, and the length of its JSON part if binary values follow.
    """
    described, binary = [], []
    for name, as_binary in request.outputs.items():
        array = outputs[name]
        entry: dict[str, Any] = {
            "name": name,
            "datatype": model.output(name).datatype,
            "shape": list(array.shape),
        }
        if as_binary:
            data = to_binary(array)
            binary.append(data)
            entry["parameters"] = {"binary_data_size": len(data)}
        else:
            entry["data"] = flat(array)
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.identifier is not None:
        answer["id"] = request.identifier
    document = msgspec.json.encode({**answer, "outputs": described})
    return (b"".join([document, *binary]), len(document)) if binary else (document, None)


def flat(array: NDArray[Any]) -> list[Any]:
    """Values row by row; a float32 becomes the float64 of the same value, so that no bit is lost in JSON."""
    values: list[Any] = np.reshape(array, math.prod(array.shape)).tolist()
    return values
