"""Conventions of recurrent layers: which axis is time, which way it is read, what is returned, the reset gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from dualml.parity.hypotheses.conventions.base import Evaluated, Flip, Moved, Source
from dualml.parity.hypotheses.nodes import Setting, changed
from dualml.protocol import Array
from dualml.reference.rounding import Float


def reset(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001 (every source has both)
    """The reset gate of a GRU before or after the product."""
    settings = setting.node.settings
    toggled = not settings.reset_after

    def make() -> Setting:
        roles, form = dict(setting.roles), settings.bias
        bias = roles.get("bias")
        if form == "stacked" and bias is not None:
            roles, form = {**roles, "bias": bias[0], "recurrent_bias": bias[1]}, "double"
        return setting.with_(settings=changed(settings, reset_after=toggled, bias=form), roles=roles)

    said = f"the reset gate {'after' if toggled else 'before'} the product"
    yield Flip("rnn.reset_after", said, settings.reset_after, toggled, make)


def layout(setting: Setting, recorded: Array) -> Iterator[Flip]:  # noqa: ARG001
    """Axes of time and batch exchanged, the other direction, other steps returned."""
    settings, cause = setting.node.settings, "rnn.layout"
    x = setting.inputs[0]

    def reversed_() -> Setting:
        return setting.settings_changed(reverse=not settings.reverse)

    yield Flip(cause, "read in the other direction", settings.reverse, not settings.reverse, reversed_)
    if settings.return_sequences:

        def turned() -> Evaluated:
            inner = setting.settings_changed(reverse=not settings.reverse)
            return Moved(inner, lambda array: np.flip(array, axis=1))

        yield Flip(cause, "read in the other direction, outputs left so", "in place", "reversed", turned)
    if len(setting.inputs) == 1:
        exchanged = _exchanged(setting)

        def whole() -> Evaluated:
            return Moved(exchanged, lambda array: array.swapaxes(0, 1))

        def last() -> Evaluated:
            return Moved(exchanged, lambda array: array.swapaxes(0, 1)[:, -1])

        yield Flip(
            cause,
            "the batch taken for time",
            "(batch, time, features)",
            "(time, batch, features)",
            whole if settings.return_sequences else last,
        )
    if not settings.return_sequences:
        for place, said in ((0, "first"), (-1, "last")):

            def step(place: int = place) -> Evaluated:
                inner = setting.settings_changed(return_sequences=True)

                def take(array: Float) -> Float:
                    return array[:, place]

                return Moved(inner, take)

            yield Flip(cause, f"the output at the {said} position", "the final state", f"{said} position", step)
    if len(setting.inputs) > 1:
        other = "previous" if settings.masked_output == "zeros" else "zeros"

        def masked() -> Setting:
            return setting.settings_changed(masked_output=other)

        def unmasked() -> Setting:
            return setting.with_(inputs=(x, np.ones_like(np.asarray(setting.inputs[1], dtype=np.float64))))

        yield Flip(cause, f"{other} at steps that are not read", settings.masked_output, other, masked)
        yield Flip(cause, "the mask left out", "mask", "no mask", unmasked)


def _exchanged(setting: Setting) -> Setting:
    """The layer with the examples for its steps."""
    x = setting.inputs[0].swapaxes(0, 1)
    settings = changed(setting.node.settings, return_sequences=True)
    node = replace(setting.node, input_shapes=(tuple(x.shape[1:]),))
    return replace(setting, node=node, inputs=(x,), _cache={}).with_(settings=settings)


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "gru": (reset, layout),
    "lstm": (layout,),
    "simple_rnn": (layout,),
}
"""By operation."""
