"""Layers that draw: their masks are given from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.layers import AlphaDropout
from dualml_tensorflow.native.exact import replacing


def draws(layer: Any) -> bool:
    """Whether a layer has random numbers of its own in training."""
    cell = getattr(layer, "cell", None)
    if cell is not None and hasattr(cell, "recurrent_dropout"):
        return bool(cell.dropout or cell.recurrent_dropout)
    if isinstance(layer, (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)):
        return bool(layer.dropout)
    return any(isinstance(item, keras.random.SeedGenerator) for item in getattr(layer, "_seed_generators", ())) or any(
        draws(inner) for inner in getattr(layer, "_layers", ())
    )


def kept(x: Any, mask: Any, rate: float) -> Any:
    """``x mask / (1 - rate)``; without a mask the value itself.

    Args:
        x: The value.
        mask: Which numbers are kept, of a shape that broadcasts with the value's; or ``None``.
        rate: Probability that a number is dropped.
    """
    return tf.identity(x) if mask is None else x * tf.cast(tf.constant(mask), x.dtype) / (1.0 - rate)


def dropped(layer: Any, x: Any, mask: Any) -> Any:
    """What a dropout layer makes of a value when it keeps what ``mask`` says."""
    if mask is not None and isinstance(layer, keras.layers.AlphaDropout):
        meant = AlphaDropout(float(layer.rate))
        return tf.where(tf.constant(mask), x, tf.constant(meant.dropped, x.dtype)) * meant.factor + meant.offset
    return kept(x, mask, float(layer.rate))


@contextmanager
def given(mask: Any) -> Iterator[None]:
    """Within it, what drops values by ``keras.random.dropout`` keeps what ``mask`` says, or everything."""

    def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:  # noqa: ARG001
        return kept(inputs, mask, float(rate))

    with replacing([(keras.src.backend.random, "dropout", dropout)]):
        yield


@contextmanager
def inner_mask(layer: Any, mask: Any) -> Iterator[None]:
    """Within it, the dropout inside an attention layer keeps what ``mask`` says, or everything.

    Args:
        layer: The layer.
        mask: Of the shape of its weights, ``(examples, heads, queries, keys)``; or ``None``.
    """
    inner = layer._dropout_layer
    own = vars(layer)

    def call(x: Any, training: bool | None = None) -> Any:
        return kept(x, mask, float(inner.rate)) if training else x

    own["_dropout_layer"] = call
    try:
        yield
    finally:
        own["_dropout_layer"] = inner
