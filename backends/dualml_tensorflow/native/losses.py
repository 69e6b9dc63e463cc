"""Keras losses in the terms of the spec, and their values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.native.protocol import Precision, ReadLoss, Reduction
from dualml.spec import losses as spec
from dualml.spec.losses import Loss
from dualml_tensorflow.native import describing
from dualml_tensorflow.native.copies import copied

_K = keras.losses


def _sparse(given: Mapping[str, Any]) -> Loss:
    ignored = given.get("ignore_class")
    return spec.CrossEntropy(
        label_smoothing=0.0,
        ignore_index="none" if ignored is None else ignored,
        normalization="positions",
        weighted_smoothing="per_target",
    )


def _categorical(given: Mapping[str, Any]) -> Loss:
    return spec.SoftCrossEntropy(label_smoothing=float(given.get("label_smoothing", 0.0)))


def _binary(given: Mapping[str, Any]) -> Loss:
    return spec.BinaryCrossEntropy(label_smoothing=float(given.get("label_smoothing", 0.0)))


def _binary_focal(given: Mapping[str, Any]) -> Loss | None:
    if given.get("label_smoothing"):
        return None
    gamma = float(given.get("gamma", 2.0))
    if not given.get("apply_class_balancing"):
        return spec.BinaryFocalCrossEntropy(gamma=gamma)
    return spec.BinaryFocalCrossEntropy(gamma=gamma, alpha=float(given.get("alpha", 0.25)))


def _cosine(given: Mapping[str, Any]) -> Loss | None:
    if given.get("axis", -1) != -1:
        return None
    return spec.CosineDistance(offset=0.0, epsilon=keras.config.epsilon(), guard="maximum")


def _plain(kind: type[Loss], **settings: Any) -> Callable[[Mapping[str, Any]], Loss | None]:
    return lambda _: kind(**settings)


_FROM_LOGITS = frozenset({_K.SparseCategoricalCrossentropy, _K.CategoricalCrossentropy, _K.BinaryCrossentropy})

_READERS: Mapping[type, Callable[[Mapping[str, Any]], Loss | None]] = {
    _K.SparseCategoricalCrossentropy: _sparse,
    _K.CategoricalCrossentropy: _categorical,
    _K.BinaryCrossentropy: _binary,
    _K.BinaryFocalCrossentropy: _binary_focal,
    _K.MeanSquaredError: _plain(spec.MeanSquaredError),
    _K.MeanAbsoluteError: _plain(spec.MeanAbsoluteError),
    _K.Huber: lambda given: spec.Huber(float(given.get("delta", 1.0))),
    _K.LogCosh: _plain(spec.LogCosh),
    _K.KLDivergence: _plain(spec.KlDivergence),
    _K.Hinge: _plain(spec.Hinge),
    _K.SquaredHinge: _plain(spec.SquaredHinge),
    _K.CategoricalHinge: _plain(spec.CategoricalHinge),
    _K.Poisson: lambda _: spec.Poisson(log_input=False, epsilon=keras.config.epsilon()),
    _K.CosineSimilarity: _cosine,
}

_SETTINGS = {"from_logits": "from_probabilities", "ignore_class": "ignore_index"}
"""What Keras' arguments are called elsewhere."""

_FUNCTIONS: Mapping[Any, type] = {
    keras.losses.sparse_categorical_crossentropy: _K.SparseCategoricalCrossentropy,
    keras.losses.categorical_crossentropy: _K.CategoricalCrossentropy,
    keras.losses.binary_crossentropy: _K.BinaryCrossentropy,
    keras.losses.binary_focal_crossentropy: _K.BinaryFocalCrossentropy,
    keras.losses.mean_squared_error: _K.MeanSquaredError,
    keras.losses.mean_absolute_error: _K.MeanAbsoluteError,
    keras.losses.huber: _K.Huber,
    keras.losses.log_cosh: _K.LogCosh,
    keras.losses.kl_divergence: _K.KLDivergence,
    keras.losses.hinge: _K.Hinge,
    keras.losses.squared_hinge: _K.SquaredHinge,
    keras.losses.categorical_hinge: _K.CategoricalHinge,
    keras.losses.poisson: _K.Poisson,
    keras.losses.cosine_similarity: _K.CosineSimilarity,
}
"""Functions and the classes that ``compile`` makes of them."""


def resolve(loss: Any) -> Any:
    """A name or one of Keras' functions as the loss object that ``compile`` makes of it; anything else as it is."""
    if isinstance(loss, Mapping):
        return {name: resolve(item) for name, item in loss.items()}
    if isinstance(loss, (list, tuple)):
        return [resolve(item) for item in loss]
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if callable(loss) and not isinstance(loss, (keras.Loss, type)) and loss in _FUNCTIONS:
        return _FUNCTIONS[loss]()
    if isinstance(loss, type) and issubclass(loss, keras.Loss):
        return loss()
    return loss


def read(loss: Any) -> ReadLoss:
    """A resolved loss in the terms of the spec."""
    if not isinstance(loss, keras.Loss):
        return ReadLoss(None, native=getattr(loss, "__name__", type(loss).__name__), where=_place(loss))
    kind = type(loss)
    config = {**loss.get_config(), **getattr(loss, "_fn_kwargs", {})}  # Huber's leaves its delta out
    code = describing.constructor(loss, "keras.losses", ("from_logits", "reduction"), config)
    if kind not in _READERS:
        return ReadLoss(None, native=kind.__name__, code=code, where=_place(kind.call))
    minimised = _READERS[kind](config)
    probabilities = kind is _K.KLDivergence or (kind in _FROM_LOGITS and not config.get("from_logits", False))
    if kind is _K.BinaryFocalCrossentropy:
        probabilities = not config.get("from_logits", False)
    reduction: Reduction = "positions" if config.get("reduction") == "sum" else "mean"
    unsaid = tuple(_SETTINGS.get(name, name) for name in describing.defaulted(loss, config))
    native = f"keras.losses.{kind.__name__}"
    return ReadLoss(minimised, probabilities, native=native, code=code, reduction=reduction, unsaid=unsaid)


def _place(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""


def in_precision(loss: Any, precision: Precision) -> Any:
    """A loss object that computes in a precision, several ones alike; a function of the user's as it is."""
    if isinstance(loss, keras.Loss):
        return copied(loss, precision)
    if isinstance(loss, Mapping):
        return {name: in_precision(item, precision) for name, item in loss.items()}
    return [in_precision(item, precision) for item in loss] if isinstance(loss, (list, tuple)) else loss


def value(loss: Any, targets: Any, outputs: Any) -> Any:
    """The loss of a batch, a scalar; what a function of the user's gives for each example is averaged."""
    found = loss(targets, outputs)
    return found if len(found.shape) == 0 else tf.reduce_mean(found)


def of_examples(loss: Any, targets: Any, outputs: Any) -> Any:
    """The loss of each example, shape ``(examples,)``; ``None`` if the loss gives none."""
    if isinstance(loss, keras.Loss):
        found = loss.call(*(tf.cast(item, loss.dtype) for item in (targets, outputs)))
    else:
        found = loss(targets, outputs)
    if len(found.shape) == 0 or found.shape[0] != outputs.shape[0]:
        return None
    return found if len(found.shape) == 1 else tf.reduce_mean(found, axis=list(range(1, len(found.shape))))


def total(values: list[Any]) -> Any:
    """The sum of several losses."""
    found = values[0]
    for item in values[1:]:
        found = found + item
    return found
