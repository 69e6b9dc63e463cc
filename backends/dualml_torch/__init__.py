"""PyTorch for dualml: builds a spec as stock ``torch.nn`` modules and trains it with autograd."""

from __future__ import annotations

from dualml_torch.backend import backend

__all__ = ["backend"]
