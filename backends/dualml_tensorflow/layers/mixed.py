"""Layers with a bias in mixed precision: its gradient is summed in float32.

Why not stock: with the policy ``mixed_bfloat16`` TensorFlow sums a bias's gradient over examples and positions in
bfloat16 on a CPU, where a running sum stops growing as soon as a term is below 1/256 of it. Over 256 images of 16 x 16
values the stock layer's gradient is 94 % too small; PyTorch's autocast sums in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.layers import convolution, transposed


class _ExactBias:
    """Adds the bias, rounded to bfloat16, in float32 and rounds the sum; the gradient's sum is then in float32 as well.

    Attributes:
        bias: The stock class's.
        use_bias: The stock class's.
    """

    bias: Any
    use_bias: bool

    def call(self, inputs: Any) -> Any:
        """The stock layer's product of inputs and kernel, plus the bias."""
        bias, with_bias = self.bias, self.use_bias
        self.bias, self.use_bias = None, False
        try:
            product = super().call(inputs)  # type: ignore[misc] # of the stock class beside this one
        finally:
            self.bias, self.use_bias = bias, with_bias
        if bias is None:
            return product
        return tf.cast(tf.cast(product, tf.float32) + tf.cast(bias, tf.float32), product.dtype)


def _exact(kind: Any) -> Any:
    made = type(f"Mixed{kind.__name__}", (_ExactBias, kind), {"__doc__": f"``{kind.__name__}``; see the module."})
    return keras.saving.register_keras_serializable(package="dualml")(made)


EXACT: Mapping[Any, Any] = {
    kind: _exact(kind)
    for kind in (
        keras.layers.Dense,
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.DepthwiseConv1D,
        keras.layers.DepthwiseConv2D,
        keras.layers.Conv1DTranspose,
        keras.layers.Conv2DTranspose,
        convolution.PaddedConv1D,
        convolution.PaddedConv2D,
        convolution.PaddedConv3D,
        convolution.PaddedDepthwiseConv1D,
        convolution.PaddedDepthwiseConv2D,
        transposed.GeneralConv1DTranspose,
        transposed.GeneralConv2DTranspose,
    )
}
"""For each class of layers with a bias the one that stands in for it."""


def summing_in_float32(layer: Any) -> Any:
    """The same layer, unbuilt, with the gradient of its bias summed in float32; itself if it has none."""
    if not getattr(layer, "use_bias", False):
        return layer
    return EXACT[type(layer)].from_config(layer.get_config())
