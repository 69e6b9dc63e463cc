"""Layers that only move values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make


def flatten(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Flatten``."""
    return keras.layers.Flatten(data_format="channels_last", name=node.name, dtype=precision)


def reshape(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.Reshape``."""
    return keras.layers.Reshape(node.shape, name=node.name, dtype=precision)


LAYERS: Mapping[str, Make] = {"flatten": flatten, "reshape": reshape}
