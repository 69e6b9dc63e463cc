"""Conventions of activation functions: which one, its constants, its axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dualml.conventions import KERAS, TORCH, fill
from dualml.parity.hypotheses.claims import cause_of
from dualml.parity.hypotheses.conventions.base import Evaluated, Flip, Source, Written
from dualml.parity.hypotheses.fitting import fitted, written
from dualml.parity.hypotheses.nodes import Setting
from dualml.parity.hypotheses.trial import number
from dualml.protocol import Array
from dualml.reference import ops
from dualml.reference.trace import Traced
from dualml.spec.activations import ACTIVATIONS, Celu, Elu, Gelu, LeakyRelu, Softmax, Softplus, Swish
from dualml.spec.layers import Activation

CONSTANTS: Mapping[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "leaky_relu": (("negative_slope", (0.01, 0.1, 0.2, 0.3, 0.25)),),
    "clipped_relu": (("negative_slope", (0.01, 0.1, 0.2, 0.3)), ("max_value", (6.0, 1.0)), ("threshold", (0.0, 1.0))),
    "elu": (("alpha", (1.0, 0.5, 0.1)),),
    "celu": (("alpha", (1.0, 0.5, 0.1)),),
    "softplus": (("beta", (1.0, 2.0)),),
    "swish": (("beta", (1.0, 1.702)),),
    "squareplus": (("b", (4.0, 1.0)),),
    "hard_tanh": (("minimum", (-1.0, 0.0)), ("maximum", (1.0, 6.0))),
    "hard_shrink": (("threshold", (0.5,)),),
    "soft_shrink": (("threshold", (0.5,)),),
}
"""Constants of each function that may be any number, and known values of them."""


def every_function() -> list[Any]:
    """Every activation with either framework's constants, once each."""
    found = []
    for kind in ACTIVATIONS:
        if kind in (Swish,) or any(field.is_required() for field in kind.model_fields.values()):
            continue
        found += [fill(kind(), preset) for preset in (TORCH, KERAS)]
    found += [Swish(1.702), LeakyRelu(0.3), LeakyRelu(0.1), Gelu("tanh"), Elu(0.5), Celu(0.5)]
    found += [Softplus(beta=1.0, threshold=20.0)]
    return [item for place, item in enumerate(found) if item not in found[:place]]


def _as(setting: Setting, function: Any) -> Setting:
    return setting.with_(settings=Activation(function))


def constants(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """The same function with another constant, fitted."""
    function = setting.node.settings.function
    kind = getattr(function, "kind", str(function))
    if kind == "relu":  # the slope of a leaky one that is 0
        function, kind = LeakyRelu(0.0), "leaky_relu"
    for name, known in CONSTANTS.get(kind, ()):
        meant = getattr(function, name)

        def value(item: float, name: str = name, function: Any = function) -> Any:
            return _as(setting, type(function)(**{**dict(function), name: item})).value()

        starts = [*([] if isinstance(meant, str) else [meant]), *known]
        found = fitted(value, recorded, starts)
        for item in [] if found is None else written(found, known):
            if item == meant:
                continue

            def make(item: float = item, name: str = name, function: Any = function) -> Setting:
                return _as(setting, type(function)(**{**dict(function), name: item}))

            said = f"{name} {number(item)} instead of {number(meant)}"
            yield Flip(cause_of(kind, name), said, meant, item, make, found, name)


def kinds(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001 (every source has both)
    """Another function."""
    meant = setting.node.settings.function
    kind = getattr(meant, "kind", str(meant))
    for function in every_function():
        if function == meant:
            continue
        cause = "activation.kind"
        if function.kind == kind:
            changed = [name for name, value in function if value != getattr(meant, name)]
            cause = cause_of(kind, changed[0])
        elif {function.kind, kind} == {"relu", "leaky_relu"}:
            cause = "activation.slope"

        def make(function: Any = function) -> Setting:
            return _as(setting, function)

        yield Flip(cause, f"{number(function)} instead of {number(meant)}", number(meant), number(function), make)


def _two_fifths(x: Traced) -> Traced:
    """``clip(0.2 x + 0.5, 0, 1)``."""
    found: Traced = ops.clip(x * 0.2 + 0.5, 0.0, 1.0)
    return found


def old_hard_sigmoid(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """Keras 2's hard sigmoid, alone or as the gate of hard swish; and the newer one where the old one is meant."""
    kind = getattr(setting.node.settings.function, "kind", "")
    x = setting.inputs[0]
    said = "clip(0.2 x + 0.5, 0, 1) instead of relu6(x + 3) / 6"
    if kind == "hard_sigmoid":
        yield Flip(
            "activation.hard_sigmoid", said, "relu6(x + 3) / 6", "clip(0.2 x + 0.5, 0, 1)", lambda: _old(x, setting)
        )
    if kind == "hard_swish":

        def gated() -> Evaluated:
            return Written(lambda x: x * _two_fifths(x), [x], setting.unit)

        yield Flip("activation.hard_sigmoid", f"gate {said}", "relu6(x + 3) / 6", "clip(0.2 x + 0.5, 0, 1)", gated)


def _old(x: Array, setting: Setting) -> Evaluated:
    return Written(_two_fifths, [x], setting.unit)


def softmaxes(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """Softmax over another axis, or twice."""
    function, x = setting.node.settings.function, setting.inputs[0]
    kind = getattr(function, "kind", "")
    if kind not in ("softmax", "log_softmax"):
        return
    rank = x.ndim - 1
    for axis in range(rank):
        if axis == function.axis % rank:
            continue

        def make(axis: int = axis) -> Setting:
            return _as(setting, type(function)(axis))

        yield Flip("softmax.axis", f"axis {axis} instead of {function.axis}", function.axis, axis, make)
    outer = ops.softmax if kind == "softmax" else ops.log_softmax
    place = 1 + function.axis % rank

    def twice() -> Evaluated:
        return Written(lambda x: outer(ops.softmax(x, place), place), [x], setting.unit)

    def over_batch() -> Evaluated:
        return Written(lambda x: outer(x, 0), [x], setting.unit)

    yield Flip("softmax.double", f"{kind} of a softmax", "once", "twice", twice)
    yield Flip("softmax.axis", f"{kind} over the batch", function.axis, "batch", over_batch)


def doubled(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """A softmax where the meaning has none, of values that are a softmax already."""
    x = setting.inputs[0]
    rank = x.ndim - 1
    if getattr(setting.node.settings.function, "kind", "") != "linear" or rank < 1:
        return
    sums = np.abs(x.sum(axis=-1) - 1.0)
    if x.min(initial=0.0) < 0.0 or sums.max(initial=0.0) > x.shape[-1] * 4.0 * setting.unit:
        return
    yield Flip("softmax.double", "softmax of a softmax", "once", "twice", lambda: _as(setting, Softmax()))


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "activation": (old_hard_sigmoid, softmaxes, doubled, constants, kinds),
}
"""By operation."""
