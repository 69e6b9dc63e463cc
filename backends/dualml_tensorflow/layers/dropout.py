"""Layers that drop values at random in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make, Masked


class _MaskedDropout(Masked):
    """Dropout whose mask may be given: ``y = x m / (1 - rate)``; without one it is its stock base class.

    Why not stock: the layers of Keras always draw their own masks, which no other framework can repeat.

    Attributes:
        mask: Which values to keep, a shape that broadcasts with the inputs, dtype bool; ``None``: draw, as the base
            class does.
    """

    rate: float

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Values of the inputs' shape and dtype; in inference the inputs themselves."""
        if not training or self.mask is None:
            return super().call(inputs, training=training)  # type: ignore[misc]
        return inputs * tf.cast(self.mask, inputs.dtype) / (1.0 - self.rate)


@keras.saving.register_keras_serializable(package="dualml")
class MaskedDropout(_MaskedDropout, keras.layers.Dropout):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Dropout`` that can be given its mask; see ``_MaskedDropout``."""


@keras.saving.register_keras_serializable(package="dualml")
class MaskedSpatialDropout1D(_MaskedDropout, keras.layers.SpatialDropout1D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.SpatialDropout1D`` that can be given its mask; see ``_MaskedDropout``."""


@keras.saving.register_keras_serializable(package="dualml")
class MaskedSpatialDropout2D(_MaskedDropout, keras.layers.SpatialDropout2D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.SpatialDropout2D`` that can be given its mask; see ``_MaskedDropout``."""


@keras.saving.register_keras_serializable(package="dualml")
class MaskedSpatialDropout3D(_MaskedDropout, keras.layers.SpatialDropout3D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.SpatialDropout3D`` that can be given its mask; see ``_MaskedDropout``."""


@keras.saving.register_keras_serializable(package="dualml")
class MaskedAlphaDropout(keras.layers.AlphaDropout, Masked):  # type: ignore[misc] # keras is untyped
    """``keras.layers.AlphaDropout`` whose mask may be given; see ``MaskedDropout``.

    Attributes:
        dropped: What a dropped value becomes before scaling.
        factor: What all are multiplied by.
        offset: What is added.
    """

    def __init__(self, rate: float, dropped: float, factor: float, offset: float, **settings: Any) -> None:
        super().__init__(rate, **settings)
        self.dropped, self.factor, self.offset = dropped, factor, offset

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Values of the inputs' shape and dtype; in inference the inputs themselves."""
        if not training or self.mask is None:
            return super().call(inputs, training=training)
        return tf.where(self.mask, inputs, tf.constant(self.dropped, inputs.dtype)) * self.factor + self.offset

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        constants = {"dropped": self.dropped, "factor": self.factor, "offset": self.offset}
        return {**super().get_config(), **constants}


_SPATIAL = {1: MaskedSpatialDropout1D, 2: MaskedSpatialDropout2D, 3: MaskedSpatialDropout3D}


def dropout(node: Node, precision: str, native_randomness: bool) -> Any:
    """``keras.layers.Dropout`` with its own masks, or ``MaskedDropout`` with given ones."""
    kind = keras.layers.Dropout if native_randomness else MaskedDropout
    # Without a seed Keras takes one from Python's global random state; Network.seed sets the real one.
    return kind(node.settings.rate, seed=0, name=node.name, dtype=precision)


def spatial_dropout(node: Node, precision: str, native_randomness: bool) -> Any:
    """``keras.layers.SpatialDropout*`` with its own masks, or its kin with given ones."""
    rank = len(node.shape) - 1
    kind = getattr(keras.layers, f"SpatialDropout{rank}D") if native_randomness else _SPATIAL[rank]
    placed = {} if rank == 1 else {"data_format": "channels_last"}
    return kind(node.settings.rate, seed=0, name=node.name, dtype=precision, **placed)


def stochastic_depth(node: Node, precision: str, native_randomness: bool) -> Any:
    """``keras.layers.Dropout`` with one value of the mask for each example."""
    kind = keras.layers.Dropout if native_randomness else MaskedDropout
    one_each = (None, *(1 for _ in node.shape))
    return kind(node.settings.rate, noise_shape=one_each, seed=0, name=node.name, dtype=precision)


def alpha_dropout(node: Node, precision: str, native_randomness: bool) -> Any:
    """``keras.layers.AlphaDropout`` with its own masks, or ``MaskedAlphaDropout`` with given ones."""
    settings, common = node.settings, {"seed": 0, "name": node.name, "dtype": precision}
    if native_randomness:
        return keras.layers.AlphaDropout(settings.rate, **common)
    return MaskedAlphaDropout(settings.rate, settings.dropped, settings.factor, settings.offset, **common)


LAYERS: Mapping[str, Make] = {
    "dropout": dropout,
    "spatial_dropout": spatial_dropout,
    "stochastic_depth": stochastic_depth,
    "alpha_dropout": alpha_dropout,
}
