"""Activations, from operators that ONNX Runtime has in float32 and float64.

Settings are tensors, not attributes: those are float32 in ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from dualml.export.onnx.writer import Emit, Site, Value

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

Function = Callable[[Site, str, Any], str]
"""``(site, x, settings of the function)``: the tensor of ``f(x)``, of ``x``'s shape."""


def _above(site: Site, x: str, limit: float, above: str, other: str) -> str:
    """``above`` where ``x > limit``, else ``other``."""
    return site.op("Where", site.op("Greater", x, site.number(limit)), above, other)


def _clip(site: Site, x: str, low: float, high: float) -> str:
    return site.op("Clip", x, site.number(low), site.number(high))


def _scaled(site: Site, x: str, factor: float) -> str:
    return x if factor == 1.0 else site.op("Mul", x, site.number(factor))


def _relu(site: Site, x: str) -> str:
    return site.op("Relu", x)


def _relu6(site: Site, x: str) -> str:
    return _clip(site, x, 0.0, 6.0)


def _clipped_relu(site: Site, x: str, settings: Any) -> str:
    top = x if settings.max_value == "none" else site.op("Min", x, site.number(settings.max_value))
    below = site.op("Mul", site.op("Sub", x, site.number(settings.threshold)), site.number(settings.negative_slope))
    return _above(site, x, settings.threshold, top, below)


def _leaky_relu(site: Site, x: str, settings: Any) -> str:
    if site.precision == "float32":
        return site.op("LeakyRelu", x, alpha=settings.negative_slope)
    return _above(site, x, 0.0, x, _scaled(site, x, settings.negative_slope))


def _exponential_unit(site: Site, x: str, alpha: float, width: float = 1.0) -> str:
    """``x`` where ``x > 0``, else ``alpha (exp(x / width) - 1)``; a power that overflows is not taken."""
    narrowed = x if width == 1.0 else site.op("Div", x, site.number(width))
    power = site.op("Sub", site.op("Exp", narrowed), site.number(1.0))
    return _above(site, x, 0.0, x, _scaled(site, power, alpha))


def _elu(site: Site, x: str, settings: Any) -> str:
    return _exponential_unit(site, x, settings.alpha)


def _celu(site: Site, x: str, settings: Any) -> str:
    return _exponential_unit(site, x, settings.alpha, settings.alpha)


def _selu(site: Site, x: str) -> str:
    return _scaled(site, _exponential_unit(site, x, SELU_ALPHA), SELU_SCALE)


def _gelu(site: Site, x: str, settings: Any) -> str:
    if site.precision == "float32":
        return site.op("Gelu", x, approximate=settings.approximate)
    if settings.approximate == "none":
        gate = site.op("Erf", _scaled(site, x, math.sqrt(0.5)))
    else:
        cube = site.op("Mul", site.op("Mul", x, x), _scaled(site, x, 0.044715))
        gate = site.op("Tanh", _scaled(site, site.op("Add", x, cube), math.sqrt(2.0 / math.pi)))
    return site.op("Mul", _scaled(site, x, 0.5), site.op("Add", gate, site.number(1.0)))


def _silu(site: Site, x: str) -> str:
    return site.op("Mul", x, site.op("Sigmoid", x))


def _swish(site: Site, x: str, settings: Any) -> str:
    return site.op("Mul", x, site.op("Sigmoid", _scaled(site, x, settings.beta)))


def _log1p_exp(site: Site, x: str) -> str:
    """``log(1 + exp(x))`` without overflow."""
    if site.precision == "float32":
        return site.op("Softplus", x)
    tail = site.op("Exp", site.op("Neg", site.op("Abs", x)))
    return site.op("Add", site.op("Relu", x), site.op("Log", site.op("Add", tail, site.number(1.0))))


def _mish(site: Site, x: str) -> str:
    return site.op("Mul", x, site.op("Tanh", _log1p_exp(site, x)))


def _six_wide(site: Site, x: str) -> str:
    """``min(max(x + 3, 0), 6)``."""
    return _clip(site, site.op("Add", x, site.number(3.0)), 0.0, 6.0)


def _hard_swish(site: Site, x: str) -> str:
    return site.op("Div", site.op("Mul", x, _six_wide(site, x)), site.number(6.0))


