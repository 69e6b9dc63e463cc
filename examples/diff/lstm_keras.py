"""A text classifier with an LSTM in Keras; ``lstm_torch.py`` is the same one in PyTorch.

Run: dualml diff examples/diff/lstm_torch.py:matched examples/diff/lstm_keras.py:matched
"""

import keras
from keras import layers

import dualml


def classifier() -> keras.Model:
    """Embedding, LSTM, its last state, a dense layer."""
    return keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            layers.Embedding(50, 12),
            layers.LSTM(16),
            layers.Dense(4),
        ]
    )


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(classifier(), loss, keras.optimizers.SGD())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(classifier(), loss, keras.optimizers.SGD(learning_rate=0.05, momentum=0.9))
