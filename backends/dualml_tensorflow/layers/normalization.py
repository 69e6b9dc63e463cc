"""Layers that normalise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make, Variables


@keras.saving.register_keras_serializable(package="dualml")
class UnbiasedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # keras is untyped
    """Batch normalisation whose running variance takes in the unbiased variance of a batch, as PyTorch's does.

    Why not stock: ``keras.layers.BatchNormalization`` always takes the biased one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise, and move the running values in training; there a batch of one value is refused."""
        if not training:
            return super().call(inputs, training=False)
        values = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))  # as the base class
        axes = list(range(len(inputs.shape) - 1))
        mean, variance = tf.nn.moments(values, axes)
        count = tf.size(values) // tf.shape(values)[-1]
        tf.debugging.assert_greater(
            count, 1, f"{self.name!r} needs at least 2 values for each channel in training; use a larger batch"
        )
        unbiased = variance * (tf.cast(count, values.dtype) / tf.cast(count - 1, values.dtype))
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            old = tf.cast(running, values.dtype)
            running.assign(old * self.momentum + batch * (1.0 - self.momentum))
        result = keras.ops.batch_normalization(
            values, mean, variance, axis=self.axis, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return tf.cast(result, self.compute_dtype)


@keras.saving.register_keras_serializable(package="dualml")
class FrozenBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # keras is untyped
    """Batch normalisation by its running values in training, too; scale and offset are trained.

    Why not stock: ``trainable = False`` also stops scale and offset.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise as in inference."""
        return super().call(inputs, training=False)


def batch_norm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.BatchNormalization``, ``UnbiasedBatchNormalization`` or ``FrozenBatchNormalization``."""
    settings = node.settings
    kind = keras.layers.BatchNormalization
    if settings.frozen:
        kind = FrozenBatchNormalization
    elif settings.variance == "unbiased":
        kind = UnbiasedBatchNormalization
    return kind(axis=-1, momentum=settings.momentum, **_common(node, precision))


def layer_norm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.LayerNormalization``."""
    return keras.layers.LayerNormalization(axis=_last(node.settings.axes), **_common(node, precision))


def group_norm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.GroupNormalization``; for ``instance_norm`` with a group for each channel."""
    groups = getattr(node.settings, "groups", node.shape[-1])
    return keras.layers.GroupNormalization(groups=groups, axis=-1, **_common(node, precision))


@keras.saving.register_keras_serializable(package="dualml")
class PlainRMSNormalization(keras.layers.RMSNormalization):  # type: ignore[misc] # keras is untyped
    """``x / sqrt(mean(x^2) + epsilon)``.

    Why not stock: ``keras.layers.RMSNormalization`` always has a scale.
    """

    def build(self, input_shape: Any) -> None:
        """Nothing is trained."""
        self.scale = None
        self.built = True


def rms_norm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.RMSNormalization``, or ``PlainRMSNormalization`` without a scale."""
    kind = keras.layers.RMSNormalization if node.settings.scale else PlainRMSNormalization
    return kind(axis=_last(node.settings.axes), epsilon=node.settings.epsilon, name=node.name, dtype=precision)


@keras.saving.register_keras_serializable(package="dualml")
class UnitNormalization(keras.layers.UnitNormalization):  # type: ignore[misc] # keras is untyped
    """``x / max(sqrt(sum(x^2)), epsilon)``.

    Why not stock: the epsilon of ``keras.layers.UnitNormalization`` is always 1e-12.

    Attributes:
        epsilon: The shortest length that is scaled to 1.
    """

    def __init__(self, epsilon: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape."""
        return keras.ops.normalize(inputs, axis=self.axis, order=2, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The settings, for saving."""
        return {**super().get_config(), "epsilon": self.epsilon}


STOCK_UNIT_EPSILON = 1e-12
"""What ``keras.layers.UnitNormalization`` uses."""


def unit_norm(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.UnitNormalization``, or ``UnitNormalization`` with another epsilon."""
    epsilon = node.settings.epsilon
    common = {"axis": _last(node.settings.axes), "name": node.name, "dtype": precision}
    if epsilon == STOCK_UNIT_EPSILON:
        return keras.layers.UnitNormalization(**common)
    return UnitNormalization(epsilon, **common)


def _common(node: Node, precision: str) -> dict[str, Any]:
    """Arguments that most of the stock layers have."""
    settings = node.settings
    return {
        "epsilon": settings.epsilon,
        "center": settings.offset,
        "scale": settings.scale,
        "name": node.name,
        "dtype": precision,
    }


def _last(axes: int) -> list[int]:
    """Some of the last axes."""
    return list(range(-axes, 0))


_ROLES = {
    "gamma": "scale",
    "beta": "offset",
    "moving_mean": "running_mean",
    "moving_variance": "running_variance",
}


def _variables(layer: Any) -> Mapping[str, Any]:
    """By role; a name that is no other is the role itself."""
    return {_ROLES.get(variable.name, variable.name): variable for variable in layer.weights}


LAYERS: Mapping[str, Make] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "unit_norm": unit_norm,
    "group_norm": group_norm,
    "instance_norm": group_norm,
}
VARIABLES: Mapping[str, Variables] = dict.fromkeys(LAYERS, _variables)
