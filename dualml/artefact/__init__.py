"""Artefacts: a trained model as one folder that is predicted with and served without either framework.

``model.safetensors`` (the weights, neutral names), ``spec.json`` (the resolved spec), ``model.onnx`` (both, for ONNX
Runtime) and ``manifest.json`` (what they are, and the digest of each). Equal weights give equal files, whichever
backend trained them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dualml.artefact.manifest import FORMAT, MANIFEST, MODEL, ONNX, SPEC, InputInfo, Manifest, OutputInfo
from dualml.artefact.open import Artefact, is_artefact, open_artefact
from dualml.errors import ArtefactError

if TYPE_CHECKING:
    from dualml.artefact.creation import create
    from dualml.artefact.verification import verify

__all__ = [
    "FORMAT",
    "MANIFEST",
    "MODEL",
    "ONNX",
    "SPEC",
    "Artefact",
    "ArtefactError",
    "InputInfo",
    "Manifest",
    "OutputInfo",
    "create",
    "is_artefact",
    "open_artefact",
    "verify",
]

_HOMES = {"create": "dualml.artefact.creation", "verify": "dualml.artefact.verification"}
"""What needs the spec, and is imported when it is used; what predicts and serves does without."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
