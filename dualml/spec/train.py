"""How a training runs: epochs, batches, clipping, early stopping and checkpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualml.spec.base import Settings
from dualml.spec.optimizers import AnyClipping

MANY = 2**31 - 1
"""Most epochs, examples in a batch and batches in an update: products of two still fit into 64 bits."""


class EarlyStopping(Settings):
    """Stop when a validation metric has not improved for ``patience`` epochs."""

    patience: int = Field(default=3, gt=0)
    """Epochs without improvement after which training stops."""
    metric: str = "val_loss"
    """What is watched: ``val_loss`` (lower is better) or ``val_`` and a metric's name (higher is better)."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as an improvement."""


class Checkpoints(Settings):
    """Which checkpoints are written and kept."""

    every: int = Field(default=1, gt=0)
    """Epochs between two checkpoints; the last epoch always has one."""
    keep: int = Field(default=2, gt=0)
    """How many of the newest are kept."""
    best: str | Literal["none"] = "val_loss"
    """Metric whose best epoch is kept as well (``best.safetensors``); ``none`` keeps no best one."""


class Train(Settings):
    """One training run."""

    epochs: int = Field(default=10, gt=0, le=MANY)
    """Passes over the training data."""
    batch_size: int = Field(default=64, gt=0, le=MANY)
    """Examples in one forward and backward pass."""
    accumulate: int = Field(default=1, gt=0, le=MANY)
    """Batches whose gradients are combined into one update, which averages over all their examples."""
    shuffle: bool = True
    """Whether each epoch has its own order."""
    drop_last: bool = False
    """Whether an incomplete last update of an epoch is left out."""
    clip: AnyClipping | None = None
    """Gradient clipping, after accumulation and before the optimizer."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the last epoch."""
    checkpoints: Checkpoints = Checkpoints()
    """What is kept on disk."""
    tensorboard: bool = False
    """Whether TensorBoard logs are written beside the metrics."""
