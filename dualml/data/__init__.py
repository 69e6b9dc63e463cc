"""Data: from the settings of a spec to checked, split and normalised NumPy arrays.

``load_data`` reads a source; the ``Dataset`` it returns holds up to three ``Split`` objects that give batches in
the model's shape and precision. Both backends are fed from it, so they see the same numbers in the same order.
"""

from __future__ import annotations

from dualml.data.dataset import Dataset, Split
from dualml.data.load import load_data
from dualml.data.normalisation import Normalisation

__all__ = ["Dataset", "Normalisation", "Split", "load_data"]
