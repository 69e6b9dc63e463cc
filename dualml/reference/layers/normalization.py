"""Layers that normalise.

The variants are what the frameworks compute, equal in exact arithmetic: ``x a + b`` with ``a = scale / deviation`` and
``b = offset - mean a`` (Keras everywhere; PyTorch in batch, group and instance norm), and the variance as
``mean(x^2) - mean(x)^2`` (``torch.nn.GroupNorm`` where memory has channels last,
``aten/src/ATen/native/cpu/group_norm_kernel.cpp``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dualml.reference import ops
from dualml.reference.layers.base import Call, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.trace import Traced


def _moments(x: Traced, axes: tuple[int, ...], *, squares: bool = False) -> tuple[Traced, Traced]:
    """Mean and biased variance over some axes, which stay with size 1; ``squares``: from the mean of the squares."""
    mean = ops.mean(x, axes, keepdims=True)
    if squares:
        return mean, ops.relu(ops.mean(ops.square(x), axes, keepdims=True) - ops.square(mean))
    return mean, ops.mean(ops.square(x - mean), axes, keepdims=True)


def _normalised(
    call: Call,
    x: Traced,
    moments: tuple[Traced, Traced],
    scale: Traced | None,
    offset: Traced | None,
    *,
    folded: bool,
) -> Traced:
    """``(x - mean) / sqrt(variance + epsilon) scale + offset``; ``folded``: as one factor and one term."""
    mean, variance = moments
    factor = ops.rsqrt(variance + call.node.settings.epsilon)
    if folded:
        factor = factor if scale is None else factor * scale
        y = x * factor - mean * factor
    else:
        y = (x - mean) * factor
        y = y if scale is None else y * scale
    return y if offset is None else y + offset


def _last(call: Call) -> tuple[int, ...]:
    """The axes that a layer normalises over: some of the last."""
    return tuple(range(-call.node.settings.axes, 0))


def _layer_norm(
    call: Call, x: Traced, *, scale: Traced | None = None, offset: Traced | None = None, folded: bool = False
) -> Traced:
    """Over the last axes."""
    return _normalised(call, x, _moments(x, _last(call)), scale, offset, folded=folded)


def _rms_norm(call: Call, x: Traced, *, scale: Traced | None = None) -> Traced:
    """``x / sqrt(mean(x^2) + epsilon) scale``."""
    power = ops.mean(ops.square(x), _last(call), keepdims=True)
    y = x * ops.rsqrt(power + call.node.settings.epsilon)
    return y if scale is None else y * scale


def _unit_norm(call: Call, x: Traced) -> Traced:
    """``x / max(sqrt(sum(x^2)), epsilon)``."""
    squares = ops.sum(ops.square(x), _last(call), keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, call.node.settings.epsilon**2))


def _group_norm(
    call: Call,
    x: Traced,
    *,
    scale: Traced | None = None,
    offset: Traced | None = None,
    folded: bool = False,
    squares: bool = False,
) -> Traced:
    """Over the positions and the channels of a group; ``instance_norm`` has a group for each channel."""
    channels = x.shape[-1]
    groups = getattr(call.node.settings, "groups", channels)
    split = ops.reshape(x, (x.shape[0], -1, groups, channels // groups))
    scale, offset = (None if item is None else ops.reshape(item, split.shape[2:]) for item in (scale, offset))
    y = _normalised(call, split, _moments(split, (1, 3), squares=squares), scale, offset, folded=folded)
    return ops.reshape(y, x.shape)


def _positions(x: Traced) -> tuple[int, ...]:
    """All axes but the channels'."""
    return tuple(range(x.ndim - 1))


def _batch_norm(
    call: Call,
    x: Traced,
    *,
    running_mean: Traced,
    running_variance: Traced,
    scale: Traced | None = None,
    offset: Traced | None = None,
    folded: bool = False,
) -> Traced:
    """Over examples and positions in training; by the running values in inference, and where they are frozen."""
    batch = call.training and not call.node.settings.frozen
    moments = _moments(x, _positions(x)) if batch else (running_mean, running_variance)
    return _normalised(call, x, moments, scale, offset, folded=folded)


def _new_running(
    call: Call,
    x: Traced,
    *,
    running_mean: Traced,
    running_variance: Traced,
    scale: Traced | None = None,  # noqa: ARG001 (every function of a call has all its weights)
    offset: Traced | None = None,  # noqa: ARG001
) -> Mapping[str, Traced]:
    """``momentum running + (1 - momentum) batch``, with the biased or the unbiased variance of the batch.

    Raises:
        ValueError: The unbiased variance of one value was asked for.
    """
    settings = call.node.settings
    momentum = float(settings.momentum)
    if settings.frozen:
        return {"running_mean": running_mean, "running_variance": running_variance}
    mean, variance = (ops.reshape(item, running_mean.shape) for item in _moments(x, _positions(x)))
    if settings.variance == "unbiased":
        count = x.value.size // x.shape[-1]
        if count < 2:
            raise ValueError(f"{call.node.name!r} needs at least 2 values for each channel in training, got {count}")
        variance = variance * (count / (count - 1))

    def average(old: Traced, new: Traced) -> Traced:
        return old * momentum + new * (1.0 - momentum)

    return {"running_mean": average(running_mean, mean), "running_variance": average(running_variance, variance)}


def _folded(function: Callable[..., Traced], **settings: Any) -> Callable[..., Traced]:
    return partial(function, folded=True, **settings)


_GROUPS = Formula(_group_norm, variants=(_folded(_group_norm), _folded(_group_norm, squares=True)))

OPERATIONS: Mapping[str, Operation] = {
    "batch_norm": Formula(_batch_norm, variants=(_folded(_batch_norm),), buffers=_new_running),
    "layer_norm": Formula(_layer_norm, variants=(_folded(_layer_norm),)),
    "group_norm": _GROUPS,
    "instance_norm": _GROUPS,
    "rms_norm": Formula(_rms_norm),
    "unit_norm": Formula(_unit_norm),
}
"""By ``Node.operation``."""
