"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make


def dense(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
    """``keras.layers.Dense``."""
    return keras.layers.Dense(
        node.settings.units,
        use_bias=node.settings.bias,
        kernel_initializer="zeros",
        bias_initializer="zeros",
        name=node.name,
        dtype=precision,
    )


LAYERS: Mapping[str, Make] = {"dense": dense}
