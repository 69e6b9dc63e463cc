"""Tensors of the Open Inference Protocol: datatypes, JSON values and binary values to NumPy arrays and back."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dualml.serving.refusals import RefusedError, shown, wrong

BYTES = "BYTES"
NUMPY_TYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""NumPy's type for each datatype of the protocol but ``BYTES``; on the wire they are little-endian."""
_DATATYPES = {dtype: name for name, dtype in NUMPY_TYPES.items()}
_VALUES: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}
SPACE = b" \t\r\n"
"""What JSON takes for white space."""
_LONG = 32
"""Bytes: no usual number is longer in JSON."""
_PEEK = 64
"""Bytes at the start of a JSON array that tell how deep it is: more brackets than an array has axes."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model as clients see it.

    Attributes:
        name: Its name.
        datatype: Of the protocol, for example ``FP32``.
        shape: Shape of one example; the first axis of a request's array counts examples.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        """As the protocol's metadata lists it; -1 is the number of examples."""
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.shape]}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's datatype of a NumPy type; texts are ``BYTES``."""
    return _DATATYPES.get(dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype, BYTES)


@cache
def _decoder(kind: type, depth: int) -> msgspec.json.Decoder[Any]:
    wanted: Any = kind
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)


def element_type(tensor: Tensor) -> type:
    """What a JSON value of the tensor must be: a float takes whole numbers too, none takes another's."""
    return str if tensor.datatype == BYTES else _VALUES[NUMPY_TYPES[tensor.datatype].kind]


def depth_of(raw: msgspec.Raw) -> int:
    """How many brackets a JSON value begins with."""
    head = bytes(memoryview(raw)[:_PEEK]).translate(None, SPACE)
    return len(head) - len(head.lstrip(b"["))


def from_json(raw: msgspec.Raw, tensor: Tensor, shape: tuple[int, ...] | None, most_rows: int) -> NDArray[Any]:
    """The array of a JSON value.

    Args:
        raw: Bytes of the value.
        tensor: What is wanted.
        shape: What the request declares, in which case the values may be one flat list; ``None`` takes the
            shape from nested lists.
        most_rows: Most examples in it.

    Returns:
        Shape ``(n, *tensor.shape)``, dtype of the tensor's datatype; texts as objects.

    Raises:
        RefusedError: The values are of another type, shape or number, or not finite.
    """
    axes = 1 + len(tensor.shape)
    depth = depth_of(raw)
    if depth != axes and (shape is None or depth != 1):
        flat = "one flat list or " if shape is not None else ""
        raise wrong(f"input {shown(tensor.name)}: data must be {flat}lists nested {axes} deep, but it is {depth} deep")
    most = most_rows * math.prod(tensor.shape) if shape is None else math.prod(shape)
    if tensor.datatype != BYTES and len(memoryview(raw)) > _LONG * most:
        # A list of millions of numbers is not made only to find that they are too many.
        count = 1 + bytes(raw).count(b",")
        if count > most:
            raise too_many(most_rows) if shape is None else _other_number(tensor, shape, count)
    try:
        values = _decoder(element_type(tensor), depth).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong(f"input {shown(tensor.name)}: data: {error}") from None
    array = _as_array(values, tensor, depth)
    if shape is None:
        return check_shape(array, tensor)
    if depth == 1 and axes > 1:
        if array.size != math.prod(shape):
            raise _other_number(tensor, shape, array.size)
        return array.reshape(shape)
    if array.shape != shape:
        raise wrong(
            f"input {shown(tensor.name)}: data has the shape {list(array.shape)}, but {list(shape)} is declared"
        )
    return array


def _other_number(tensor: Tensor, shape: tuple[int, ...], found: int) -> RefusedError:
    return wrong(
        f"input {shown(tensor.name)}: data must hold {math.prod(shape)} values for the shape {list(shape)}, "
        f"but holds {found}"
    )


def _as_array(values: Any, tensor: Tensor, depth: int) -> NDArray[Any]:
    if tensor.datatype == BYTES:
        array: NDArray[Any] = np.array(values, dtype=object)
        if array.ndim != depth:
            raise wrong(f"input {shown(tensor.name)}: data must be lists of equal length")
        return array
    dtype = NUMPY_TYPES[tensor.datatype]
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused below
            array = np.array(values, dtype=dtype)
    except OverflowError:
        raise wrong(f"input {shown(tensor.name)}: data holds a number beyond {tensor.datatype}") from None
    except ValueError:
        raise wrong(f"input {shown(tensor.name)}: data must be lists of equal length") from None
    return check_finite(array, tensor)


def from_binary(data: memoryview, tensor: Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array of binary values: little-endian, row-major; a text is its length in four bytes, then UTF-8.

    Raises:
        RefusedError: There are more or fewer bytes than the shape needs, or values are not finite.
    """
    if tensor.datatype == BYTES:
        return np.array(_texts(data, tensor, math.prod(shape)), dtype=object).reshape(shape)
    dtype = NUMPY_TYPES[tensor.datatype]
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise wrong(
            f"input {shown(tensor.name)}: {needed} bytes of binary data are needed for the shape {list(shape)} of "
            f"{tensor.datatype}, but there are {len(data)}"
        )
    if dtype.kind == "b" and not (np.frombuffer(data, dtype="u1") <= 1).all():
        raise wrong(f"input {shown(tensor.name)}: a BOOL must be the byte 0 or 1")
    return check_finite(np.frombuffer(data, dtype=dtype).reshape(shape), tensor)


def _texts(data: memoryview, tensor: Tensor, count: int) -> list[str]:
    texts: list[str] = []
    place = 0
    while place < len(data) and len(texts) < count:
        if len(data) - place < 4:
            break
        (length,) = struct.unpack_from("<I", data, place)
        place += 4
        if length > len(data) - place:
            raise wrong(f"input {shown(tensor.name)}: a text of {length} bytes does not end within the binary data")
        try:
            texts.append(str(data[place : place + length], "utf-8"))
        except UnicodeDecodeError:
            raise wrong(f"input {shown(tensor.name)}: texts must be UTF-8") from None
        place += length
    if len(texts) != count or place != len(data):
        raise wrong(f"input {shown(tensor.name)}: the binary data must hold exactly {count} texts")
    return texts


def check_finite(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """The array itself.

    Raises:
        RefusedError: It holds NaN or infinity.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise wrong(
            f"input {shown(tensor.name)}: values must be finite in {tensor.datatype}, but one is NaN or infinite"
        )
    return array


def check_shape(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """The array itself.

    Raises:
        RefusedError: Its examples have another shape.
    """
    if array.shape[1:] != tensor.shape:
        raise wrong(
            f"input {shown(tensor.name)}: each example must have the shape {list(tensor.shape)}, but has "
            f"{list(array.shape[1:])}"
        )
    return array


def check_rows(rows: int, most: int) -> None:
    """Refuse a request without examples, or with more than the server takes at once.

    Raises:
        RefusedError: 400 for none, 413 for too many.
    """
    if rows < 1:
        raise wrong("a request must hold at least one example, but holds none")
    if rows > most:
        raise too_many(most)


def too_many(most: int) -> RefusedError:
    """More examples than the server takes at once: status 413."""
    return RefusedError(413, f"a request may hold {most} examples, but holds more; send them in several requests")


def to_binary(array: NDArray[Any]) -> bytes:
    """The bytes of an array as the protocol sends them."""
    return np.ascontiguousarray(array, dtype=NUMPY_TYPES[datatype_of(array.dtype)]).tobytes()
