"""Weights of one layer as another one of the same meaning holds them: biases apart or as one, filters in groups.

Both sides' arrays are in the neutral layout, so most weights are copied as they are. What is left is said here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualml.native.alignment import Alignment
from dualml.native.protocol import OPAQUE
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph, Node
from dualml.spec.layers import Gru, Recurrent

Roles = dict[str, Array]


def translate(source: Node, target: Node, arrays: Arrays) -> Roles:
    """The weights with which a node means what another one means.

    Args:
        source: The node whose meaning is wanted.
        target: The node that is to have it.
        arrays: The source's weights, by the names of its graph.

    Returns:
        By role of the target, in its shapes; roles for which there is nothing are missing.
    """
    own = {item.role: np.asarray(arrays[item.name]) for item in source.weights if item.name in arrays}
    found: Roles = {}
    if _recurrent(source, target):
        found = _biases(source, target, own)
    for item in target.weights:
        if item.role in found or (item.role.endswith("bias") and _recurrent(source, target)):
            continue
        array = own.get(item.role)
        if array is None:
            if item.role in ABSENT and not any(other.role == item.role for other in source.weights):
                found[item.role] = np.full(item.shape, ABSENT[item.role])
        elif array.shape == item.shape:
            found[item.role] = array
        elif _grouped(source, target) and item.role == "kernel" and array.size == np.prod(item.shape):
            # Output c m + j of group c stands at [..., 0, c m + j] in one and at [..., c, j] in the other.
            found[item.role] = array.reshape(item.shape)
        elif item.role == "slope" and array.size == 1:
            found[item.role] = np.full(item.shape, array.reshape(-1)[0])
    return found


ABSENT = {"bias": 0.0, "recurrent_bias": 0.0, "offset": 0.0, "scale": 1.0}
"""What a weight that a layer does not have amounts to."""


def translates(source: Node, target: Node) -> bool:
    """Whether the weights of both nodes say the same in two ways, which ``translate`` knows."""
    if _recurrent(source, target):
        return True
    if source.operation == OPAQUE:
        return False
    return _grouped(source, target) or (
        source.operation == target.operation
        and {item.role for item in source.weights} ^ {item.role for item in target.weights} <= set(ABSENT)
    )


def _recurrent(source: Node, target: Node) -> bool:
    return isinstance(source.settings, Recurrent) and source.operation == target.operation


def _grouped(source: Node, target: Node) -> bool:
    """A depthwise convolution and a convolution with a group for each channel."""
    kinds = {source.operation, target.operation}
    return len(kinds) == 2 and any(kinds == {f"conv{rank}d", f"depthwise_conv{rank}d"} for rank in (1, 2))


def _biases(source: Node, target: Node, own: Roles) -> Roles:
    """Biases of recurrent layers: one, two, or two as one array."""
    settings, wanted = source.settings, target.settings
    assert isinstance(settings, Recurrent)
    assert isinstance(wanted, Recurrent)
    columns = settings.gates * settings.units
    zeros = np.zeros(columns)
    form = settings.bias_form
    first, second = zeros, zeros
    if form == "stacked" and "bias" in own:
        first, second = own["bias"]
    elif form in ("single", "double"):
        first = own.get("bias", zeros)
        second = own.get("recurrent_bias", zeros)
    if wanted.bias_form == "double":
        return {"bias": first, "recurrent_bias": second}
    if wanted.bias_form == "stacked":
        return {"bias": np.stack([first, second])}
    if wanted.bias_form == "single":
        # The reset gate multiplies the second bias of a candidate, so there it cannot join the first one.
        joins = not (isinstance(settings, Gru) and settings.reset_after) or not np.any(second[-settings.units :])
        return {"bias": first + second} if joins else {}
    return {}


def copied(alignment: Alignment, left: Graph, right: Graph, arrays: Arrays) -> tuple[dict[str, Array], list[str]]:
    """The left side's weights as the right side holds them.

    Args:
        alignment: What stands for what.
        left: The left graph.
        right: The right graph.
        arrays: The left weights by the names of the left graph.

    Returns:
        Weights by the names of the right graph, and a sentence for each right weight that keeps what it has.
    """
    found: dict[str, Array] = {other: np.asarray(arrays[name]) for name, other in alignment.weights}
    for pair in (*alignment.pairs, *alignment.shapes_differ):
        if len(pair.left) != 1 or len(pair.right) != 1:
            continue
        source, target = left.by_name[pair.left[0]], right.by_name[pair.right[0]]
        if translates(source, target):
            roles = translate(source, target, arrays)
            for item in target.weights:
                found.pop(item.name, None)
                if item.role in roles:
                    found[item.name] = roles[item.role]
    kept = [item for item in right.weights if item.name not in found]
    sentences = [f"the right weight {item.name} of shape {list(item.shape)} keeps its own values" for item in kept]
    return found, sentences


def as_left(lefts: Sequence[Node], rights: Sequence[Node], arrays: Arrays) -> dict[str, Array]:
    """A right node's weights under the names and in the form of the left node it stands for.

    So what the left side means can be evaluated with the right side's numbers.

    Args:
        lefts: The left nodes of a pair.
        rights: Its right nodes.
        arrays: The right weights by the names of the right graph.

    Returns:
        By the names of the left graph; empty unless both are one node and ``translates`` knows them.
    """
    if len(lefts) != 1 or len(rights) != 1 or not translates(rights[0], lefts[0]):
        return {}
    names = {item.role: item.name for item in lefts[0].weights}
    return {names[role]: array for role, array in translate(rights[0], lefts[0], arrays).items()}
