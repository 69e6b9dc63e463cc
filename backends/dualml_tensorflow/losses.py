"""Losses from a model's output, one number for each example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from dualml.spec import losses as spec
from dualml.spec.losses import Loss


def _mean_of_example(values: Any) -> Any:
    """Mean over all axes but the first; values of rank 1 are returned as they are."""
    rank = len(values.shape)
    return values if rank == 1 else tf.reduce_mean(values, axis=list(range(1, rank)))


def _cross_entropy(settings: spec.CrossEntropy, logits: Any, targets: Any) -> Any:
    """``-sum_c q_c log softmax(z)_c``; for logits of more than one position, the mean over an example's positions.

    Args:
        settings: The loss.
        logits: Shape ``(examples, ..., classes)``.
        targets: Class numbers, shape ``(examples, ...)``, dtype int64.

    Returns:
        Shape ``(examples,)``, dtype of the logits.
    """
    if settings.label_smoothing == 0.0:
        return _mean_of_example(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits))
    classes = logits.shape[-1]
    off = settings.label_smoothing / classes  # Python floats are doubles; one_hot takes tensors of the right dtype
    on = 1.0 - settings.label_smoothing + off
    smoothed = tf.one_hot(
        targets, classes, on_value=tf.constant(on, logits.dtype), off_value=tf.constant(off, logits.dtype)
    )
    return _mean_of_example(tf.nn.softmax_cross_entropy_with_logits(labels=smoothed, logits=logits))


def _mse(settings: spec.MeanSquaredError, outputs: Any, targets: Any) -> Any:  # noqa: ARG001 (nothing to set)
    """``mean((y - t)^2)`` over all values of an example.

    Args:
        settings: The loss.
        outputs: Shape ``(examples, ...)``.
        targets: The same shape and dtype.

    Returns:
        Shape ``(examples,)``, dtype of the outputs.
    """
    return _mean_of_example(tf.square(outputs - targets))


LOSSES: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    spec.CrossEntropy.kind: _cross_entropy,
    spec.MeanSquaredError.kind: _mse,
}
"""For each kind of loss, a function ``(settings, outputs, targets)`` that gives the loss of each example."""


def example_losses(loss: Loss, outputs: Any, targets: Any) -> Any:
    """The loss of each example, shape ``(examples,)``."""
    return LOSSES[loss.kind](loss, outputs, targets)
