"""What every method has in common: the model beside the smaller one, on examples that neither was made with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml.compress.latency import BATCHES, latency_ratios
from dualml.compress.quality import Quality, judge, outcome
from dualml.data import Dataset, Split
from dualml.errors import DataError
from dualml.evaluation import take
from dualml.protocol import Array
from dualml.spec.config import Spec


@dataclass(frozen=True)
class Measured:
    """A smaller model beside the one it was made of.

    Attributes:
        size: Bytes of the smaller model's ONNX file.
        size_before: Of the model's.
        quality: How good both are.
        latency: Ratios by examples in a call.
    """

    size: int
    size_before: int
    quality: Quality
    latency: dict[int, float]

    @property
    def ratio(self) -> float:
        """Size as a share of the model's."""
        return self.size / self.size_before


def measure(whole: bytes, small: bytes, spec: Spec, dataset: Dataset, rounds: int) -> Measured:
    """Run two ONNX models on held-back examples.

    Args:
        whole: The model.
        small: The smaller one.
        spec: Of the model; the smaller one has the same inputs and outputs.
        dataset: The data.
        rounds: How often latencies are measured; 0: not at all.
    """
    name, split = held_back(dataset)
    quality = judge(outcome(whole, spec, split), outcome(small, spec, split), spec, name)
    rows = evenly_spaced(spec, split, max(BATCHES))
    latency = latency_ratios(whole, small, rows, rounds=rounds) if rounds else {}
    return Measured(len(small), len(whole), quality, latency)


def held_back(dataset: Dataset) -> tuple[str, Split]:
    """The examples that decide: the test split, else the validation split.

    Raises:
        DataError: There is neither.
    """
    splits = dataset.splits()
    for name in ("test", "validation"):
        if len(splits.get(name, ())):
            return name, splits[name]
    raise DataError(
        "compress needs held-back examples to say what is lost, but the run's data has neither a test nor a validation "
        "split; train with data.test or data.validation above 0"
    )


def evenly_spaced(spec: Spec, split: Split, count: int) -> dict[str, Array]:
    """Evenly spaced examples of a split, by input."""
    rows = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(np.int64))
    return spec.graph.named_inputs(take(split, rows, spec.dtype).inputs)
