"""A classifier of measured series with a GRU in Keras; ``gru_torch.py`` is the same one in PyTorch.

Run: dualml diff examples/diff/gru_torch.py:matched examples/diff/gru_keras.py:matched
"""

import keras
from keras import layers

import dualml


def classifier() -> keras.Model:
    """GRU, its last output, a dense layer."""
    inputs = keras.Input((10, 6))
    return keras.Model(inputs, layers.Dense(3)(layers.GRU(12)(inputs)))


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(classifier(), loss, keras.optimizers.Adagrad())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(classifier(), loss, keras.optimizers.SGD(learning_rate=0.05, momentum=0.9))
