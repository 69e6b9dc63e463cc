"""In which order a model has the axes of its inputs: what first takes them for channels or for the batch says it."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.native.layouts import Axes, behind_batch, unchanged
from dualml.native.protocol import Call, Trace

SEQUENTIAL = frozenset({"simple_rnn", "lstm", "gru", "attention", "position_embedding", "position_encoding"})
"""Kinds that read ``(batch, time, features)``, or with ``batch_axis`` 1 ``(time, batch, features)``."""

SPATIAL = frozenset(
    f"{name}{rank}d"
    for rank in (1, 2, 3)
    for name in (
        "conv",
        "depthwise_conv",
        "conv_transpose",
        "max_pool",
        "average_pool",
        "adaptive_average_pool",
        "adaptive_max_pool",
    )
) | {
    "batch_norm",
    "group_norm",
    "instance_norm",
    "pad",
    "crop",
    "resize",
    "spatial_dropout",
    "global_average_pool",
    "global_max_pool",
}
"""Kinds that read positions and, behind them or before them, channels."""

NORMALISING = frozenset({"batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"})
"""Kinds that give back what they take, normalised: behind them axes may lie as they lay before."""

POOLED = frozenset({"global_average_pool", "global_max_pool"})
"""Kinds that with ``batch_axis`` 1 pool the first axis of ``(time, batch, features)``, whatever has the batch."""


def trailing(call: Call) -> int:
    """How many of the last axes a call reads as they are, the others being alike to it; 0: it takes any order."""
    if call.kind in ("dense", "tied_dense"):
        return 1
    if call.kind in ("layer_norm", "rms_norm"):
        return int(call.settings.get("axes", 1))
    return 0


def demanded(call: Call, rank: int, *, batch_first: bool = False) -> Axes | None:
    """The order in which a call takes its first input; ``None``: it takes any.

    Args:
        call: The call.
        rank: Number of axes of the input, with the batch.
        batch_first: Whether to take every call for one that has the batch first, whatever it says.
    """
    if call.channels_first is not None and call.kind not in ("dense", "tied_dense"):
        return behind_batch(rank) if call.channels_first else unchanged(rank)
    if call.kind in SEQUENTIAL:
        return unchanged(rank, 0 if batch_first else call.batch_axis)
    if call.kind in POOLED and call.batch_axis:
        return unchanged(rank, call.batch_axis)
    if call.kind in SPATIAL or (call.kind == "prelu" and call.settings.get("slopes") != "one"):
        return unchanged(rank)
    return None


def input_axes(trace: Trace, *, batch_first: bool = False) -> dict[str, Axes | None]:
    """The order of each input's axes, as the first call says that does not take any order.

    Calls are followed through transpositions and through what leaves axes where they are. ``None`` for an input of
    which no call says anything.
    """
    found: dict[str, Axes | None] = dict.fromkeys(trace.inputs)
    origins: dict[int, tuple[str, Axes]] = {
        key: (name, tuple(range(len(trace.values[key].shape)))) for name, key in trace.inputs.items()
    }
    for call in trace.calls:
        for key in call.inputs:
            if key in origins:
                _ask(call, trace, key, origins, found, batch_first)
    return found


def _ask(
    call: Call,
    trace: Trace,
    key: int,
    origins: dict[int, tuple[str, Axes]],
    found: dict[str, Axes | None],
    batch_first: bool,
) -> None:
    name, order = origins[key]
    rank = len(trace.values[key].shape)
    wanted = demanded(call, rank, batch_first=batch_first)
    if wanted is not None:
        if found[name] is None:
            inputs = len(trace.values[trace.inputs[name]].shape)
            found[name] = tuple(order[axis] for axis in wanted if order[axis] < inputs)
        return
    if not call.outputs:
        return
    target = call.outputs[0]
    shape = trace.values[target].shape
    if call.kind == "permute":
        origins[target] = (name, tuple(order[axis] for axis in call.settings["axes"]))
    elif call.kind == "embedding":
        origins[target] = (name, (*order, len(order)))
    elif call.kind not in ("reshape", "flatten", "select", "concat") and len(shape) == rank and target not in origins:
        origins[target] = (name, order)


def batch_size(trace: Trace, axes: Mapping[str, Axes]) -> int:
    """Number of examples the trace was made with."""
    name, key = next(iter(trace.inputs.items()))
    return trace.values[key].shape[axes[name][0]]
