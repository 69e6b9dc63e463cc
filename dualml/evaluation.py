"""Loss and metrics of a network on held-back examples: the network gives outputs, the core does the rest in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dualml.data import Split
from dualml.metrics import METRICS
from dualml.protocol import Array, Network
from dualml.reference import example_losses
from dualml.spec.losses import Loss

BATCH = 1024
"""Examples in one forward pass; the results do not depend on it."""


def batches(split: Split, precision: str, size: int = BATCH) -> Iterator[tuple[Array, Array]]:
    """All examples of a split in order, in pieces."""
    for start in range(0, len(split), size):
        yield split.gather(np.arange(start, min(start + size, len(split))), precision)


def evaluate(network: Network, split: Split, loss: Loss, metrics: Sequence[str]) -> dict[str, float]:
    """Mean loss and metrics in inference mode.

    Args:
        network: The model, in either backend.
        split: The examples.
        loss: The loss the model is trained with.
        metrics: Names of metrics.

    Returns:
        ``loss`` and each metric by name.
    """
    outputs, targets = [], []
    for inputs, wanted in batches(split, network.graph.precision):
        outputs.append(network.forward(inputs)[network.graph.output])
        targets.append(wanted)
    given, wanted = np.concatenate(outputs), np.concatenate(targets)
    result = {"loss": float(np.mean(example_losses(loss, given, wanted)))}
    return result | {name: METRICS[name](given, wanted) for name in metrics}
