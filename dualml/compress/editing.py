"""Changing the layers of a spec by their places, and what comes of that: a spec and weights that belong together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dualml.api import checked
from dualml.errors import ConfigError, UnsupportedError
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.graph import Graph, Node
from dualml.weights import check_weights

SIZES = {"dense": "units", "conv1d": "filters", "conv2d": "filters", "conv3d": "filters"}
"""Layers that can be made smaller, with the setting that says how many units or filters they have."""
MOST_REASONS = 4
"""Of layers that stay as they are, in a message."""


@dataclass(frozen=True)
class Smaller:
    """A model that was made smaller.

    Attributes:
        spec: Its spec.
        weights: Its weights.
        layers: What was done to which layer, by node.
        kept_layers: Layers with weights that stayed as they were, with the reason.
    """

    spec: Spec
    weights: Mapping[str, Array]
    layers: Mapping[str, str]
    kept_layers: Mapping[str, str]


class Editor:
    """The layers of a resolved spec as plain values.

    Args:
        spec: The spec.
    """

    def __init__(self, spec: Spec) -> None:
        self.values: dict[str, Any] = spec.resolved.to_dict()

    def at(self, path: str) -> tuple[list[dict[str, Any]], int]:
        """The list that a layer stands in, and its place there.

        Args:
            path: Of a node: ``model.layers[0].group.layers[2]``.
        """
        found: Any = self.values
        *before, (last, index) = re.findall(r"(\w+)|\[(\d+)\]", path)
        for name, number in before:
            found = found[int(number)] if number else found[name]
        if last:  # a layer that others were made of: it stands in no list itself
            raise KeyError(path)
        return found, int(index)

    def settings(self, node: Node) -> dict[str, Any] | None:
        """The settings that a node was made of; ``None`` if a composite layer made it."""
        try:
            layers, index = self.at(node.path)
        except KeyError:
            return None
        found: dict[str, Any] | None = layers[index].get(node.operation)
        return found

    def spec(self) -> Spec:
        """The changed spec, resolved.

        Raises:
            UnsupportedError: A part of it no longer fits.
        """
        from pydantic import ValidationError

        try:
            return checked(Spec.model_validate(self.values))
        except (ValidationError, ConfigError) as error:
            raise UnsupportedError(
                f"the smaller model does not go together with the rest of the config, which has to be changed: {error}"
            ) from None


def own_weights_only(graph: Graph, node: Node) -> bool:
    """Whether no other node uses a parameter of a node."""
    uses = Counter(item.name for other in graph.nodes for item in other.parameters)
    return all(uses[item.name] == 1 for item in node.parameters)


def why_not(graph: Graph, node: Node, editor: Editor) -> str | None:
    """Why a layer cannot be made smaller; ``None`` if it can."""
    if node.operation not in SIZES:
        return f"{node.operation} has no form with fewer weights here"
    if editor.settings(node) is None:
        return "it is a part of a composite layer"
    if not own_weights_only(graph, node):
        return "another layer uses its weights too"
    if getattr(node.settings, "groups", 1) > 1:
        return "its channels are in groups"
    return None


def has_kernel(node: Node) -> bool:
    """Whether a node holds weights that methods are after: more than one number for each channel."""
    return any(len(item.shape) > 1 for item in node.parameters)


def finished(
    editor: Editor, weights: Mapping[str, Array], layers: Mapping[str, str], kept: Mapping[str, str], method: str
) -> Smaller:
    """The result of some changes.

    Raises:
        UnsupportedError: Nothing was changed.
    """
    if not layers:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(kept.items())[:MOST_REASONS]) or "it has no weights"
        reasons += f"; and {len(kept) - MOST_REASONS} more" if len(kept) > MOST_REASONS else ""
        raise UnsupportedError(f"--method {method}: no layer of this model can be made smaller: {reasons}")
    spec = editor.spec()
    check_weights(weights, spec.graph)
    return Smaller(spec, weights, layers, kept)
