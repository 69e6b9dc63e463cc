"""Conventions of normalising layers: epsilon, which variance, which axes, whose statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from dualml.parity.hypotheses.conventions.base import Evaluated, Flip, Source, Written
from dualml.parity.hypotheses.fitting import fitted, written
from dualml.parity.hypotheses.nodes import Setting, changed
from dualml.parity.hypotheses.trial import number
from dualml.protocol import Array
from dualml.reference import ops
from dualml.reference.trace import Traced

EPSILONS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 2.0**-23, 2.0**-52, 1e-4, 1e-2)
"""Numbers that libraries add under the root."""


def epsilon(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Another epsilon, fitted; or one beside the root."""
    settings = setting.node.settings
    meant = settings.epsilon

    def value(item: float) -> Any:
        return setting.settings_changed(epsilon=item).value()

    found = fitted(value, recorded, [meant, *EPSILONS], positive=True)
    near = [] if found is None else written(found, EPSILONS)
    for item in dict.fromkeys([*near, *EPSILONS]):
        if item == meant or item <= 0:
            continue

        def make(item: float = item) -> Setting:
            return setting.settings_changed(epsilon=item)

        yield Flip("norm.epsilon", f"epsilon {number(item)} instead of {number(meant)}", meant, item, make, found)


def statistics(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001 (every source has both)
    """Batch normalisation by running values in training, by the batch's in inference."""
    settings = setting.node.settings
    if setting.training:
        toggled = not settings.frozen

        def frozen() -> Setting:
            return setting.settings_changed(frozen=toggled)

        said = "the running statistics in training" if toggled else "the batch's statistics though it is frozen"
        yield Flip("norm.frozen_mode", said, settings.frozen, toggled, frozen)
        if toggled:
            said = "the formula of inference in training"
            yield Flip("mode.train_eval", said, "training", "inference", lambda: setting.with_(training=False))
        return

    def batch() -> Setting:
        return setting.with_(settings=changed(settings, frozen=False), training=True)

    said = "the batch's own statistics in inference"
    yield Flip("mode.train_eval", said, "inference", "training", batch)


def other_moments(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001 (as every source)
    """The variance divided by n - 1; moments over other axes, the batch's among them."""
    settings, x = setting.node.settings, setting.inputs[0]
    by_batch = setting.node.operation == "batch_norm"
    if by_batch and (settings.frozen or not setting.training):
        return
    usual = _axes(setting)
    if usual is not None:
        said = "the variance divided by n - 1"
        flip = _formula(setting, usual, unbiased=True)
        yield Flip("norm.unbiased_variance", said, "biased", "unbiased", lambda: flip)
        beside = _formula(setting, usual, beside=True)
        yield Flip("norm.epsilon", "epsilon beside the root", "under the root", "beside the root", lambda: beside)
    for count in range(1, x.ndim + 1):
        for axes in combinations(range(x.ndim), count):
            if axes != usual:

                def make(axes: tuple[int, ...] = axes) -> Evaluated:
                    return _formula(setting, axes)

                meant = "its own axes" if usual is None else list(usual)
                said = f"mean and variance over the axes {list(axes)} (0 is the batch)"
                yield Flip("norm.axis", said, meant, list(axes), make)
    if setting.node.operation in ("group_norm", "instance_norm", "layer_norm"):
        yield from _groups(setting)


def _groups(setting: Setting) -> Iterator[Flip]:
    """Another number of groups of channels."""
    from dualml.spec.layers import GroupNorm

    settings = setting.node.settings
    if getattr(settings, "axes", 1) != 1:
        return
    channels = setting.node.input_shapes[0][-1]
    meant = getattr(settings, "groups", channels)
    for groups in (item for item in range(1, channels + 1) if channels % item == 0 and item != meant):

        def make(groups: int = groups) -> Setting:
            given = {
                "epsilon": settings.epsilon,
                "scale": "scale" in setting.roles,
                "offset": "offset" in setting.roles,
            }
            return setting.with_(settings=GroupNorm(groups, **given))

        yield Flip("norm.axis", f"{groups} groups of channels instead of {meant}", meant, groups, make)


def _axes(setting: Setting) -> tuple[int, ...] | None:
    """The axes that the meaning takes moments over; ``None`` for groups of channels."""
    rank, settings = setting.inputs[0].ndim, setting.node.settings
    operation = setting.node.operation
    if operation in ("layer_norm", "rms_norm"):
        return tuple(range(rank - settings.axes, rank))
    if operation == "batch_norm":
        return tuple(range(rank - 1))
    return tuple(range(1, rank - 1)) if operation == "instance_norm" else None


def _formula(setting: Setting, axes: tuple[int, ...], *, unbiased: bool = False, beside: bool = False) -> Evaluated:
    """The layer with moments over some axes."""
    names = [role for role in ("scale", "offset") if role in setting.roles]
    centred = setting.node.operation != "rms_norm"
    small = setting.node.settings.epsilon

    def normalised(x: Traced, *weights: Traced) -> Traced:
        by_role = dict(zip(names, weights, strict=True))
        middle = x - ops.mean(x, axes, keepdims=True) if centred else x
        variance = ops.mean(ops.square(middle), axes, keepdims=True)
        if unbiased:
            count = 1
            for axis in axes:
                count *= x.shape[axis]
            if count < 2:
                raise ValueError("one value has no unbiased variance")
            variance = variance * (count / (count - 1))
        y: Traced = middle / (ops.sqrt(variance) + small) if beside else middle * ops.rsqrt(variance + small)
        y = y * by_role["scale"] if "scale" in by_role else y
        return y + by_role["offset"] if "offset" in by_role else y

    return Written(normalised, [setting.inputs[0], *(setting.roles[name] for name in names)], setting.unit)


def channel_axis(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """Another axis taken for the channels, where it is as long."""
    x = setting.inputs[0]
    if getattr(setting.node.settings, "axes", 1) != 1:
        return
    for axis in range(1, x.ndim - 1):
        if x.shape[axis] != x.shape[-1]:
            continue

        def make(axis: int = axis) -> Evaluated:
            from dualml.parity.hypotheses.conventions.base import Moved

            inner = setting.with_(inputs=(x.swapaxes(axis, -1),))
            return Moved(inner, lambda array: array.swapaxes(axis, -1))

        yield Flip("norm.axis", f"axis {axis} taken for the channels", -1, axis, make)


_EACH: tuple[Source, ...] = (epsilon, other_moments)

SOURCES: Mapping[str, tuple[Source, ...]] = {
    "batch_norm": (statistics, epsilon, other_moments, channel_axis),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm", "rms_norm"), (*_EACH, channel_axis)),
}
"""By operation."""
