"""Everything a training needs to go on, in one safetensors file that fits either backend."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dualml.errors import RunError, WeightsError
from dualml.protocol import Array, Arrays, State
from dualml.slots import check_state
from dualml.spec.config import Spec
from dualml.spelling import dotted
from dualml.weights import check_weights, read_tensors, write_tensors

KIND = "checkpoint"

FREE_TO_CHANGE = frozenset(
    {"backend", "device", "train.epochs", "train.early_stopping", "train.checkpoints", "train.tensorboard"}
)
"""Settings that may differ between a checkpoint and the config that resumes it."""


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: Updates done, over all epochs.
        epoch: Complete epochs.
        update: Updates done in the epoch after those: the data cursor.
        loss_sum: Sum of the examples' losses in that epoch so far.
        examples: Examples seen in that epoch so far.
        seconds: Training time in that epoch so far.
        best: Best value of the watched metric so far.
        best_epoch: Epoch of the best value, counted from 1.
        waited: Epochs since early stopping's metric last improved.
        stopping_best: Best value of early stopping's metric so far.
        history: A row of metrics for each complete epoch.
    """

    step: int = 0
    epoch: int = 0
    update: int = 0
    loss_sum: float = 0.0
    examples: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    stopping_best: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A training's state, in the neutral layout.

    Attributes:
        weights: Parameters by name.
        state: The optimizer's memory.
        progress: How far the training is.
        spec: The resolved spec as plain values.
        fingerprint: Of the data.
    """

    weights: Arrays
    state: State
    progress: Progress
    spec: dict[str, Any]
    fingerprint: str

    def write(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        arrays: dict[str, Array] = {f"weights/{name}": array for name, array in self.weights.items()}
        for slot, slot_arrays in self.state.slots.items():
            arrays |= {f"slots/{slot}/{name}": array for name, array in slot_arrays.items()}
        metadata = {
            "kind": KIND,
            "optimizer_step": self.state.step,
            "progress": asdict(self.progress),
            "spec": self.spec,
            "fingerprint": self.fingerprint,
        }
        write_tensors(path, arrays, metadata)


def read_checkpoint(path: Path, spec: Spec) -> Checkpoint:
    """Read a checkpoint that is to be resumed with a spec.

    Args:
        path: The file.
        spec: What the training goes on with; it may differ in ``FREE_TO_CHANGE`` only.

    Raises:
        WeightsError: The file is cut short, damaged, no checkpoint, or from another model.
        RunError: The spec differs in what a resumed run must keep; every such setting is listed.
    """
    arrays, metadata = read_tensors(path)
    if metadata.get("kind") != KIND:
        raise WeightsError(f"{path}: must be a checkpoint, but is a file of another kind")
    try:
        stored, step = metadata["spec"], metadata["optimizer_step"]
        progress, fingerprint = Progress(**metadata["progress"]), metadata["fingerprint"]
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path}: its header is damaged ({error}); use another checkpoint or train again") from None
    check_same(path, stored, spec.resolved)
    weights: dict[str, Array] = {}
    slots: dict[str, dict[str, Array]] = {name: {} for name in spec.resolved.optimizer.slots}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        if group == "weights":
            weights[name] = array
            continue
        slot, _, name = name.partition("/")
        slots.setdefault(slot, {})[name] = array
    check_weights(weights, spec.graph, f"{path}: weights")
    state = State(step, slots)
    check_state(state, spec.resolved.optimizer, spec.graph, f"{path}: the optimizer's state")
    return Checkpoint(weights, state, progress, stored, fingerprint)


def check_same(path: Path, stored: dict[str, Any], given: Spec) -> None:
    """Refuse a spec that differs from a stored one in more than ``FREE_TO_CHANGE``.

    The number of epochs may not change either where the schedule spans the training: the rates of the updates
    already done would be other ones.

    Raises:
        RunError: Lists every difference.
    """
    free_to_change = FREE_TO_CHANGE - ({"train.epochs"} if given.schedule.spans_training else set())
    changed = [
        f"  {place}: the run has {old!r}, the config says {new!r}"
        for place, old, new in differences(stored, given.to_dict())
        if not any(place == free or place.startswith(f"{free}.") for free in free_to_change)
    ]
    if changed:
        raise RunError(
            f"{path}: can only be resumed with the settings it was trained with, but these differ:\n"
            + "\n".join(changed)
            + "\nchange them back, or train into another directory (--out)"
        )


def differences(left: Any, right: Any, location: tuple[str | int, ...] = ()) -> list[tuple[str, Any, Any]]:
    """Where two configs of plain values differ: dotted path, left value, right value.

    Example:
        >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
        [('a.b', 1, 2)]
        >>> differences({"loss": {"mse": {}}}, {"loss": {"cross_entropy": {"label_smoothing": 0.0}}})
        [('loss', 'mse', 'cross_entropy')]
    """
    if isinstance(left, dict) and isinstance(right, dict):
        if len(left) == len(right) == 1 and left.keys() != right.keys():  # another kind: relu against tanh
            return [(dotted(location), next(iter(left)), next(iter(right)))]
        keys = [*left, *(key for key in right if key not in left)]
        return [item for key in keys for item in differences(left.get(key), right.get(key), (*location, key))]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [item for index, (one, two) in pairs for item in differences(one, two, (*location, index))]
    return [] if left == right else [(dotted(location), left, right)]
