"""Keras' regularizers as penalties of what is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from dualml.native.protocol import ReadLoss
from dualml.spec.losses import Loss
from dualml.spec.objective import Objective, Term
from dualml.spec.regularizers import L1, L1L2, L2, Regularizer
from dualml_tensorflow.native.optimizers import literally
from dualml_tensorflow.native.weights import Held

OUTPUT = "output"
"""What a model's only output is called."""


def penalised(read: ReadLoss, model: Any, trained: Mapping[str, Held]) -> ReadLoss:
    """A loss with the penalties that Keras adds to it.

    They are stated only if they are all that the model adds: stock regularizers of weights, no ``add_loss`` and no
    activity regularizer.

    Args:
        read: The loss alone.
        model: The Keras model, called or not.
        trained: Its trained weights by name; Keras leaves the others' penalties out.
    """
    regularized = {
        name: item.variable.regularizer
        for name, item in trained.items()
        if getattr(item.variable, "regularizer", None) is not None
    }
    found = [_stated(regularizer, name) for name, regularizer in regularized.items()]
    stated = tuple(item for item in found if item is not None)
    added = len(list(getattr(model, "losses", ())))
    if not stated or not isinstance(read.minimised, Loss) or not len(found) == len(stated) == added:
        return read
    return replace(read, minimised=Objective((Term(OUTPUT, read.minimised),), stated))


def _stated(regularizer: Any, name: str) -> Regularizer | None:
    kind, scope = type(regularizer), literally(name)
    if kind is keras.regularizers.L2:
        return L2(float(regularizer.l2), scope=scope)
    if kind is keras.regularizers.L1:
        return L1(float(regularizer.l1), scope=scope)
    if kind is keras.regularizers.L1L2:
        return L1L2(l1=float(regularizer.l1), l2=float(regularizer.l2), scope=scope)
    return None
