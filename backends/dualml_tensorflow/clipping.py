"""Gradient clipping, after accumulation and before the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from dualml.spec.optimizers import GlobalNorm, ParameterNorm, ValueLimit


def global_norm(settings: GlobalNorm, gradients: Sequence[Any]) -> list[Any]:
    """``g <- g min(1, max_norm / (norm + epsilon))`` with the norm over all gradients together.

    With epsilon 0 the factor is evaluated as Keras evaluates ``global_clipnorm``,
    ``max_norm min(1 / norm, 1 / max_norm)`` (``keras/src/optimizers/base_optimizer.py``, ``clip_by_global_norm``),
    so that a stock Keras loop is reproduced to the last bit; a gradient of norm 0 stays 0.

    Args:
        settings: Largest norm and epsilon, every setting filled in.
        gradients: Dense gradients of one dtype.

    Returns:
        Clipped gradients. All are NaN if the norm is not finite.
    """
    norm = tf.sqrt(tf.reduce_sum(tf.stack([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])))
    limit = tf.constant(settings.max_norm, norm.dtype)
    if settings.epsilon:
        scale = tf.minimum(tf.ones_like(norm), limit / (norm + settings.epsilon))
    else:
        scale = limit * tf.minimum(1.0 / norm, 1.0 / limit)
    scale += norm - norm  # 0, or NaN where the norm is infinite or NaN
    return [gradient * scale for gradient in gradients]


def parameter_norm(settings: ParameterNorm, gradients: Sequence[Any]) -> list[Any]:
    """``g <- g min(1, max_norm / (norm(g) + epsilon))`` for each gradient by itself.

    With epsilon 0 ``tf.clip_by_norm``, which is what Keras' ``clipnorm`` calls, on dense gradients.
    """
    clipped = []
    for gradient in gradients:
        limit = tf.constant(settings.max_norm, gradient.dtype)
        if settings.epsilon:
            norm = tf.sqrt(tf.reduce_sum(tf.square(gradient)))
            clipped.append(gradient * tf.minimum(tf.ones_like(norm), limit / (norm + settings.epsilon)))
        else:
            clipped.append(tf.clip_by_norm(gradient, limit))
    return clipped


def value_limit(settings: ValueLimit, gradients: Sequence[Any]) -> list[Any]:
    """``g <- min(max(g, -max_value), max_value)``, number by number."""
    limits = [tf.constant(settings.max_value, gradient.dtype) for gradient in gradients]
    return [tf.clip_by_value(gradient, -limit, limit) for gradient, limit in zip(gradients, limits, strict=True)]


CLIPPINGS: Mapping[str, Callable[[Any, Sequence[Any]], list[Any]]] = {
    "global_norm": global_norm,
    "norm": parameter_norm,
    "value": value_limit,
}
"""The function of each kind of clipping, from its resolved settings."""
