"""Losses from a model's output: one number for each example, and what their sum is divided by.

Python floats beside a tensor become numbers of its dtype, in full precision; ``tf.cast`` of one would not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from dualml.spec import losses as spec
from dualml.spec.losses import CrossEntropy, Loss


def _mean_of_example(values: Any) -> Any:
    """Mean over all axes but the first; values of rank 1 are returned as they are."""
    rank = len(values.shape)
    return values if rank == 1 else tf.reduce_mean(values, axis=list(range(1, rank)))


def _sum_of_example(values: Any) -> Any:
    """Sum over all axes but the first; values of rank 1 are returned as they are."""
    rank = len(values.shape)
    return values if rank == 1 else tf.reduce_sum(values, axis=list(range(1, rank)))


def _smoothed(settings: spec.CrossEntropy, logits: Any, targets: Any) -> Any:
    """``(1 - s) [c = y] + s / C``."""
    classes = logits.shape[-1]
    off = settings.label_smoothing / classes  # Python floats are doubles; one_hot takes tensors of the right dtype
    on = 1.0 - settings.label_smoothing + off
    return tf.one_hot(
        targets, classes, on_value=tf.constant(on, logits.dtype), off_value=tf.constant(off, logits.dtype)
    )


def _plain_cross_entropy(settings: spec.CrossEntropy, logits: Any, targets: Any) -> Any:
    """``-sum_c q_c log softmax(z)_c`` of every position."""
    if settings.label_smoothing == 0.0:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    return tf.nn.softmax_cross_entropy_with_logits(labels=_smoothed(settings, logits, targets), logits=logits)


def _cross_entropy(settings: spec.CrossEntropy, logits: Any, targets: Any) -> Any:
    """Of an example, the mean over its positions, or where ``settings.counts_positions`` their sum.

    Args:
        settings: The loss.
        logits: Shape ``(examples, ..., classes)``.
        targets: Class numbers, shape ``(examples, ...)``, dtype int64.

    Returns:
        Shape ``(examples,)``, dtype of the logits.
    """
    if settings.class_weights == "none" and settings.ignore_index == "none":
        return _mean_of_example(_plain_cross_entropy(settings, logits, targets))
    wanted = _kept_targets(settings, targets)
    weights = None if settings.class_weights == "none" else tf.constant(settings.class_weights, logits.dtype)
    if weights is not None and settings.label_smoothing and settings.weighted_smoothing == "per_class":
        # Not softmax_cross_entropy_with_logits, whose gradient takes for granted that targets sum to 1.
        weighted = _smoothed(settings, logits, wanted) * weights
        losses = -tf.reduce_sum(weighted * tf.nn.log_softmax(logits), axis=-1)
    else:
        losses = _plain_cross_entropy(settings, logits, wanted)
        losses = losses if weights is None else losses * tf.gather(weights, wanted)
    losses = tf.where(_kept(settings, targets), losses, tf.zeros_like(losses))
    return _sum_of_example(losses) if settings.counts_positions else _mean_of_example(losses)


def _kept(settings: spec.CrossEntropy, targets: Any) -> Any:
    if settings.ignore_index == "none":
        return tf.ones_like(targets, dtype=tf.bool)
    return tf.not_equal(targets, tf.constant(settings.ignore_index, targets.dtype))


def _kept_targets(settings: spec.CrossEntropy, targets: Any) -> Any:
    """Class numbers, 0 where they are ignored."""
    return tf.where(_kept(settings, targets), targets, tf.zeros_like(targets))


def _soft_cross_entropy(settings: spec.SoftCrossEntropy, logits: Any, targets: Any) -> Any:
    smoothing = settings.label_smoothing
    wanted = targets if smoothing == 0 else targets * (1.0 - smoothing) + smoothing / logits.shape[-1]
    return _mean_of_example(-tf.reduce_sum(wanted * tf.nn.log_softmax(logits), axis=-1))


def _kl_divergence(settings: spec.KlDivergence, logits: Any, targets: Any) -> Any:  # noqa: ARG001
    terms = tf.math.xlogy(targets, targets) - targets * tf.nn.log_softmax(logits)
    return _mean_of_example(tf.reduce_sum(terms, axis=-1))


def _focal_cross_entropy(settings: spec.FocalCrossEntropy, logits: Any, targets: Any) -> Any:
    """``1 - p`` is taken as ``-expm1(log p)``, which does not cancel."""
    log_p = tf.gather(tf.nn.log_softmax(logits), targets, axis=-1, batch_dims=len(targets.shape))
    alpha = tf.constant(settings.alpha, logits.dtype)
    losses = -log_p * (tf.gather(alpha, targets) if isinstance(settings.alpha, tuple) else alpha)
    if settings.gamma != 0:
        losses *= tf.pow(-tf.math.expm1(log_p), tf.constant(settings.gamma, logits.dtype))
    return _mean_of_example(losses)


def _binary_cross_entropy(settings: spec.BinaryCrossEntropy, logits: Any, targets: Any) -> Any:
    smoothing = settings.label_smoothing
    wanted = targets if smoothing == 0 else targets * (1.0 - smoothing) + smoothing / 2.0
    if settings.pos_weight == 1:
        return _mean_of_example(tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits))
    # Not tf.nn.weighted_cross_entropy_with_logits: at a logit of 0 its gradient lacks that of log(1 + exp(-|z|)).
    weight = tf.constant(settings.pos_weight, logits.dtype)
    no = (1.0 - wanted) * tf.math.log_sigmoid(-logits)
    return _mean_of_example(-(weight * wanted * tf.math.log_sigmoid(logits) + no))


def _binary_focal_cross_entropy(settings: spec.BinaryFocalCrossEntropy, logits: Any, targets: Any) -> Any:
    losses = -targets * tf.math.log_sigmoid(logits) - (1.0 - targets) * tf.math.log_sigmoid(-logits)
    if settings.alpha != "none":
        losses *= targets * settings.alpha + (1.0 - targets) * (1.0 - settings.alpha)
    if settings.gamma != 0:
        wrong = tf.sigmoid(-logits) * targets + tf.sigmoid(logits) * (1.0 - targets)
        losses *= tf.pow(wrong, tf.constant(settings.gamma, logits.dtype))
    return _mean_of_example(losses)


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


def _mae(settings: spec.MeanAbsoluteError, outputs: Any, targets: Any) -> Any:  # noqa: ARG001
    return _mean_of_example(tf.abs(outputs - targets))


def _huber(settings: spec.Huber, outputs: Any, targets: Any) -> Any:
    error, delta = outputs - targets, settings.delta
    size = tf.abs(error)
    return _mean_of_example(tf.where(size <= delta, 0.5 * tf.square(error), delta * (size - 0.5 * delta)))


def _smooth_l1(settings: spec.SmoothL1, outputs: Any, targets: Any) -> Any:
    error, beta = outputs - targets, settings.beta
    size = tf.abs(error)
    return _mean_of_example(tf.where(size < beta, 0.5 * tf.square(error) / beta, size - 0.5 * beta))


def _log_cosh(settings: spec.LogCosh, outputs: Any, targets: Any) -> Any:  # noqa: ARG001
    """Not ``keras.losses.log_cosh``, whose ``log 2`` is a float32 constant."""
    error = outputs - targets
    return _mean_of_example(error + tf.math.softplus(-2.0 * error) - math.log(2.0))


def _hinge(settings: spec.Hinge, outputs: Any, targets: Any) -> Any:  # noqa: ARG001
    return _mean_of_example(tf.maximum(1.0 - outputs * targets, 0.0))


def _squared_hinge(settings: spec.SquaredHinge, outputs: Any, targets: Any) -> Any:  # noqa: ARG001
    return _mean_of_example(tf.square(tf.maximum(1.0 - outputs * targets, 0.0)))


def _categorical_hinge(settings: spec.CategoricalHinge, outputs: Any, targets: Any) -> Any:  # noqa: ARG001
    own = tf.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
    hardest = tf.reduce_max(outputs * (1.0 - own), axis=-1)
    return _mean_of_example(tf.maximum(hardest - tf.reduce_sum(outputs * own, axis=-1) + 1.0, 0.0))


def _multi_margin(settings: spec.MultiMargin, outputs: Any, targets: Any) -> Any:
    own = tf.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
    gaps = tf.nn.relu(outputs - tf.reduce_sum(outputs * own, axis=-1, keepdims=True) + settings.margin)
    gaps = tf.square(gaps) if settings.p == 2 else gaps
    return _mean_of_example(tf.reduce_sum(gaps * (1.0 - own), axis=-1) / outputs.shape[-1])


def _cosine(settings: spec.CosineDistance, outputs: Any, targets: Any) -> Any:
    squares, wanted = (tf.reduce_sum(tf.square(values), axis=-1) for values in (outputs, targets))
    epsilon = settings.epsilon or 0.0
    if settings.guard == "add":
        norms = tf.sqrt((squares + epsilon) * (wanted + epsilon))
    else:
        norms = tf.sqrt(tf.maximum(squares, epsilon**2)) * tf.sqrt(tf.maximum(wanted, epsilon**2))
    return _mean_of_example((settings.offset or 0.0) - tf.reduce_sum(outputs * targets, axis=-1) / norms)


def _poisson(settings: spec.Poisson, outputs: Any, targets: Any) -> Any:
    if settings.log_input:
        return _mean_of_example(tf.exp(outputs) - targets * outputs)
    return _mean_of_example(outputs - targets * tf.math.log(outputs + settings.epsilon))


LOSSES: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    spec.CrossEntropy.kind: _cross_entropy,
    spec.SoftCrossEntropy.kind: _soft_cross_entropy,
    spec.FocalCrossEntropy.kind: _focal_cross_entropy,
    spec.BinaryCrossEntropy.kind: _binary_cross_entropy,
    spec.BinaryFocalCrossEntropy.kind: _binary_focal_cross_entropy,
    spec.MeanSquaredError.kind: _mse,
    spec.MeanAbsoluteError.kind: _mae,
    spec.Huber.kind: _huber,
    spec.SmoothL1.kind: _smooth_l1,
    spec.LogCosh.kind: _log_cosh,
    spec.KlDivergence.kind: _kl_divergence,
    spec.Hinge.kind: _hinge,
    spec.SquaredHinge.kind: _squared_hinge,
    spec.CategoricalHinge.kind: _categorical_hinge,
    spec.MultiMargin.kind: _multi_margin,
    spec.CosineDistance.kind: _cosine,
    spec.Poisson.kind: _poisson,
}
"""For each kind of loss, a function ``(settings, outputs, targets)`` that gives the loss of each example."""


def example_losses(loss: Loss, outputs: Any, targets: Any) -> Any:
    """The loss of each example, shape ``(examples,)``."""
    return LOSSES[loss.kind](loss, outputs, targets)


def denominator(loss: Loss, targets: Any, weights: Any = None) -> Any:
    """What the sum of the examples' weighted losses is divided by, shape ``()``, float64.

    Args:
        loss: The loss.
        targets: Of all examples of an update; those of parts add up.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.

    Returns:
        The number of examples, or what ``loss`` counts instead; 0 where nothing counts (then divide by 1).
    """
    if not loss.counts_positions:
        return tf.cast(tf.shape(targets)[0], tf.float64)
    assert isinstance(loss, CrossEntropy), "only cross_entropy counts positions"
    counted = tf.cast(_kept(loss, targets), tf.float64)
    if loss.normalization == "positions":
        return tf.reduce_sum(counted)
    if loss.class_weights != "none":
        counted *= tf.gather(tf.constant(loss.class_weights, tf.float64), _kept_targets(loss, targets))
    by_example = _sum_of_example(counted)
    return tf.reduce_sum(by_example if weights is None else by_example * tf.cast(weights, tf.float64))
