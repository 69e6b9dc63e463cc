"""What one side of a comparison writes down: arrays by step, phase, node and tensor.

Both sides write the same keys in the same neutral layout, so records are compared without either framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dualml.protocol import Array, Arrays, Batch, State
from dualml.spec.graph import Graph
from dualml.weights import read_tensors, write_tensors

PHASES = ("init", "input", "forward", "loss", "backward", "update", "state", "buffers", "prediction")
"""The rungs of the ladder, in the order in which an error travels."""


FREE = "free "
"""Before a phase: of the whole update, where only its first piece was recorded in full."""

EXAMPLES = "examples"
"""Stands for a node where an array belongs to the batch as a whole."""


class Key(NamedTuple):
    """What an array is."""

    phase: str
    node: str
    tensor: str


@dataclass(frozen=True)
class Record:
    """What happened in one update, or before the first one (step 0).

    Attributes:
        step: Number of the update, counted from 1; 0 is the state before the first.
        arrays: Everything recorded.
        lr: Learning rate of the update.
        facts: Small plain values, for example metrics.
    """

    step: int
    arrays: dict[Key, Array]
    lr: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, phase: str) -> dict[str, Array]:
        """Arrays of a phase under the parameters' neutral names."""
        return {f"{key.node}.{key.tensor}": array for key, array in self.arrays.items() if key.phase == phase}

    def slots(self, phase: str) -> dict[str, Arrays]:
        """Optimizer slots of a phase, by slot and parameter name."""
        slots: dict[str, dict[str, Array]] = {}
        for key, array in self.arrays.items():
            if key.phase == phase:
                slot, _, role = key.tensor.partition(".")
                slots.setdefault(slot, {})[f"{key.node}.{role}"] = array
        return dict(slots)

    def with_free(self, whole: Record) -> Record:
        """This record of an update's first piece, with that of the whole update beside it."""
        beside = {key._replace(phase=FREE + key.phase): array for key, array in whole.arrays.items()}
        return replace(self, arrays=self.arrays | beside)

    @property
    def free(self) -> Record:
        """The record of the whole update: what stands beside this one, or else this one."""
        beside = {key: array for key, array in self.arrays.items() if key.phase.startswith(FREE)}
        whole = {key._replace(phase=key.phase.removeprefix(FREE)): array for key, array in beside.items()}
        return replace(self, arrays=whole) if whole else self

    def write(self, path: Path) -> None:
        """Write it as one segment of a trace."""
        arrays = {"|".join(key): array for key, array in self.arrays.items()}
        write_tensors(path, arrays, {"step": self.step, "lr": self.lr, "facts": dict(self.facts)}, durable=False)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a segment of a trace."""
        arrays, metadata = read_tensors(path)
        keyed = {Key(*name.split("|")): array for name, array in arrays.items()}
        return cls(metadata["step"], keyed, metadata["lr"], metadata["facts"])


def parameter_keys(phase: str, arrays: Mapping[str, Array]) -> dict[Key, Array]:
    """Arrays by neutral parameter name, as records hold them."""
    return {Key(phase, *name.rsplit(".", 1)): array for name, array in arrays.items()}


def input_keys(graph: Graph, batch: Batch) -> dict[Key, Array]:
    """A batch, as records hold it."""
    keyed = {Key("input", name, "values"): array for name, array in graph.named_inputs(batch.inputs).items()}
    keyed |= {Key("input", name, "targets"): array for name, array in graph.named_targets(batch.targets).items()}
    if batch.weights is not None:
        keyed[Key("input", EXAMPLES, "weights")] = batch.weights
    return keyed


def recorded_batch(graph: Graph, arrays: Mapping[Key, Array]) -> Batch:
    """The batch that ``input_keys`` wrote down."""
    targets = {
        label: arrays[Key("input", name, "targets")]
        for label, name in zip(graph.output_names, graph.outputs, strict=True)
    }
    inputs = {name: arrays[Key("input", name, "values")] for name in graph.input_names}
    return Batch(inputs, targets, arrays.get(Key("input", EXAMPLES, "weights")))


def state_keys(state: State, phase: str = "state") -> dict[Key, Array]:
    """An optimizer's memory, as records hold it."""
    keyed: dict[Key, Array] = {}
    for slot, arrays in state.slots.items():
        for name, array in arrays.items():
            node, role = name.rsplit(".", 1)
            keyed[Key(phase, node, f"{slot}.{role}")] = array
    return keyed


def same_bits(left: Array, right: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bytes: 0.0 and -0.0 differ, and so do two NaNs."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def difference(left: Array, right: Array) -> float:
    """Largest absolute difference; infinite where shapes differ or one side alone is not finite.

    Example:
        >>> difference(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
        inf
    """
    if left.shape != right.shape:
        return float("inf")
    if left.size == 0:
        return 0.0
    one, two = np.atleast_1d(left).astype(np.float64), np.atleast_1d(right).astype(np.float64)
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        gap = np.abs(one - two)
    gap[same] = 0.0
    gap[~np.isfinite(gap)] = np.inf
    return float(gap.max())
