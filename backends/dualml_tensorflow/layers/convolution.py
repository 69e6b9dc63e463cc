"""Convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers.sliding import PaddingMode, source_positions
from dualml_tensorflow.layers.base import Make

Pairs = Sequence[Sequence[int]]


class _Padded:
    """Pads before a stock layer convolves, and keeps every ``steps``-th of its windows.

    Not stock: ``keras.layers.Conv*`` know only ``valid`` and ``same`` (1d also ``causal``) and zeros, refuse a stride
    together with a dilation, and TensorFlow has no depthwise convolution with unequal strides on a CPU.
    Computing all windows and keeping some is exact.

    Args:
        values: Of the stock class.
        pads: Values put before and after each axis.
        padding_mode: What they are: zeros, reflect, replicate, circular.
        steps: Of how many windows along each axis one is kept.
        settings: Of the stock class.
    """

    def __init__(
        self, *values: Any, pads: Pairs, padding_mode: PaddingMode, steps: Sequence[int], **settings: Any
    ) -> None:
        super().__init__(*values, **settings)
        self.pads = tuple((int(before), int(after)) for before, after in pads)
        self.padding_mode: PaddingMode = padding_mode
        self.steps = tuple(int(step) for step in steps)

    def call(self, inputs: Any) -> Any:
        """Shape ``(examples, *spatial, channels)``, as of the stock layer."""
        every = (slice(None), *(slice(None, None, step) for step in self.steps), slice(None))
        return super().call(self._padded(inputs))[every]  # type: ignore[misc] # of the stock class beside this one

    def _padded(self, inputs: Any) -> Any:
        if self.padding_mode == "zeros":
            return tf.pad(inputs, [(0, 0), *self.pads, (0, 0)])
        for axis, pair in enumerate(self.pads, start=1):
            if any(pair):
                positions = source_positions(inputs.shape[axis], pair, self.padding_mode)
                inputs = tf.gather(inputs, positions, axis=axis)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """The stock layer's for the padded input, less the windows that are dropped."""
        examples, *spatial, channels = input_shape
        padded = [size + sum(pair) for size, pair in zip(spatial, self.pads, strict=True)]
        whole = super().compute_output_shape((examples, *padded, channels))  # type: ignore[misc]
        kept = [-(-size // step) for size, step in zip(whole[1:-1], self.steps, strict=True)]
        return (whole[0], *kept, whole[-1])

    def get_config(self) -> dict[str, Any]:
        """The stock layer's, and what is set here."""
        own = {"pads": self.pads, "padding_mode": self.padding_mode, "steps": self.steps}
        return {**super().get_config(), **own}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="dualml")
class PaddedConv1D(_Padded, keras.layers.Conv1D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Conv1D`` with any padding, stride and dilation."""


@keras.saving.register_keras_serializable(package="dualml")
class PaddedConv2D(_Padded, keras.layers.Conv2D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Conv2D`` with any padding, stride and dilation."""


@keras.saving.register_keras_serializable(package="dualml")
class PaddedConv3D(_Padded, keras.layers.Conv3D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Conv3D`` with any padding, stride and dilation."""


@keras.saving.register_keras_serializable(package="dualml")
class PaddedDepthwiseConv1D(_Padded, keras.layers.DepthwiseConv1D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.DepthwiseConv1D`` with any padding, stride and dilation."""


@keras.saving.register_keras_serializable(package="dualml")
class PaddedDepthwiseConv2D(_Padded, keras.layers.DepthwiseConv2D):  # type: ignore[misc] # keras is untyped
    """``keras.layers.DepthwiseConv2D`` with any padding, stride and dilation."""


_STOCK = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
_PADDED = {1: PaddedConv1D, 2: PaddedConv2D, 3: PaddedConv3D}
_DEPTHWISE = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}
_PADDED_DEPTHWISE = {1: PaddedDepthwiseConv1D, 2: PaddedDepthwiseConv2D}


def _stock_padding(node: Node, depthwise: bool) -> str | None:
    """The stock layer's word for a node's padding; ``None`` if it has none."""
    settings, shape = node.settings, node.input_shapes[0]
    pads = settings.pads(shape)
    if not any(map(any, pads)):
        return "valid"
    if settings.padding_mode != "zeros":
        return None
    if pads == settings.same_pads(shape):
        return "same"
    return "causal" if settings.padding == "causal" and not depthwise else None


def _thinned(node: Node, depthwise: bool) -> bool:
    """Whether windows are computed at a stride of 1 and some kept, because there is no kernel for the stride."""
    strides, dilations = node.settings.strides, node.settings.dilations
    if max(strides) == 1:
        return False
    return max(dilations) > 1 or (depthwise and len(set(strides)) > 1)


def _make(node: Node, precision: str, stock: Any, padded: Any, own: dict[str, Any], *, depthwise: bool) -> Any:
    settings = node.settings
    common = {
        "kernel_size": settings.sizes,
        "dilation_rate": settings.dilations,
        "data_format": "channels_last",
        "activation": None,
        "use_bias": settings.bias,
        "bias_initializer": "zeros",
        "name": node.name,
        "dtype": precision,
        **own,
    }
    padding, thinned = _stock_padding(node, depthwise), _thinned(node, depthwise)
    if padding is not None and not thinned:
        return stock(strides=settings.strides, padding=padding, **common)
    once = (1,) * settings.rank
    return padded(
        strides=once if thinned else settings.strides,
        padding="valid",
        pads=settings.pads(node.input_shapes[0]),
        padding_mode=settings.padding_mode,
        steps=settings.strides if thinned else once,
        **common,
    )


def convolution(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
    """``keras.layers.Conv*``, or ``PaddedConv*``."""
    settings = node.settings
    own = {"filters": settings.filters, "groups": settings.groups, "kernel_initializer": "zeros"}
    return _make(node, precision, _STOCK[settings.rank], _PADDED[settings.rank], own, depthwise=False)


def depthwise(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``keras.layers.DepthwiseConv*``, or ``PaddedDepthwiseConv*``."""
    settings = node.settings
    own = {"depth_multiplier": settings.multiplier, "depthwise_initializer": "zeros"}
    return _make(node, precision, _DEPTHWISE[settings.rank], _PADDED_DEPTHWISE[settings.rank], own, depthwise=True)


LAYERS: Mapping[str, Make] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), depthwise),
}
