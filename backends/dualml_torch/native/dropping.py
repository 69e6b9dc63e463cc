"""Random operations with a given mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dualml.spec.layers import AlphaDropout
from dualml_torch.native.settings import Said

DROPPING: Mapping[str, str] = {
    "dropout": "dropout",
    **dict.fromkeys(("dropout1d", "dropout2d", "dropout3d"), "spatial_dropout"),
    "alpha_dropout": "alpha_dropout",
}
"""Functions that drop values."""

RANDOM = frozenset(DROPPING.values())
"""Kinds that take a mask of the shape of their values."""


def thinned(said: Said, x: Tensor, mask: Tensor | None) -> Tensor:
    """What a random layer gives in training with a given mask; without one, everything unscaled.

    ``x (m / (1 - p))`` in the order of the stock function's own arithmetic (``aten/src/ATen/native/Dropout.cpp``).
    """
    if mask is None:
        return x
    rate = said.settings["rate"]
    mask = mask.to(x.device)
    if said.kind == "alpha_dropout":
        layer = AlphaDropout(rate)
        return torch.where(mask, x, layer.dropped) * layer.factor + layer.offset
    return x * mask.to(x.dtype).div_(1.0 - rate)


class Thinning(TorchFunctionMode):
    """Within it, functions that drop values keep what a mask says.

    Args:
        said: The random layer whose code runs.
        mask: What it keeps; ``None``: everything, unscaled.
    """

    def __init__(self, said: Said, mask: Tensor | None) -> None:
        super().__init__()
        self._said, self._mask = said, mask

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of PyTorch comes by here."""
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "").strip("_") not in DROPPING:
            return func(*args, **kwargs)
        return thinned(self._said, args[0] if args else kwargs["input"], self._mask)
