"""Embeddings of whole numbers and of positions, and masks made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from onnx import helper

from dualml.export.onnx.writer import Emit, Site, Value


def _embedding(site: Site) -> Value:
    y = site.op("Gather", site.required("table"), site.input(), axis=0)
    return Value(site.op("Mul", y, site.number(math.sqrt(site.settings.units))) if site.settings.scale else y)


def _position_embedding(site: Site) -> Value:
    length = site.node.input_shapes[0][0]
    rows = site.required("positions", lambda table: table[:length], "used")
    return Value(site.op("Add", site.input(), rows))


def _position_encoding(site: Site) -> Value:
    return Value(site.op("Add", site.input(), site.number(site.settings.encoding(*site.node.input_shapes[0]))))


def _padding_mask(site: Site) -> Value:
    kept = site.op("Not", site.op("Equal", site.input(), site.whole(site.settings.index)))
    return Value(site.op("Cast", kept, to=helper.np_dtype_to_tensor_dtype(np.dtype(site.precision))))


EMITTERS: Mapping[str, Emit] = {
    "embedding": _embedding,
    "position_embedding": _position_embedding,
    "position_encoding": _position_encoding,
    "padding_mask": _padding_mask,
}
"""By ``Node.operation``."""
