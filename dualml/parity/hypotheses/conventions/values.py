"""Conventions of layers that drop, pick, move or stretch values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product

import numpy as np

from dualml.parity.hypotheses.conventions.base import Evaluated, Flip, Source, Written
from dualml.parity.hypotheses.fitting import written
from dualml.parity.hypotheses.nodes import Setting
from dualml.parity.hypotheses.trial import number
from dualml.protocol import Array
from dualml.reference import ops
from dualml.reference.trace import Traced

RATES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)


def _kept(setting: Setting, factor: float) -> Evaluated:
    """``x m factor``."""
    kept = np.ones(1) if setting.mask is None else setting.mask.astype(np.float64)

    def formula(x: Traced) -> Traced:
        found: Traced = x * (kept * factor)
        return found

    return Written(formula, [setting.inputs[0]], setting.unit)


def dropping(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Another rate, no scaling, scaling twice; and dropping in inference."""
    rate, x = float(setting.node.settings.rate), setting.inputs[0]
    if recorded.shape != x.shape:
        return
    if not setting.training:
        yield from _in_inference(setting, recorded)
        return
    share = 1.0 - rate
    yield Flip("dropout.scale", "kept values not scaled", f"1 / {share:g}", "1", lambda: _kept(setting, 1.0))
    said = "kept values scaled twice"
    yield Flip("dropout.scale", said, f"1 / {share:g}", f"1 / {share:g}^2", lambda: _kept(setting, share**-2))
    said = "kept values multiplied by the share that is kept"
    yield Flip("dropout.scale", said, f"1 / {share:g}", f"{share:g}", lambda: _kept(setting, share))
    off = "nothing dropped in training"
    yield Flip("mode.train_eval", off, "training", "inference", lambda: setting.with_(training=False))
    seen = (recorded != 0) & (x != 0)
    if not seen.any():
        return
    place = np.unravel_index(np.argmax(np.where(seen, np.abs(x), 0.0)), x.shape)
    found = 1.0 - float(x[place]) / float(recorded[place])
    for item in written(found, RATES):
        if 0.0 < item < 1.0 and item != rate:

            def make(item: float = item) -> Setting:
                return setting.settings_changed(rate=item)

            yield Flip("dropout.rate", f"rate {number(item)} instead of {number(rate)}", rate, item, make, found)


def _in_inference(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """Kept values scaled and others 0, in inference."""
    rate, x = float(setting.node.settings.rate), setting.inputs[0]
    mask = (recorded != 0) | (x == 0)
    factor = 1.0 if rate == 0 else 1.0 / (1.0 - rate)

    def active(factor: float) -> Evaluated:
        def formula(x: Traced) -> Traced:
            found: Traced = x * (mask * factor)
            return found

        return Written(formula, [x], setting.unit)

    for cause, meant, instead in (
        ("dropout.active_in_eval", "off", "on"),
        ("mode.train_eval", "inference", "training"),
    ):
        said = "values dropped in inference" if cause.startswith("dropout") else "the formula of training in inference"
        yield Flip(cause, said, meant, instead, lambda: active(factor))
        if cause.startswith("dropout"):
            yield Flip(cause, f"{said}, unscaled", meant, instead, lambda: active(1.0))


def padding_row(setting: Setting, recorded: Array) -> Iterator[Flip]:
    """An embedding that gives zeros for one id, or reads its row where the meaning gives zeros."""
    ids, table = np.asarray(setting.inputs[0]).astype(np.int64), setting.roles.get("table")
    if table is None or recorded.shape[:-1] != ids.shape:
        return
    silent = ~recorded.any(axis=-1)
    for item in np.unique(ids[silent])[:8]:

        def make(item: int = int(item)) -> Setting:
            emptied = np.array(table)
            emptied[item] = 0.0
            return setting.with_(roles={**setting.roles, "table": emptied})

        meant = setting.node.settings.padding_index
        yield Flip("embedding.padding_index", f"zeros for the id {item}", meant, int(item), make)


def flattened(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001 (every source has both)
    """Axes flattened in another order."""
    settings, x = setting.node.settings, setting.inputs[0]
    other = "channels_first" if settings.order == "channels_last" else "channels_last"
    said = f"order {other} instead of {settings.order}"
    flip = Flip("layout.flatten_order", said, settings.order, other, lambda: setting.settings_changed(order=other))
    yield flip
    for axes in permutations(range(1, x.ndim)):

        def make(axes: tuple[int, ...] = axes) -> Evaluated:
            def formula(x: Traced) -> Traced:
                found: Traced = ops.reshape(ops.transpose(x, (0, *axes)), (x.shape[0], -1))
                return found

            return Written(formula, [x], setting.unit)

        if x.ndim > 3:
            yield Flip("layout.flatten_order", f"axes flattened in the order {list(axes)}", settings.order, axes, make)


def resized(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """Other places that resized values look at."""
    settings = setting.node.settings
    meant = (settings.align_corners, settings.rounding, settings.step)
    for corners, rounding, step in product((False, True), ("floor", "half_pixel"), ("scale", "sizes")):
        if (corners, rounding, step) == meant:
            continue

        def make(corners: bool = corners, rounding: str = rounding, step: str = step) -> Setting:
            return setting.settings_changed(align_corners=corners, rounding=rounding, step=step)

        names = ("align_corners", "rounding", "step")
        values = (corners, rounding, step)
        said = ", ".join(f"{n} {number(v)}" for n, v, m in zip(names, values, meant, strict=True) if v != m)
        yield Flip("resize.alignment", said, number(meant), number(values), make)


_DROPPING = ("dropout", "spatial_dropout", "stochastic_depth")

SOURCES: Mapping[str, tuple[Source, ...]] = {
    **dict.fromkeys(_DROPPING, (dropping,)),
    "embedding": (padding_row,),
    "flatten": (flattened,),
    "resize": (resized,),
}
"""By operation."""
