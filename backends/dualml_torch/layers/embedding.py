"""Embeddings of whole numbers, the projection tied to one, and embeddings of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Make, Placement, Roles, same, uninitialised


class ScaledEmbedding(nn.Embedding):
    """``torch.nn.Embedding`` times ``sqrt(embedding_dim)``; a class of its own because the stock one has no factor."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Scaled rows of the table."""
        return super().forward(input) * math.sqrt(self.embedding_dim)


class PositionEmbedding(nn.Embedding):
    """Adds the row of each position; ``torch.nn.Embedding`` looks rows up and adds nothing."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """The input plus the first rows of the table, one for each position."""
        return input + self.weight[: input.shape[1]]


class PositionEncoding(nn.Module):
    """Adds a fixed array; PyTorch has no such module.

    Attributes:
        encoding: What is added, shape ``(length, units)``; not in the ``state_dict``, as nobody trains it.
    """

    encoding: Tensor

    def __init__(self, encoding: Tensor) -> None:
        super().__init__()
        self.register_buffer("encoding", encoding, persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """The input plus the encoding of its positions."""
        return input + self.encoding


def embedding(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Embedding``, or ``ScaledEmbedding``."""
    settings = node.settings
    kind = ScaledEmbedding if settings.scale else nn.Embedding
    sizes = (settings.vocabulary, settings.units)
    return uninitialised(kind, placement, *sizes, padding_idx=settings.padding_index)


def tied_dense(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Linear``, whose weight becomes the embedding's: both are ``(vocabulary, units)``."""
    return uninitialised(nn.Linear, placement, node.input_shapes[0][-1], node.shape[-1], bias=node.settings.bias)


def position_embedding(node: Node, placement: Placement) -> nn.Module:
    """``PositionEmbedding``."""
    return uninitialised(PositionEmbedding, placement, *node.parameters[0].shape)


def position_encoding(node: Node, placement: Placement) -> nn.Module:
    """``PositionEncoding`` of the spec's array."""
    encoding = torch.tensor(node.settings.encoding(*node.shape), dtype=placement.dtype, device=placement.device)
    return PositionEncoding(encoding)


LAYERS: Mapping[str, Make] = {
    "embedding": embedding,
    "tied_dense": tied_dense,
    "position_embedding": position_embedding,
    "position_encoding": position_encoding,
}
ROLES: Roles = {
    ("embedding", "table"): same("weight"),
    ("tied_dense", "kernel"): same("weight"),
    ("tied_dense", "bias"): same("bias"),
    ("position_embedding", "positions"): same("weight"),
}
