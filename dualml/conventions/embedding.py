"""Embeddings."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import FanInUniform, Normal, Uniform, Zeros
from dualml.spec.layers import Embedding, PositionEmbedding, TiedDense

TORCH: Preset = {
    Embedding: {"table_initializer": Normal(mean=0.0, std=1.0)},
    PositionEmbedding: {"initializer": Normal(mean=0.0, std=1.0)},
    TiedDense: {"bias_initializer": FanInUniform()},
}


KERAS: Preset = {
    Embedding: {"table_initializer": Uniform(low=-0.05, high=0.05)},
    PositionEmbedding: {"initializer": Uniform(low=-0.05, high=0.05)},
    TiedDense: {"bias_initializer": Zeros()},
}
