"""Training in PyTorch: batches, accumulation, clipping, updates and the optimizer's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualml.protocol import Arrays, Batch, Masks, State
from dualml.spec.objective import Objective
from dualml.spec.optimizers import Clipping, Optimizer
from dualml.weights import check_parameters
from dualml_torch.clipping import CLIPPINGS
from dualml_torch.layout import to_tensor
from dualml_torch.objective import divisors, objective_value
from dualml_torch.optimizers import build_optimizer
from dualml_torch.slots import get_state, set_state

if TYPE_CHECKING:
    from dualml_torch.network import TorchNetwork


@dataclass(frozen=True)
class Placed:
    """Data on the network's device.

    Attributes:
        inputs: By name, first axis ``examples``.
        targets: By output node, first axis ``examples``.
        weights: Weight of each example, shape ``(examples,)``, or ``None``.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    weights: Tensor | None


class TorchTrainer:
    """Updates a network's weights by a ``torch.optim`` optimizer, as the protocol's ``Trainer``.

    Args:
        network: What is trained.
        objective: What is minimised.
        settings: The optimizer's settings, every one filled in.
        batch_size: Most examples in one forward and backward pass.
        update_size: Most examples in one update.
        clip: Gradient clipping.
        fused: Use PyTorch's fused kernel of the optimizer where it has one.
    """

    def __init__(
        self,
        network: TorchNetwork,
        objective: Objective,
        settings: Optimizer,
        batch_size: int,
        update_size: int,
        clip: Clipping | None,
        *,
        fused: bool = False,
    ) -> None:
        self._network = network
        self._objective = objective
        self._settings = settings
        self._batch_size = batch_size
        self._update_size = update_size
        self._clip = clip
        self._parameters = list(network.layout.parameters.values())
        self._optimizer = build_optimizer(settings, network.layout, fused=fused)
        self._updates = 0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The native optimizer."""
        return self._optimizer

    def apply(self, gradients: Arrays, lr: float) -> None:
        """Clip the gradients, then do one update with them.

        Args:
            gradients: For every parameter, neutral name and layout.
            lr: Learning rate of this update.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong.
        """
        layout = self._network.layout
        check_parameters(gradients, self._network.graph, "gradients")
        with self._own_gradients():
            for name, parameter in layout.parameters.items():
                parameter.grad = layout.to_native(name, gradients[name])
            self._update(lr)

    def step(self, batch: Batch, lr: float, *, masks: Masks | None = None) -> float:
        """One update from one batch, in pieces of ``batch_size``; returns its loss before the update.

        Raises:
            ValueError: The batch is empty, or masks are missing or of a wrong shape.
        """
        if not len(batch):
            raise ValueError("a batch must hold at least one example, got none")
        masks_placed = self._network.place_masks(masks, len(batch))
        with self._training():
            losses = self._accumulate(self.place(batch), self._rows(np.arange(len(batch))), masks_placed)
            self._update(lr)
        return float(_per_update([losses])[0])

    def place(self, batch: Batch) -> Placed:
        """Data as tensors of their own on the network's device, for ``run``."""
        network = self._network
        weights = None if batch.weights is None else to_tensor(batch.weights, network.dtype, network.device)
        targets = network.place_targets(batch.targets, self._objective)
        return Placed(network.place_inputs(batch.inputs), targets, weights)

    def run(
        self, placed: Placed, order: NDArray[np.int64], lrs: NDArray[np.float64], *, masks: Masks | None = None
    ) -> NDArray[np.float64]:
        """One update after another; losses stay on the device until the end.

        Args:
            placed: What ``place`` returned.
            order: Rows of the data in the order of their use, shape ``(examples,)``.
            lrs: Learning rate of each update, shape ``(updates,)``.
            masks: Row ``i`` of a mask belongs to ``order[i]``.

        Returns:
            The loss of each update, before it, shape ``(updates,)``, dtype float64.

        Raises:
            ValueError: There are not as many rates as updates, or masks are missing or of a wrong shape.
        """
        updates = -(-len(order) // self._update_size)
        if len(lrs) != updates:
            raise ValueError(
                f"{len(order)} examples in updates of {self._update_size} are {updates} updates, "
                f"which need as many learning rates; got {len(lrs)}"
            )
        rows = self._rows(order)
        masks_placed = self._network.place_masks(masks, len(order))
        losses = []
        with self._training():
            for first, lr in zip(range(0, len(order), self._update_size), lrs.tolist(), strict=True):
                update = slice(first, first + self._update_size)
                given = {name: mask[update] for name, mask in masks_placed.items()}
                losses.append(self._accumulate(placed, rows[update], given))
                self._update(lr)
        return _per_update(losses)

    def get_state(self) -> State:
        """The optimizer's memory."""
        return get_state(self._optimizer, self._settings, self._network.layout, self._updates)

    def set_state(self, state: State) -> None:
        """Replace the optimizer's memory.

        Raises:
            WeightsError: Names or shapes are not those of the network.
        """
        set_state(self._optimizer, self._settings, self._network.layout, state)
        self._updates = state.step

    def _rows(self, order: NDArray[np.int64]) -> Tensor:
        return to_tensor(order, torch.int64, self._network.device)

    def _accumulate(self, placed: Placed, rows: Tensor, masks: Mapping[str, Tensor]) -> list[Tensor]:
        """Add up one update's gradients in ``.grad``.

        Args:
            placed: The data.
            rows: Which rows, shape ``(count,)``.
            masks: Row ``i`` of a mask belongs to ``rows[i]``.

        Returns:
            For each piece of ``batch_size`` rows, the sum of its losses divided by ``count``, shape ``()``.
        """
        losses = []
        targets = _rows(placed.targets, rows)
        weights = None if placed.weights is None else placed.weights.index_select(0, rows)
        divided_by = divisors(self._objective, targets, weights, None)
        for start in range(0, len(rows), self._batch_size):
            piece = slice(start, start + self._batch_size)
            inputs = _rows(placed.inputs, rows[piece])
            wanted = {name: tensor[piece] for name, tensor in targets.items()}
            weighted = None if weights is None else weights[piece]
            parameters = self._network.layout.parameters if start == 0 else None  # one penalty for each update
            with self._network.masked({name: mask[piece] for name, mask in masks.items()}):
                outputs = self._network.evaluate(inputs)
                loss = objective_value(self._objective, outputs, wanted, weighted, divided_by, parameters)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return losses

    def _update(self, lr: float) -> None:
        """Clip ``.grad``, do one update and clear ``.grad``."""
        if self._clip is not None:
            CLIPPINGS[self._clip.kind](self._clip, self._parameters)
        for group in self._optimizer.param_groups:
            group["lr"] = float(lr) * group["lr_factor"]
        self._optimizer.step()
        self._updates += 1
        self._optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _own_gradients(self) -> Iterator[None]:
        """Start from no gradients, and put back those the user's own code may have left on the parameters."""
        before = [parameter.grad for parameter in self._parameters]
        try:
            for parameter in self._parameters:
                parameter.grad = None
            yield
        finally:
            for parameter, gradient in zip(self._parameters, before, strict=True):
                parameter.grad = gradient

    @contextmanager
    def _training(self) -> Iterator[None]:
        with torch.enable_grad(), self._network.mode(training=True), self._own_gradients():
            yield


def _rows(tensors: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}


def _per_update(losses: list[list[Tensor]]) -> NDArray[np.float64]:
    """The loss of each update from those of its pieces, brought over at once and added in double precision."""
    pieces = [loss for update in losses for loss in update]
    values = iter(torch.stack(pieces).tolist() if pieces else ())
    return np.array([sum(next(values) for _ in update) for update in losses], dtype=np.float64)
