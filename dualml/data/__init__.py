"""Data: from the settings of a spec to checked, split and normalised NumPy arrays.

``load_for`` reads a source for a model's ``Needs``; the ``Dataset`` it returns holds up to three ``Split`` objects that
give batches in the model's shapes and precision. Both backends are fed from it, so they see the same numbers in the
same order. A ``Preparation`` is what a run remembers, so that new examples are treated like those of the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualml.data.dataset import Dataset, Split
from dualml.data.needs import InputNeed, Needs, OutputNeed
from dualml.data.normalisation import Normalisation
from dualml.data.preparation import Preparation
from dualml.data.rows import SameAs

if TYPE_CHECKING:
    from dualml.data.load import load_for

__all__ = [
    "Dataset",
    "InputNeed",
    "Needs",
    "Normalisation",
    "OutputNeed",
    "Preparation",
    "SameAs",
    "Split",
    "load_for",
]


def __getattr__(name: str) -> Any:
    if name == "load_for":  # the sources need the spec's settings; what prepares new examples does not
        from dualml.data.load import load_for

        return load_for
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
