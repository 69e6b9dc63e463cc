"""Random settings, drawn from the types of the settings themselves, so that what is new is drawn as well.

What a number may be depends on the input's shape; those settings are in ``OVERRIDES``. Settings that only go together
in some combinations are mended in ``MENDED``. Everything is drawn as a config file has it.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st

from dualml.spec.base import Keyed, OneKey, Settings
from dualml.spec.layers import LAYERS, STRUCTURE

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]

LEFT_OUT = object()
"""What stands for a setting that is not said."""

KINDS = {kind.kind: kind for kind in (*LAYERS, *STRUCTURE)}
"""Every kind of layer by its key."""

FLOATS = (0.0, 0.1, 0.3, 0.7, 1.0, 1.3, 2.6, -0.4, 40.0)
"""Numbers to choose from, most of which float32 does not hold; limits take some away."""

OWN_WIRING = frozenset({"name", "inputs"})
"""Settings that say where a layer stands, drawn with the model."""


def chance(draw: Draw, one_in: int) -> bool:
    """True once in so many times, and never in the simplest example."""
    return draw(st.integers(0, one_in - 1)) == one_in - 1


def drawn_settings(draw: Draw, kind: type[Settings], shape: Shape) -> dict[str, Any]:
    """Settings of a class, for a layer whose input has this shape (of a loss: the output's)."""
    key = getattr(kind, "kind", kind.__name__)
    found: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in OWN_WIRING or (not field.is_required() and not draw(st.booleans())):
            continue
        override = OVERRIDES.get((key, name)) or OVERRIDES.get(("*", name))
        value = (
            override(draw, kind, shape)
            if override is not None
            else _value(draw, field.annotation, tuple(field.metadata), f"{key}.{name}", shape)
        )
        if value is not LEFT_OUT:
            found[name] = value
    mend = MENDED.get(key)
    if mend is not None:
        mend(draw, kind, shape, found)
    return found


def one_of(draw: Draw, kinds: tuple[type[Keyed], ...], shape: Shape) -> Any:
    """One of several kinds with its settings, as a file has it."""
    kind = draw(st.sampled_from(kinds))
    settings = drawn_settings(draw, kind, shape)
    return {kind.kind: settings} if settings or draw(st.booleans()) else kind.kind


def _value(draw: Draw, annotation: Any, limits: tuple[Any, ...], place: str, shape: Shape) -> Any:
    """A value of a type."""
    chosen = [item for item in limits if isinstance(item, OneKey)]
    if chosen:
        return one_of(draw, chosen[0].kinds, shape)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [part for item in arguments[1:] for part in getattr(item, "metadata", [item])]
        return _value(draw, arguments[0], (*limits, *inner), place, shape)
    if origin in (Union, types.UnionType):
        given = [item for item in arguments if item is not type(None)]
        return _value(draw, draw(st.sampled_from(given)), limits, place, shape)
    if origin is Literal:
        return draw(st.sampled_from(arguments))
    if annotation is bool:
        return draw(st.booleans())
    if annotation is int:
        return draw(st.sampled_from([number for number in range(5) if _within(number, limits)]))
    if annotation is float:
        return draw(st.sampled_from([number for number in FLOATS if _within(number, limits)]))
    if annotation is str:  # the name of a layer, drawn with the model
        return LEFT_OUT
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return drawn_settings(draw, annotation, shape)
    raise NotImplementedError(f"no random value is known for {place}: {annotation}; add an override")


def _within(number: float, limits: tuple[Any, ...]) -> bool:
    tests = {
        Gt: lambda limit: number > limit.gt,
        Ge: lambda limit: number >= limit.ge,
        Lt: lambda limit: number < limit.lt,
        Le: lambda limit: number <= limit.le,
    }
    return all(tests[type(limit)](limit) for limit in limits if type(limit) in tests)


# ------------------------------------------------------------------ what suits a shape


def rank_of(kind: type[Settings]) -> int:
    """Spatial axes of a layer with windows."""
    return int(getattr(kind, "rank", 0) or kind.depthwise.rank)  # type: ignore[attr-defined]


def divisors(number: int) -> list[int]:
    """All of them."""
    return [item for item in range(1, number + 1) if number % item == 0]


def _sizes(most: int) -> Callable[..., Any]:
    """A size for all spatial axes, or one for each."""

    def drawn(draw: Draw, kind: Any, shape: Shape) -> Any:
        size = st.integers(1, most)
        rank = rank_of(kind) if kind.kind != "resize" else len(shape) - 1
        return [draw(size) for _ in range(rank)] if draw(st.booleans()) else draw(size)

    return drawn


def _amounts(draw: Draw, rank: int, most: int) -> Any:
    if draw(st.booleans()):
        return draw(st.integers(0, most))
    pairs = st.one_of(st.integers(0, most), st.lists(st.integers(0, most), min_size=2, max_size=2))
    return [draw(pairs) for _ in range(rank)]


def _padding(draw: Draw, kind: Any, shape: Shape) -> Any:
    words = sorted(_words(kind.model_fields["padding"].annotation))
    if rank_of(kind) > 1 or "stride" not in kind.model_fields or kind.kind.endswith(_POOLING):
        words = [word for word in words if word != "causal"]
    word = draw(st.sampled_from([*words, "amounts"]))
    return _amounts(draw, rank_of(kind), 2) if word == "amounts" else word


_POOLING = ("pool1d", "pool2d", "pool3d")


def _words(annotation: Any) -> set[str]:
    """Every word of every literal in a type."""
    if get_origin(annotation) is Literal:
        return {item for item in get_args(annotation) if isinstance(item, str)}
    return {word for item in get_args(annotation) for word in _words(item)}


def _axis(draw: Draw, _kind: Any, shape: Shape) -> int:
    return draw(st.integers(-len(shape), len(shape) - 1))


def _crops(draw: Draw, _kind: Any, shape: Shape) -> Any:
    pairs = []
    for size in shape[:-1]:
        before = draw(st.integers(0, (size - 1) // 2))
        pairs.append([before, draw(st.integers(0, size - 1 - before))])
    return pairs if draw(st.booleans()) else max(0, (min(shape[:-1], default=1) - 1) // 2)


def _target(draw: Draw, _kind: Any, shape: Shape) -> list[int]:
    rest, target = math.prod(shape), []
    for _ in range(draw(st.integers(0, 2))):
        target.append(draw(st.sampled_from(divisors(rest))))
        rest //= target[-1]
    target.append(rest)
    if draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return target


def _numbers_for_last(draw: Draw, _kind: Any, shape: Shape) -> Any:
    values = st.sampled_from([0.3, 1.0, 1.7])
    return [draw(values) for _ in range(shape[-1])]


def _plain(name: str, otherwise: Any) -> Callable[..., Any]:
    """A number for each value on the last axis, or one of some others."""

    def drawn(draw: Draw, kind: Any, shape: Shape) -> Any:
        each = draw(st.booleans())
        return _numbers_for_last(draw, kind, shape) if each else draw(st.sampled_from(otherwise))

    return drawn


def _from(*values: Any) -> Callable[..., Any]:
    return lambda draw, _kind, _shape: draw(st.sampled_from(values))


def _scale_of_resize(draw: Draw, _kind: Any, shape: Shape) -> Any:
    factor = st.sampled_from([0.6, 1.0, 1.5, 1.7, 2.0])
    return [draw(factor) for _ in shape[:-1]] if draw(st.booleans()) else draw(factor)


IDS = 5
"""Every vocabulary's size; ids are below it."""

Override = Callable[[Draw, Any, Shape], Any]

OVERRIDES: dict[tuple[str, str], Override] = {
    ("*", "kernel_size"): _sizes(3),
    ("*", "stride"): _sizes(3),
    ("*", "dilation"): _sizes(2),
    ("*", "axis"): _axis,
    ("*", "epsilon"): _from(1e-3, 1e-5, 0.13),
    ("*", "rate"): _from(0.0, 0.1, 0.4),
    ("*", "attention_rate"): _from(0.0, 0.3),
    ("*", "vocabulary"): _from(IDS),
    ("*", "groups"): lambda draw, _kind, shape: draw(st.sampled_from(divisors(shape[-1]))),
    ("*", "output_padding"): _from(0),
    ("*", "class_weights"): _plain("class_weights", ["none"]),
    ("*", "pos_weight"): _plain("pos_weight", [1.0, 2.6]),
    ("*", "gamma"): _from(0.0, 1.0, 1.3, 2.0),
    ("*", "ignore_index"): _from("none", 0, 1, -100),
    ("*", "heads"): _from(1, 2, 3),
    ("*", "axes"): lambda draw, _kind, shape: draw(st.integers(1, len(shape))),
    ("focal_cross_entropy", "alpha"): _plain("alpha", [0.25]),
    ("embedding", "padding_index"): lambda draw, _kind, _shape: draw(st.integers(0, IDS - 1)),
    ("padding_mask", "index"): lambda draw, _kind, _shape: draw(st.integers(0, IDS - 1)),
    ("position_embedding", "positions"): lambda draw, _kind, shape: shape[0] + draw(st.integers(0, 2)),
    ("batch_norm", "momentum"): _from(0.5, 0.9, 0.99),
    ("permute", "axes"): lambda draw, _kind, shape: list(draw(st.permutations(range(len(shape))))),
    ("reshape", "target"): _target,
    ("pad", "padding"): lambda draw, _kind, shape: _amounts(draw, len(shape) - 1, 2),
    ("crop", "cropping"): _crops,
    ("slice", "start"): lambda draw, _kind, shape: draw(st.integers(-shape[0], shape[0] - 1)),
    ("slice", "stop"): lambda draw, _kind, shape: draw(st.integers(-shape[0], shape[0] + 1)),
    ("select", "index"): lambda draw, _kind, shape: draw(st.integers(-shape[0], shape[0] - 1)),
    ("resize", "size"): _sizes(5),
    ("resize", "scale"): _scale_of_resize,
    ("clipped_relu", "max_value"): _from("none", 3.1),
    ("dirac", "groups"): _from(1),
    ("sparse", "sparsity"): _from(0.0, 0.4, 1.0),
    ("gate_uniform", "gates"): _from(1, 3, 4),
    ("variance_scaling", "scale"): _from(0.7, 2.0),
}
"""How a setting is drawn whose type does not say enough: by the class's key and the setting's name."""

for _kind in KINDS:
    if _kind.endswith(_POOLING):
        OVERRIDES[_kind, "size"] = _sizes(4 if _kind.startswith("adaptive") else 3)
    if "padding" in KINDS[_kind].model_fields and (_kind, "padding") not in OVERRIDES:
        OVERRIDES[_kind, "padding"] = _padding


def _mend_groups(draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    groups = settings.get("groups", 1)
    settings["filters"] = groups * draw(st.integers(1, 2 if groups > 1 else 3))


def _mend_transposed(draw: Draw, kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    _mend_groups(draw, kind, shape, settings)
    if "output_padding" in settings:
        most = min(_least(settings.get("stride", 1)), 3)
        settings["output_padding"] = (
            "fill" if settings.get("padding") == "same" else draw(st.sampled_from(["fill", *range(most)]))
        )


def _least(value: Any) -> int:
    return min(value) if isinstance(value, list) else int(value)


def _mend_resize(draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    if ("size" in settings) == ("scale" in settings):
        settings.pop("size", None)
        settings["scale"] = _scale_of_resize(draw, None, shape)
    if settings.get("mode") != "linear":
        settings.pop("align_corners", None)


def _mend_pad(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    if settings.get("padding_mode", "zeros") != "zeros":
        settings.pop("value", None)


def _mend_heads(draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    """Heads that divide: of the units, of the keys; pairs for rotary."""
    heads = settings["heads"]
    if "size" not in settings and shape[-1] % heads:
        settings["size"] = 2
    if "rotary" in settings and settings.get("size", shape[-1] // heads) % 2:
        settings["size"] = 2
    if "kv_heads" in settings:
        settings["kv_heads"] = draw(st.sampled_from(divisors(heads)))


def _mend_gru(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    if settings.get("reset_after") is False and settings.get("bias") == "stacked":
        settings["bias"] = "single"


def _mend_bidirectional(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    if isinstance(settings["layer"], dict):
        next(iter(settings["layer"].values())).pop("reverse", None)


def _mend_axis(setting: str) -> Callable[..., None]:
    """Positions on the axis that was drawn, not the first."""

    def mend(draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
        axis = settings.get("axis", 0)
        size = shape[axis]
        if setting in settings:
            settings[setting] = draw(st.integers(-size, size - 1))
        if "stop" in settings:
            start = settings.get("start", 0) % size
            settings["stop"] = draw(st.integers(start + 1, size + 1))

    return mend


def _mend_even(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    even = [axis for axis, size in enumerate(shape) if size % 2 == 0]
    if even and shape[settings.get("axis", -1)] % 2:
        settings["axis"] = even[-1]


def _mend_order(low: str, high: str) -> Callable[..., None]:
    def mend(_draw: Draw, kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
        defaults = {name: kind.model_fields[name].default for name in (low, high)}
        least, most = ({**defaults, **settings}[name] for name in (low, high))
        if most != "none" and least >= most:
            settings[high] = least + 0.7

    return mend


def _mend_range(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    """Both ends or neither, the lower one first."""
    if "low" in settings or "high" in settings:
        ends = {settings.get("low", -0.4), settings.get("high", 1.3)}
        settings["low"], settings["high"] = min(ends), max(ends) + (len(ends) == 1)


def _mend_penalties(_draw: Draw, _kind: Any, shape: Shape, settings: dict[str, Any]) -> None:
    if not settings.get("l1") and not settings.get("l2"):
        settings["l2"] = 0.3


MENDED: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _mend_groups),
    **dict.fromkeys((kind for kind in KINDS if kind.startswith("conv_transpose")), _mend_transposed),
    **dict.fromkeys(("attention", "transformer_encoder", "transformer_decoder"), _mend_heads),
    "resize": _mend_resize,
    "pad": _mend_pad,
    "gru": _mend_gru,
    "bidirectional": _mend_bidirectional,
    "slice": _mend_axis("start"),
    "select": _mend_axis("index"),
    "glu": _mend_even,
    "hard_tanh": _mend_order("minimum", "maximum"),
    "clipped_relu": _mend_order("threshold", "max_value"),
    "l1_l2": _mend_penalties,
    "uniform": _mend_range,
    "truncated_normal": _mend_range,
}
"""Settings that only go together in some combinations, put right after they are drawn."""


def without_initializers(settings: Any) -> Any:
    """Settings without their initializers, some of which draw parameters of certain shapes only."""
    if isinstance(settings, list):
        return [without_initializers(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    return {key: without_initializers(item) for key, item in settings.items() if not key.endswith("initializer")}


@functools.cache
def choices(kind: type[Keyed]) -> frozenset[tuple[str, Any]]:
    """Every choice among words and among true and false that a class's own settings leave: (setting, value)."""
    found = set()
    for name, field in kind.model_fields.items():
        if name in OWN_WIRING:
            continue
        for word in _words(field.annotation):
            found.add((name, word))
        if field.annotation is bool or bool in get_args(field.annotation):
            found |= {(name, True), (name, False)}
    return frozenset(found)
