"""The predict request of TensorFlow Serving's REST interface, for clients written for it: rows or columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from dualml.serving.documents import decode
from dualml.serving.model import Arrays, Model
from dualml.serving.refusals import shown, wrong
from dualml.serving.tensors import SPACE, Tensor, check_rows, from_json

SIGNATURE = "serving_default"
_SHORT = 64
"""Bytes at the start of a JSON value that tell what it is."""


class PredictDocument(Struct, forbid_unknown_fields=True):
    """The body of a request."""

    instances: Raw | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    signature_name: str | UnsetType = UNSET


@dataclass(frozen=True)
class PredictRequest:
    """A request that fits the model.

    Attributes:
        inputs: Raw examples of each input.
        rows: How many.
        by_row: Whether the answer lists examples rather than outputs.
    """

    inputs: Arrays
    rows: int
    by_row: bool


_DECODER = msgspec.json.Decoder(PredictDocument)
_ROWS = msgspec.json.Decoder(list[dict[str, Raw]])
_COLUMNS = msgspec.json.Decoder(dict[str, Raw])


def read_predict(body: bytes, model: Model, most_rows: int) -> PredictRequest:
    """Read a request.

    Raises:
        RefusedError: It does not fit the interface or the model.
    """
    document = decode(_DECODER, body)
    if not isinstance(document.signature_name, UnsetType) and document.signature_name != SIGNATURE:
        raise wrong(f"signature_name must be {SIGNATURE}, the only one, but is {shown(document.signature_name)}")
    by_row = not isinstance(document.instances, UnsetType)
    given = document.instances if by_row else document.inputs
    if isinstance(given, UnsetType) or (by_row and not isinstance(document.inputs, UnsetType)):
        raise wrong("the body must have either instances (a list of examples) or inputs (an array for each input)")
    if _is_empty(given):
        check_rows(0, most_rows)
    columns = _from_rows(given, model) if by_row else _from_columns(given, model)
    arrays = {item.name: from_json(columns[item.name], item, None, most_rows) for item in model.inputs}
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise wrong("inputs must all hold as many examples")
    check_rows(min(counts), most_rows)
    return PredictRequest(arrays, min(counts), by_row)


def _is_empty(given: Raw) -> bool:
    return len(memoryview(given)) < _SHORT and bytes(given).translate(None, SPACE) == b"[]"


def _from_columns(given: Raw, model: Model) -> dict[str, Raw]:
    if bytes(memoryview(given)[:1]) != b"{":
        return {_only(model).name: given}
    columns = decode(_COLUMNS, memoryview(given))
    _check_names(columns, model)
    return columns


def _from_rows(given: Raw, model: Model) -> dict[str, Raw]:
    start = bytes(memoryview(given)[:_SHORT]).translate(None, SPACE)
    if not start.startswith(b"[{"):
        return {_only(model).name: given}
    rows = decode(_ROWS, memoryview(given))
    for row in rows:
        _check_names(row, model)
    return {item.name: Raw(b"[" + b",".join(bytes(row[item.name]) for row in rows) + b"]") for item in model.inputs}


def _only(model: Model) -> Tensor:
    if len(model.inputs) > 1:
        names = ", ".join(item.name for item in model.inputs)
        raise wrong(f"the model has several inputs, so name each: {names}")
    return model.inputs[0]


def _check_names(given: dict[str, Raw], model: Model) -> None:
    names = [item.name for item in model.inputs]
    if set(given) != set(names):
        found = ", ".join(shown(name) for name in list(given)[:8]) or "none"
        raise wrong(f"inputs must be those of the model, {', '.join(names)}, but are {found}")


def write_predictions(request: PredictRequest, outputs: Arrays) -> bytes:
    """The answer: a list of examples or, to columns, the outputs."""
    if not request.by_row:
        values: Any = {name: array.tolist() for name, array in outputs.items()}
        return msgspec.json.encode({"outputs": next(iter(values.values())) if len(values) == 1 else values})
    lists = {name: array.tolist() for name, array in outputs.items()}
    if len(lists) == 1:
        return msgspec.json.encode({"predictions": next(iter(lists.values()))})
    rows = [{name: lists[name][row] for name in lists} for row in range(request.rows)]
    return msgspec.json.encode({"predictions": rows})
