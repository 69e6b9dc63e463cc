"""Fewer neurons: units of dense layers and filters of convolutions are taken out of the spec and out of the weights.

A unit can go where everything between it and the layers that read it treats each channel by itself: the readers then
lose the weights they had for it. How much a unit matters is the length of its weights (after a batch norm, as that
scales them) times the length of the weights that read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualml.compress.editing import SIZES, Editor, Smaller, finished, has_kernel, own_weights_only, why_not
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.graph import Graph, Node

EACH_CHANNEL = frozenset(
    {"activation", "alpha_dropout", "batch_norm", "dropout", "flatten", "global_average_pool", "global_max_pool",
     "spatial_dropout"}
    | {f"{kind}_pool{rank}d" for kind in ("max", "average", "adaptive_max", "adaptive_average") for rank in (1, 2, 3)}
)  # fmt: skip
"""Operations that treat each channel by itself."""
ACROSS = frozenset({"softmax", "log_softmax"})
"""Activation functions that do not."""


@dataclass
class _Flow:
    """Where the channels of a node go.

    Attributes:
        norms: Batch norms on the way.
        readers: Layers that read them, with how many positions of each channel a flattened input has.
        why_not: What on the way needs all of them.
    """

    norms: list[Node] = field(default_factory=list)
    readers: list[tuple[Node, int]] = field(default_factory=list)
    why_not: str | None = None


def cut_neurons(spec: Spec, weights: Mapping[str, Array], keep: float) -> Smaller:
    """Take units and filters out.

    Args:
        spec: The model.
        weights: All parameters and buffers.
        keep: Share of the units and filters of each layer that stay, above 0 and below 1; at least one stays.

    Raises:
        UnsupportedError: None can be taken out.
    """
    graph, editor, arrays = spec.graph, Editor(spec), dict(weights)
    flows = {node.name: _flow(graph, node, editor) for node in graph.nodes if has_kernel(node)}
    kept = {name: flow.why_not for name, flow in flows.items() if flow.why_not is not None}
    by_path: dict[str, list[str]] = {}
    for name in flows:
        by_path.setdefault(graph.by_name[name].path, []).append(name)
    layers = {}
    for names in by_path.values():  # several nodes of one path are the times of a repeat
        if any(name in kept for name in names):
            kept |= {name: "another time of its repeat needs all of its channels" for name in names if name not in kept}
            continue
        units = graph.by_name[names[0]].shape[-1]
        count = max(1, math.floor(keep * units + 0.5))
        if count == units:
            kept |= dict.fromkeys(names, f"{keep:g} of its {units} are all of them")
            continue
        for name in names:
            node = graph.by_name[name]
            rows = most_important(_importance(node, flows[name], weights), count)
            _take_out(node, flows[name], rows, arrays)
            layers[name] = f"{count} of {units} {SIZES[node.operation]}"
        settings = editor.settings(graph.by_name[names[0]])
        assert settings is not None, "why_not has asked"
        settings[SIZES[graph.by_name[names[0]].operation]] = count
    return finished(editor, arrays, layers, kept, "neurons")


def most_important(importance: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the largest numbers, in order; of equal ones the first.

    Example:
        >>> import numpy as np
        >>> most_important(np.array([1.0, 3.0, 1.0, 2.0]), 3).tolist()
        [0, 1, 3]
    """
    return np.sort(np.argsort(-importance, kind="stable")[:count])


def _flow(graph: Graph, node: Node, editor: Editor) -> _Flow:
    flow = _Flow(why_not=why_not(graph, node, editor))
    waiting = [(node.name, 1)]
    while waiting and flow.why_not is None:
        name, positions = waiting.pop()
        if name in graph.outputs:
            flow.why_not = "it gives an output"
        for reader in (item for item in graph.nodes if name in item.inputs):
            if reader.operation in SIZES and getattr(reader.settings, "groups", 1) == 1:
                flow.readers.append((reader, positions))
                if not own_weights_only(graph, reader):
                    flow.why_not = f"{reader.name}, which reads it, shares its weights"
            elif reader.operation in EACH_CHANNEL and not _mixes(reader):
                flow.norms += [reader] if reader.operation == "batch_norm" else []
                many = math.prod(reader.input_shapes[0][:-1]) if reader.operation == "flatten" else 1
                waiting.append((reader.name, positions * many))
            else:
                flow.why_not = f"{reader.name} needs all of its channels"
    return flow


def _mixes(node: Node) -> bool:
    return node.operation == "activation" and node.settings.function.kind in ACROSS


def _importance(node: Node, flow: _Flow, weights: Mapping[str, Array]) -> NDArray[np.float64]:
    found = _lengths(weights, node, ("kernel", "bias"), -1)
    for norm in flow.norms:
        scale, variance = norm.weight("scale"), norm.weight("running_variance")
        assert variance is not None
        found = found / np.sqrt(weights[variance.name].astype(np.float64) + norm.settings.epsilon)
        if scale is not None:
            found = found * np.abs(weights[scale.name].astype(np.float64))
    reading = np.zeros_like(found)
    for reader, positions in flow.readers:
        lengths = _lengths(weights, reader, ("kernel",), -2)
        reading += np.sum(lengths.reshape(positions, -1) ** 2, axis=0)
    return np.asarray(found * np.sqrt(reading))


def _lengths(weights: Mapping[str, Array], node: Node, roles: tuple[str, ...], axis: int) -> NDArray[np.float64]:
    """Length of the weights that belong to each place of an axis."""
    total: float | NDArray[np.float64] = 0.0
    for role in roles:
        weight = node.weight(role)
        if weight is not None:
            squares = weights[weight.name].astype(np.float64) ** 2
            axis_here = axis % squares.ndim
            total = total + squares.sum(axis=tuple(item for item in range(squares.ndim) if item != axis_here))
    return np.asarray(np.sqrt(total))


def _take_out(node: Node, flow: _Flow, rows: NDArray[np.int64], arrays: dict[str, Array]) -> None:
    """Keep some channels of a node, of the norms behind it and of what its readers have for them."""
    for item in (*node.weights, *(weight for norm in flow.norms for weight in norm.weights)):
        arrays[item.name] = np.take(arrays[item.name], rows, axis=-1)
    units = node.shape[-1]
    for reader, positions in flow.readers:
        kernel = reader.weight("kernel")
        assert kernel is not None
        places = (np.arange(positions)[:, None] * units + rows).reshape(-1)
        arrays[kernel.name] = np.take(arrays[kernel.name], places, axis=-2)
