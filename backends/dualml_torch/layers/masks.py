"""Layers that make masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dualml.spec.graph import Node
from dualml_torch.layers.base import Make, Placement


class PaddingMask(nn.Module):
    """1 where an id is not ``index``, else 0; a module of its own because PyTorch has none.

    Attributes:
        index: The id that stands for padding.
        dtype: The output's dtype.
    """

    def __init__(self, index: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.index = index
        self.dtype = dtype

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """A mask of the input's shape."""
        return (input != self.index).to(self.dtype)

    def extra_repr(self) -> str:
        """The setting, in the module's text."""
        return f"index={self.index}"


def padding_mask(node: Node, placement: Placement) -> nn.Module:
    """``PaddingMask`` in the model's precision."""
    return PaddingMask(node.settings.index, placement.dtype)


LAYERS: Mapping[str, Make] = {"padding_mask": padding_mask}
