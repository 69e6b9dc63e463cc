"""A transformer encoder for patches of an image in Keras; ``transformer_torch.py`` is the same one in PyTorch.

Run: dualml diff examples/diff/transformer_torch.py:matched examples/diff/transformer_keras.py:matched
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

import dualml

PATCHES, PATCH, WIDTH, HEADS = 9, 12, 16, 4


class PatchEmbedding(layers.Layer):
    """A dense layer for each patch, and a learned vector for each position."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.projection = layers.Dense(WIDTH)
        self.positions = layers.Embedding(PATCHES, WIDTH)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.projection.build(input_shape)
        self.positions.build((PATCHES,))

    def call(self, patches: Any) -> Any:
        return self.projection(patches) + self.positions(ops.arange(PATCHES))


def encoder(activation: Callable[[Any], Any], **norm: float) -> keras.Model:
    """Patch and position embeddings, one block, the mean over the patches, a dense layer."""
    inputs = keras.Input((PATCHES, PATCH))
    x = PatchEmbedding()(inputs)
    normed = layers.LayerNormalization(**norm)(x)
    x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(normed, normed)
    wide = layers.Dense(2 * WIDTH)(layers.LayerNormalization(**norm)(x))
    x = x + layers.Dense(WIDTH)(activation(wide))
    x = layers.LayerNormalization(**norm)(x)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def training() -> dualml.Trainable:
    """With Keras' defaults."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(encoder(ops.gelu), loss, keras.optimizers.Adam())


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)
    return dualml.Trainable(encoder(ops.relu, epsilon=1e-5), loss, optimizer)
