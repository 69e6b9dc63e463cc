"""An artefact as a model to serve."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualml.artefact import Artefact
from dualml.data.categories import Categories, TableEncoding
from dualml.data.normalisation import Normalisation
from dualml.data.vocabulary import TextEncoding
from dualml.errors import ServingError
from dualml.serving.model import Arrays, Model
from dualml.serving.page.needs import page_needs
from dualml.serving.tensors import BYTES, NUMPY_TYPES, Tensor, datatype_of


def from_artefact(artefact: Artefact, *, name: str | None = None, version: str = "1") -> Model:
    """A model that answers like ``dualml predict`` does.

    Args:
        artefact: One that was opened and so checked.
        name: What clients call it; left out, the artefact's own name.
        version: What clients see as its version.

    Raises:
        ServingError: The name or version cannot stand in an address.
        ArtefactError: ONNX Runtime cannot load it.
    """
    from dualml.artefact.manifest import is_model_name

    manifest = artefact.manifest
    name = manifest.name if name is None else name
    for what, value in (("name", name), ("version", version)):
        if not is_model_name(value):
            raise ServingError(f"the {what} must be letters, digits, dots, dashes and underscores, but is {value!r}")
    session = artefact.open_session(threads=1)  # the engine's own threads are what uses several cores
    outputs = tuple(Tensor(item.name, datatype_of(np.dtype(item.dtype)), item.shape) for item in manifest.outputs)
    classes = {item.name: names for item in manifest.outputs if (names := manifest.names_of_classes(item.name))}
    inputs = _inputs(artefact)
    return Model(
        name=name,
        version=version,
        inputs=inputs,
        outputs=outputs,
        prepare=_Prepare(artefact),
        run=session.run,
        example={item.name: _example(item) for item in inputs},
        class_names=classes,
        batch_invariant=manifest.batch_invariant,
        page=page_needs(artefact),
    )


def _inputs(artefact: Artefact) -> tuple[Tensor, ...]:
    """What clients send: arrays; texts or the columns of a table for a model that was trained on those."""
    encoding = artefact.preparation.encoding
    given = artefact.manifest.inputs
    if isinstance(encoding, TextEncoding):
        return (Tensor(given[0].name, BYTES, ()),)
    if isinstance(encoding, TableEncoding):
        return tuple(Tensor(name, _column_datatype(encoding, name), ()) for name in encoding.columns)
    return tuple(Tensor(item.name, datatype_of(np.dtype(item.dtype)), item.shape) for item in given)


def _column_datatype(encoding: TableEncoding, name: str) -> str:
    """Texts for a column of categories that are values, numbers for all others."""
    uses = [item for items in encoding.inputs.values() for item in items]
    numbers = any(item == name if isinstance(item, str) else item.column == name and bool(item.edges) for item in uses)
    categories = any(isinstance(item, Categories) and item.column == name for item in uses)
    return BYTES if categories and not numbers else "FP64"


def _example(tensor: Tensor) -> Any:
    if tensor.datatype == BYTES:
        return np.array(["a"], dtype=object)
    return np.zeros((1, *tensor.shape), dtype=NUMPY_TYPES[tensor.datatype])


class _Prepare:
    """Raw examples to what the engine takes."""

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact
        given, preparation = artefact.manifest.inputs, artefact.preparation
        self._single = len(given) == 1 and not isinstance(preparation.encoding, TableEncoding)
        self._as_sent = (  # shape, dtype and finite values were checked when the request was read
            self._single
            and preparation.encoding is None
            and isinstance(preparation.normalisation, Normalisation)
            and preparation.normalisation.identity
            and given[0].dtype != "int64"
        )

    def __call__(self, inputs: Arrays) -> Arrays:
        if self._as_sent:
            return {name: array if array.flags.aligned else array.copy() for name, array in inputs.items()}
        return self._artefact.prepare(next(iter(inputs.values())) if self._single else inputs)
