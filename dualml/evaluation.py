"""Loss and metrics of a network on held-back examples: the network gives outputs, the core does the rest in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dualml.data import Split
from dualml.metrics import Result, measure
from dualml.protocol import Array, Arrays, Batch, Network
from dualml.reference import objective_value
from dualml.spec.losses import Loss
from dualml.spec.metrics import Metric, task_of
from dualml.spec.objective import Minimised, Objective, as_objective

BATCH = 1024
"""Examples in one forward pass; the results do not depend on it."""


def take(split: Split, rows: Array, precision: str) -> Batch:
    """Some examples of a split, by their places."""
    inputs, targets = split.gather(rows, precision)
    return Batch(inputs, targets, split.gather_weights(rows, precision))


def batches(split: Split, precision: str, size: int = BATCH) -> Iterator[Batch]:
    """All examples of a split in order, in pieces."""
    for start in range(0, len(split), size):
        yield take(split, np.arange(start, min(start + size, len(split))), precision)


def evaluate(network: Network, split: Split, loss: Minimised, metrics: Sequence[Metric]) -> dict[str, Result]:
    """Mean loss and metrics in inference mode.

    Args:
        network: The model, in either backend.
        split: The examples.
        loss: What the model is trained for; metrics are those of the main output.
        metrics: What is measured beside the loss.

    Returns:
        ``loss`` and each metric by name; ``None`` where a metric is undefined or not finite.
    """
    graph = network.graph
    objective = as_objective(loss, graph)
    outputs, targets, weights = [], [], []
    for batch in batches(split, graph.precision):
        values = network.forward(batch.inputs)
        outputs.append({name: values[name] for name in graph.outputs})
        targets.append(graph.named_targets(batch.targets))
        weights += [] if batch.weights is None else [batch.weights]
    joined_weights = np.concatenate(weights) if weights else None
    return score(objective, metrics, _joined(outputs), _joined(targets), joined_weights)


def score(
    objective: Objective, metrics: Sequence[Metric], outputs: Arrays, targets: Arrays, weights: Array | None
) -> dict[str, Result]:
    """Mean loss and metrics of outputs that are there already.

    Args:
        objective: What the model is trained for; metrics are those of its first term's output.
        metrics: What is measured beside the loss.
        outputs: What the losses take, by node.
        targets: By node.
        weights: Weight of each example, or ``None``.

    Returns:
        As ``evaluate``.
    """
    scored = objective_value(objective, outputs, targets, weights, None)
    result: dict[str, Result] = {"loss": scored.value}
    main = objective.terms[0]
    task = task_of(main.loss)
    if task is None:
        return result
    counted = counted_positions(main.loss, targets[main.output], weights)
    return result | measure(metrics, task, outputs[main.output], targets[main.output], counted)


def counted_positions(loss: Loss, targets: Array, weights: Array | None) -> Array | None:
    """How much each target counts in a metric: 0 where the loss ignores it, else the weight of its example.

    Args:
        loss: The loss; its ``ignore_index``, if it has one, marks targets that are no labels.
        targets: Shape ``(examples, ...)``.
        weights: Weight of each example, or ``None``.

    Returns:
        The targets' shape, or that of ``weights``; ``None``: all count alike.
    """
    ignored = getattr(loss, "ignore_index", None)
    if ignored is None or not np.any(targets == ignored):
        return weights
    counted: Array = (targets != ignored).astype(np.float64)
    return counted if weights is None else counted * weights.reshape(-1, *(1,) * (targets.ndim - 1))


def _joined(pieces: Sequence[Arrays]) -> Mapping[str, Array]:
    """Arrays by name, the pieces of each one behind the other."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
