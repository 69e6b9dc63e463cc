"""A multilayer perceptron in Keras; ``mlp_torch.py`` is the same one in PyTorch.

Run: dualml diff examples/diff/mlp_torch.py:matched examples/diff/mlp_keras.py:matched
"""

import keras
from keras import layers

import dualml


def mlp(slope: float | None = None) -> keras.Model:
    """Two hidden layers."""
    return keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(32),
            layers.LeakyReLU() if slope is None else layers.LeakyReLU(negative_slope=slope),
            layers.Dense(16, activation="tanh"),
            layers.Dense(10),
        ]
    )


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(mlp(), loss, keras.optimizers.RMSprop())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(mlp(slope=0.125), loss, keras.optimizers.SGD(learning_rate=0.05, momentum=0.9))
