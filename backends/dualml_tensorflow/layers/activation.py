"""Activations as layers of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualml.spec.graph import Node
from dualml_tensorflow.activations import ACTIVATIONS
from dualml_tensorflow.layers.base import Make


def activation(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """The layer of the activation function."""
    function = node.settings.function
    return ACTIVATIONS[function.kind](function, precision, node.name)


LAYERS: Mapping[str, Make] = {"activation": activation}
