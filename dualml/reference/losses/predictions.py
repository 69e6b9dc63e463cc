"""What a model predicts from its outputs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from dualml.protocol import Array
from dualml.reference.activations import ACTIVATIONS, sigmoid
from dualml.reference.rounding import Float, double, underflow_unit
from dualml.reference.softmax import SOFTMAX, softmax

Prediction = Literal["softmax", "sigmoid", "identity"]


def predictions(kind: Prediction, outputs: Array) -> Float:
    """The outputs' softmax over the last axis, their sigmoid, or themselves; float64."""
    if kind == "sigmoid":
        return sigmoid(double(outputs))
    return softmax(double(outputs)) if kind == "softmax" else double(outputs).copy()


def predictions_bound(kind: Prediction, outputs: Array, unit: float) -> Float:
    """Bound on the rounding error of ``predictions``, of the outputs' shape, float64."""
    if kind == "softmax":
        return SOFTMAX.value_bound(None, double(outputs), unit)
    if kind == "sigmoid":
        return ACTIVATIONS["sigmoid"].value_bound(None, double(outputs), unit)
    return np.full(np.shape(outputs), underflow_unit(unit))
