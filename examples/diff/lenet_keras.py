"""LeNet with batch norm in Keras; ``lenet_torch.py`` is the same network in PyTorch.

Run: dualml diff examples/diff/lenet_torch.py:matched examples/diff/lenet_keras.py:matched
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

import dualml


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


def lenet(norm: type[layers.Layer] = layers.BatchNormalization) -> keras.Model:
    """Two convolutions, three dense layers, for images of 28 x 28."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same"),
            norm(),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5),
            norm(),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(lenet(), loss, keras.optimizers.SGD())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9, nesterov=True)
    return dualml.Trainable(lenet(TorchBatchNormalization), loss, optimizer)
