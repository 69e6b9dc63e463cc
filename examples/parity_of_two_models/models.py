"""Two models of one network, written by hand: replace them by your own.

Run: pytest examples/parity_of_two_models
"""

import keras
from torch import nn


def torch_model():
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(8, eps=1e-3),  # Keras' default; PyTorch's is 1e-5
        nn.Linear(8, 10),
    )


def keras_model():
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Conv2D(8, 3),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(10),
        ]
    )