def _hard_sigmoid(site: Site, x: str) -> str:
    return site.op("Div", _six_wide(site, x), site.number(6.0))


def _sigmoid(site: Site, x: str) -> str:
    return site.op("Sigmoid", x)


def _log_sigmoid(site: Site, x: str) -> str:
    return site.op("Neg", _log1p_exp(site, site.op("Neg", x)))


def _sparse_sigmoid(site: Site, x: str) -> str:
    return _clip(site, _scaled(site, site.op("Add", x, site.number(1.0)), 0.5), 0.0, 1.0)


def _tanh(site: Site, x: str) -> str:
    return site.op("Tanh", x)


def _hard_tanh(site: Site, x: str, settings: Any) -> str:
    return _clip(site, x, settings.minimum, settings.maximum)


def _tanh_shrink(site: Site, x: str) -> str:
    return site.op("Sub", x, site.op("Tanh", x))


def _hard_shrink(site: Site, x: str, settings: Any) -> str:
    outside = site.op("Greater", site.op("Abs", x), site.number(settings.threshold))
    return site.op("Where", outside, x, site.number(0.0))


def _soft_shrink(site: Site, x: str, settings: Any) -> str:
    return site.op("Sub", x, _clip(site, x, -settings.threshold, settings.threshold))


def _softsign(site: Site, x: str) -> str:
    return site.op("Div", x, site.op("Add", site.op("Abs", x), site.number(1.0)))


def _softplus(site: Site, x: str, settings: Any) -> str:
    stretched = _scaled(site, x, settings.beta)
    y = _log1p_exp(site, stretched)
    y = y if settings.beta == 1.0 else site.op("Div", y, site.number(settings.beta))
    return y if settings.threshold == "none" else _above(site, stretched, settings.threshold, x, y)


def _squareplus(site: Site, x: str, settings: Any) -> str:
    root = site.op("Sqrt", site.op("Add", site.op("Mul", x, x), site.number(settings.b)))
    return _scaled(site, site.op("Add", x, root), 0.5)


def _sparse_plus(site: Site, x: str) -> str:
    moved = site.op("Add", _clip(site, x, -1.0, 1.0), site.number(1.0))
    return _above(site, x, 1.0, x, _scaled(site, site.op("Mul", moved, moved), 0.25))


def _threshold(site: Site, x: str, settings: Any) -> str:
    return _above(site, x, settings.at, x, site.number(settings.value))


def _exponential(site: Site, x: str) -> str:
    return site.op("Exp", x)


def _softmax(site: Site, x: str, settings: Any) -> str:
    return site.op("Softmax", x, axis=site.axis(settings.axis, site.value().channels))


def _log_softmax(site: Site, x: str, settings: Any) -> str:
    return site.op("LogSoftmax", x, axis=site.axis(settings.axis, site.value().channels))


PLAIN: Mapping[str, Callable[[Site, str], str]] = {
    "relu": _relu,
    "relu6": _relu6,
    "selu": _selu,
    "silu": _silu,
    "mish": _mish,
    "hard_swish": _hard_swish,
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "sparse_sigmoid": _sparse_sigmoid,
    "tanh": _tanh,
    "tanh_shrink": _tanh_shrink,
    "softsign": _softsign,
    "sparse_plus": _sparse_plus,
    "exponential": _exponential,
}
"""Those without settings, by kind: ``(site, x)``."""

FUNCTIONS: Mapping[str, Function] = {
    "clipped_relu": _clipped_relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "celu": _celu,
    "gelu": _gelu,
    "swish": _swish,
    "hard_tanh": _hard_tanh,
    "hard_shrink": _hard_shrink,
    "soft_shrink": _soft_shrink,
    "softplus": _softplus,
    "squareplus": _squareplus,
    "threshold": _threshold,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
}
"""Those with settings, by kind."""


def _activation(site: Site) -> Value:
    value, function = site.value(), site.settings.function
    if function.kind == "linear":
        return value
    if function.kind in PLAIN:
        return Value(PLAIN[function.kind](site, value.tensor), value.channels)
    if function.kind in FUNCTIONS:
        return Value(FUNCTIONS[function.kind](site, value.tensor, function), value.channels)
    raise site.refused("yet; use another activation, or another format")


EMITTERS: Mapping[str, Emit] = {"activation": _activation}
"""By ``Node.operation``."""
