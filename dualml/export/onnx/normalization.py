"""Layers that normalise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dualml.export.onnx.writer import Emit, Site, Value


def _last(site: Site) -> list[int]:
    """The axes that a layer normalises over: some of the last."""
    rank = len(site.node.input_shapes[0])
    return [rank - place for place in reversed(range(site.settings.axes))]


def _scaled(site: Site, x: str, scale: str | None, offset: str | None) -> str:
    x = x if scale is None else site.op("Mul", x, scale)
    return x if offset is None else site.op("Add", x, offset)


def _standardised(site: Site, x: str, axes: Sequence[int]) -> str:
    """``(x - mean) / sqrt(variance + epsilon)`` over some axes."""
    over = site.whole(axes)
    centred = site.op("Sub", x, site.op("ReduceMean", x, over, keepdims=1))
    variance = site.op("ReduceMean", site.op("Mul", centred, centred), over, keepdims=1)
    return site.op("Div", centred, site.op("Sqrt", site.op("Add", variance, site.number(site.settings.epsilon))))


def _layer_norm(site: Site) -> Value:
    x, axes = site.input(), _last(site)
    scale, offset = site.weight("scale"), site.weight("offset")
    if site.precision == "float64":  # ONNX' own operator keeps epsilon in float32
        return Value(_scaled(site, _standardised(site, x, axes), scale, offset))
    shape = site.node.input_shapes[0][-len(axes) :]
    inputs = [x, scale or site.number(np.ones(shape)), *([offset] if offset else [])]
    return Value(site.op("LayerNormalization", *inputs, axis=axes[0], epsilon=site.settings.epsilon))


def _rms_norm(site: Site) -> Value:
    x = site.input()
    power = site.op("ReduceMean", site.op("Mul", x, x), site.whole(_last(site)), keepdims=1)
    root = site.op("Sqrt", site.op("Add", power, site.number(site.settings.epsilon)))
    return Value(_scaled(site, site.op("Div", x, root), site.weight("scale"), None))


def _unit_norm(site: Site) -> Value:
    x = site.input()
    squares = site.op("ReduceSum", site.op("Mul", x, x), site.whole(_last(site)), keepdims=1)
    length = site.op("Max", site.op("Sqrt", squares), site.number(site.settings.epsilon))
    return Value(site.op("Div", x, length))


def _group_norm(site: Site) -> Value:
    """Positions as one axis and channels cut into groups; ``instance_norm`` has a group for each channel."""
    *positions, channels = site.node.input_shapes[0]
    groups = getattr(site.settings, "groups", channels)
    size = channels // groups
    split = site.reshaped(site.input(), (int(np.prod(positions)), groups, size))
    y = site.reshaped(_standardised(site, split, (1, 3)), site.node.shape)
    return Value(_scaled(site, y, site.weight("scale"), site.weight("offset")))


def _batch_norm(site: Site) -> Value:
    """By the running values, as one factor and one term for each channel."""
    mean, variance = site.array("running_mean"), site.array("running_variance")
    assert mean is not None
    assert variance is not None
    if site.precision == "float64":
        centred = site.op("Sub", site.input(), site.required("running_mean"))
        spread = site.op("Add", site.required("running_variance"), site.number(site.settings.epsilon))
        y = site.op("Div", centred, site.op("Sqrt", spread))
        return Value(_scaled(site, y, site.weight("scale"), site.weight("offset")))
    y = site.op(
        "BatchNormalization",
        site.input(channels="first"),
        site.weight("scale") or site.number(np.ones_like(mean)),
        site.weight("offset") or site.number(np.zeros_like(mean)),
        site.required("running_mean"),
        site.required("running_variance"),
        epsilon=site.settings.epsilon,
    )
    return Value(y, "first")


EMITTERS: Mapping[str, Emit] = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _group_norm,
    "rms_norm": _rms_norm,
    "unit_norm": _unit_norm,
}
"""By ``Node.operation``."""
