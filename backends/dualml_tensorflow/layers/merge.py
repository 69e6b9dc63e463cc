"""Layers that merge several inputs into one output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make


def add(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Add``."""
    return keras.layers.Add(name=node.name, dtype=precision)


def multiply(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Multiply``."""
    return keras.layers.Multiply(name=node.name, dtype=precision)


def concat(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Concatenate``, which counts the batch axis."""
    axis = node.settings.axis % len(node.shape) + 1
    return keras.layers.Concatenate(axis=axis, name=node.name, dtype=precision)


LAYERS: Mapping[str, Make] = {"add": add, "multiply": multiply, "concat": concat}
