"""What happens in each update, as pure functions of the spec and the update's number.

Which rows an update takes, at which learning rate and under which random masks follows from (seed, epoch,
step) alone. A resumed run, a run in the other backend and a run in pieces therefore see the same plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualml import randomness
from dualml.errors import TrainingError
from dualml.spec.config import Spec
from dualml.spec.graph import Graph, Node
from dualml.spec.schedules import History


@dataclass(frozen=True)
class Plan:
    """The updates of a training.

    Attributes:
        spec: The spec, every default filled in.
        examples: Number of training examples.

    Raises:
        TrainingError: There is no complete update, and incomplete ones are dropped.
    """

    spec: Spec
    examples: int

    def __post_init__(self) -> None:
        if self.updates_per_epoch == 0:
            raise TrainingError(
                f"train.drop_last leaves nothing to train on: there are {self.examples} training examples, "
                f"fewer than one update's {self.update_size}; lower train.batch_size or set drop_last to false"
            )
        for node in self.spec.graph.nodes:
            fewest = node.settings.fewest_examples(node.input_shapes)
            if self.smallest_batch < fewest:
                raise TrainingError(
                    f"{node.name!r} ({node.operation}) needs at least {fewest} examples in each batch of training, but "
                    f"{self.examples} training examples in batches of {self.spec.train.batch_size} leave a batch of "
                    f"{self.smallest_batch}; choose another train.batch_size or set train.drop_last to true"
                )

    @property
    def update_size(self) -> int:
        """Examples in one update: the batch size times the number of accumulated batches."""
        return self.spec.train.batch_size * self.spec.train.accumulate

    @property
    def updates_per_epoch(self) -> int:
        """Updates in one epoch; the last one may be smaller unless ``drop_last``."""
        if self.spec.train.drop_last:
            return self.examples // self.update_size
        return math.ceil(self.examples / self.update_size)

    @property
    def smallest_batch(self) -> int:
        """Examples in the smallest forward and backward pass of an epoch."""
        last = min(self.updates_per_epoch * self.update_size, self.examples) % self.update_size
        size = self.spec.train.batch_size
        return last % size or size if last else size

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Rows of one epoch (counted from 0) in the order of their use, shape ``(examples used,)``."""
        if self.spec.train.shuffle:
            order = randomness.permutation(self.spec.seed, "data/order", self.examples, step=epoch)
        else:
            order = np.arange(self.examples)
        return order[: self.updates_per_epoch * self.update_size]

    def rates(self, first: int, count: int, history: History = ()) -> NDArray[np.float64]:
        """Learning rates of ``count`` updates from number ``first`` (counted from 0) on.

        Args:
            first: Number of the first update.
            count: How many.
            history: The metrics of the epochs complete before the first update, for a schedule that follows them; an
                epoch that is not there changes nothing.
        """
        lr = self.spec.optimizer.lr
        assert lr is not None, "the spec of a plan is resolved"
        schedule, epochs, length = self.spec.schedule, self.spec.train.epochs, self.updates_per_epoch
        rates: list[float] = []
        for step in range(first, first + count):
            if not rates or step % length == 0:  # once for each epoch: its rates follow the epochs before it
                reduced = schedule.reduced(lr, history[: step // length])
            rates.append(schedule.rate(reduced, step, steps_per_epoch=length, epochs=epochs))
        return np.array(rates)

    def batch_order(self, step: int) -> NDArray[np.int64]:
        """Rows of one update (counted from 0 over all epochs)."""
        epoch, update = divmod(step, self.updates_per_epoch)
        return self.order(epoch)[update * self.update_size : (update + 1) * self.update_size]


def dropout_masks(
    graph: Graph, spec: Spec, first: int, rows: int, update_size: int
) -> dict[str, NDArray[np.bool_]] | None:
    """Shared dropout masks of successive updates.

    Args:
        graph: The model.
        spec: The spec, for its seed and kind of randomness.
        first: Number of the first update, counted from 0 over all epochs.
        rows: Examples in these updates together.
        update_size: Examples in each update but the last.

    Returns:
        For each node that draws a mask of shape ``(rows, *node.random_mask)``; ``None`` if no masks are to be given.
    """
    if not graph.dropouts or spec.randomness == "native":
        return None
    return {node.name: _mask(node, spec.seed, first, rows, update_size) for node in graph.dropouts}


def _mask(node: Node, seed: int, first: int, rows: int, update_size: int) -> NDArray[np.bool_]:
    mask = np.empty((rows, *(node.random_mask or ())), dtype=np.bool_)
    for update, start in enumerate(range(0, rows, update_size)):
        part = mask[start : start + update_size]
        part[...] = randomness.keep_mask(
            seed, f"dropout/{node.name}", part.shape, node.settings.rate, step=first + update
        )
    return mask
