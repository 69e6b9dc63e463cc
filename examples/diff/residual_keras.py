"""A small residual network in Keras; ``residual_torch.py`` is the same one in PyTorch.

Run: dualml diff examples/diff/residual_torch.py:matched examples/diff/residual_keras.py:matched
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import dualml

Make = Callable[[], layers.Layer]


class TorchBatchNormalization(layers.BatchNormalization):
    """Batch norm that keeps the unbiased running variance, as PyTorch does: no argument of Keras' layer asks for it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(epsilon=1e-5, momentum=0.9, **settings)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        before = ops.copy(self.moving_variance)
        outputs = super().call(inputs, training=training, mask=mask)
        count = np.prod([size or 0 for size in inputs.shape[:-1]])
        if training and count > 1:
            kept = self.momentum * before
            self.moving_variance.assign(kept + (self.moving_variance - kept) * (count / (count - 1)))
        return outputs


def convolution(x: Any, channels: int, stride: int, torch_padding: bool) -> Any:
    """A 3 x 3 convolution; ``same`` pads one side only at stride 2, PyTorch's ``padding=1`` both."""
    if not torch_padding or stride == 1:
        return layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False)(x)
    return layers.Conv2D(channels, 3, strides=stride, use_bias=False)(layers.ZeroPadding2D(1)(x))


def block(x: Any, channels: int, stride: int, norm: Make, torch_padding: bool) -> Any:
    """Two convolutions and a shortcut, which is projected where the shape changes."""
    kept = x
    if stride != 1 or x.shape[-1] != channels:
        kept = norm()(layers.Conv2D(channels, 1, strides=stride, use_bias=False)(x))
    x = layers.ReLU()(norm()(convolution(x, channels, stride, torch_padding)))
    x = norm()(convolution(x, channels, 1, torch_padding))
    return layers.ReLU()(layers.add([x, kept]))


def residual(norm: Make = layers.BatchNormalization, torch_padding: bool = False) -> keras.Model:
    """A stem, two blocks, the mean over the image, a dense layer."""
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(norm()(convolution(inputs, 8, 1, torch_padding)))
    x = block(x, 8, 1, norm, torch_padding)
    x = block(x, 16, 2, norm, torch_padding)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(residual(), loss, keras.optimizers.AdamW())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)
    return dualml.Trainable(residual(TorchBatchNormalization, torch_padding=True), loss, optimizer)
