"""Clipping, optimizers and the loop over updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualml.protocol import Array, Arrays, Batch, Masks, State
from dualml.reference.losses import denominator
from dualml.slots import check_state
from dualml.spec.objective import Minimised, as_objective
from dualml.spec.optimizers import AVERAGE, Adam, Clipping, Ema, GlobalNorm, Optimizer, ParameterNorm, Sgd, ValueLimit
from dualml.weights import check_parameters

if TYPE_CHECKING:
    from dualml_numpy_example.network import NumpyNetwork


def factor(clip: GlobalNorm | ParameterNorm, gradients: Arrays) -> float:
    """What gradients are multiplied by: ``min(1, max_norm / (norm + epsilon))``, the norm over all of them together."""
    assert clip.epsilon is not None, "settings arrive resolved"
    norm = float(np.sqrt(sum(float(np.vdot(value, value)) for value in gradients.values()))) + clip.epsilon
    return 1.0 if norm <= clip.max_norm else clip.max_norm / norm


def global_norm(clip: GlobalNorm, gradients: Arrays) -> dict[str, Array]:
    """All gradients times one factor."""
    common = factor(clip, gradients)
    return {name: value * common if common != 1.0 else value for name, value in gradients.items()}


def parameter_norm(clip: ParameterNorm, gradients: Arrays) -> dict[str, Array]:
    """Each gradient times its own factor."""
    return {name: value * factor(clip, {name: value}) for name, value in gradients.items()}


def value_limit(clip: ValueLimit, gradients: Arrays) -> dict[str, Array]:
    """Each number within its limits."""
    return {name: np.clip(value, -clip.max_value, clip.max_value) for name, value in gradients.items()}


CLIPPINGS: Mapping[str, Callable[[Any, Arrays], dict[str, Array]]] = {
    "global_norm": global_norm,
    "norm": parameter_norm,
    "value": value_limit,
}
"""Ways to clip by kind."""


def decay(settings: Sgd | Adam, weight_decay: float, value: Array, gradient: Array, lr: float) -> tuple[Array, Array]:
    """Weight decay, which changes the parameter or the gradient."""
    if not weight_decay:
        return value, gradient
    if settings.decay == "coupled":
        return value, gradient + weight_decay * value
    return value - lr * weight_decay * value, gradient


def averaged(ema: Ema, average: Array, value: Array, step: int) -> Array:
    """The moving average after update number ``step``."""
    assert ema.decay is not None, "settings arrive resolved"
    if step % ema.every:
        return average
    return value if step == ema.every else ema.decay * average + (1 - ema.decay) * value


def sgd(settings: Sgd, start: Array, gradient: Array, slots: dict[str, Array], lr: float, step: int) -> Array:
    """One decayed parameter after one update of ``dualml.Sgd``; writes the new slots into ``slots``."""
    if not settings.momentum:
        return start - lr * gradient
    buffer = settings.momentum * slots["momentum"] + (-lr * gradient if settings.lr_in_momentum else gradient)
    slots["momentum"] = buffer
    if settings.lr_in_momentum:
        return start + (settings.momentum * buffer - lr * gradient if settings.nesterov else buffer)
    return start - lr * (gradient + settings.momentum * buffer if settings.nesterov else buffer)


def adam(settings: Adam, start: Array, gradient: Array, slots: dict[str, Array], lr: float, step: int) -> Array:
    """One decayed parameter after update ``step`` (from 1) of ``dualml.Adam``; writes the new slots into ``slots``."""
    beta1, beta2, epsilon = settings.beta1, settings.beta2, settings.epsilon
    assert beta1 is not None, "settings arrive resolved"
    assert beta2 is not None, "settings arrive resolved"
    first = slots["first_moment"] = beta1 * slots["first_moment"] + (1 - beta1) * gradient
    second = slots["second_moment"] = beta2 * slots["second_moment"] + (1 - beta2) * gradient * gradient
    if settings.amsgrad:
        second = slots["largest_second_moment"] = np.maximum(slots["largest_second_moment"], second)
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    if settings.epsilon_placement == "corrected":
        return start - lr * (first / correction1) / (np.sqrt(second / correction2) + epsilon)
    return start - lr * (math.sqrt(correction2) / correction1) * first / (np.sqrt(second) + epsilon)


UPDATES: Mapping[str, Callable[[Any, Array, Array, dict[str, Array], float, int], Array]] = {"sgd": sgd, "adam": adam}
"""Optimizers by kind."""


class NumpyTrainer:
    """Updates one network's weights."""

    def __init__(
        self,
        network: NumpyNetwork,
        loss: Minimised,
        optimizer: Optimizer,
        batch_size: int,
        update_size: int,
        clip: Clipping | None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.update_size = update_size
        self.clip = clip
        self.updates = 0
        self.slots = {
            slot: {name: np.zeros_like(value) for name, value in network.weights.items()} for slot in optimizer.slots
        }

    def apply(self, gradients: Arrays, lr: float) -> None:
        """Clip, then do one update."""
        check_parameters(gradients, self.network.graph, "gradients")
        self.updates += 1
        settings, update = self.optimizer, UPDATES[self.optimizer.kind]
        given = {name: np.asarray(gradients[name], dtype=value.dtype) for name, value in self.network.weights.items()}
        clipped = given if self.clip is None else CLIPPINGS[self.clip.kind](self.clip, given)
        for name, value in self.network.weights.items():
            slots = {slot: arrays[name] for slot, arrays in self.slots.items()}
            rate = float(lr) * settings.lr_factor(name)
            start, gradient = decay(settings, settings.decay_of(name, value.shape), value, clipped[name], rate)
            moved = self.network.weights[name] = update(settings, start, gradient, slots, rate, self.updates)
            if settings.ema is not None:
                slots[AVERAGE] = averaged(settings.ema, slots[AVERAGE], moved, self.updates)
            for slot, array in slots.items():
                self.slots[slot][name] = array

    def step(self, batch: Batch, lr: float, *, masks: Masks | None = None) -> float:
        """One update, its gradients summed over pieces of ``batch_size``."""
        loss, total = 0.0, dict[str, Array]()
        count: float = len(batch)
        terms = as_objective(self.loss, self.network.graph).terms
        if len(terms) == 1:  # it may be divided by something else than the number of examples
            targets = self.network.graph.named_targets(batch.targets)[terms[0].output]
            count = denominator(terms[0].loss, targets, batch.weights) or 1.0
        for start in range(0, len(batch), self.batch_size):
            rows = slice(start, start + self.batch_size)
            found = self.network.gradients(
                batch.take(rows),
                self.loss,
                masks=None if masks is None else {name: mask[rows] for name, mask in masks.items()},
                count=count,
                penalised=start == 0,
            )
            loss += found.loss
            total = {name: total[name] + value if total else value for name, value in found.parameters.items()}
        self.apply(total, lr)
        return loss

    def place(self, batch: Batch) -> Batch:
        """NumPy holds data as it is."""
        return batch.take(np.arange(len(batch)))

    def run(
        self, placed: Batch, order: NDArray[np.int64], lrs: NDArray[np.float64], *, masks: Masks | None = None
    ) -> NDArray[np.float64]:
        """``step`` for each update."""
        losses = np.empty(len(lrs))
        for update, lr in enumerate(lrs):
            part = slice(update * self.update_size, (update + 1) * self.update_size)
            batch = placed.take(order[part])
            kept = None if masks is None else {name: mask[part] for name, mask in masks.items()}
            losses[update] = self.step(batch, float(lr), masks=kept)
        return losses

    def get_state(self) -> State:
        """The optimizer's memory."""
        return State(
            self.updates,
            {slot: {name: value.copy() for name, value in arrays.items()} for slot, arrays in self.slots.items()},
        )

    def set_state(self, state: State) -> None:
        """Replace the optimizer's memory.

        Raises:
            WeightsError: Names or shapes are not the network's.
        """
        check_state(state, self.optimizer, self.network.graph)
        self.updates = state.step
        self.slots = {
            slot: {
                name: np.array(state.slots[slot][name], dtype=value.dtype)
                for name, value in self.network.weights.items()
            }
            for slot in self.optimizer.slots
        }
