"""What two finished runs stored, beside what their specs do when they are run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualml import reference
from dualml.data import Dataset
from dualml.errors import RunError
from dualml.parity.records import difference, same_bits
from dualml.parity.side import PREDICTION_ROWS, held_back
from dualml.parity.structure import differing_node
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.training.checkpoint import read_checkpoint
from dualml.training.run_directory import RunDirectory, StoredRun


@dataclass(frozen=True)
class StoredResults:
    """The stored results of two runs against each other.

    Attributes:
        steps: Updates each of them did.
        facts: Differences of weights and predictions, epochs, test metrics.
    """

    steps: tuple[int, int]
    facts: dict[str, Any] = field(default_factory=dict)


def stored_results(left: StoredRun, right: StoredRun, dataset: Dataset) -> StoredResults:
    """Compare the stored weights of two runs, and the predictions these give in the float64 reference.

    Raises:
        RunError: A run's ``model.safetensors`` is not what its last checkpoint holds, so something else wrote it.
    """
    weights = _trained_weights(left), _trained_weights(right)
    shared = [name for name in weights[0] if name in weights[1]]
    steps = left.summary["steps"], right.summary["steps"]
    facts: dict[str, Any] = {
        "weights": {name: difference(weights[0][name], weights[1][name]) for name in shared},
        "steps": list(steps),
        "test": [left.summary.get("test"), right.summary.get("test")],
    }
    graph = left.spec.graph
    if differing_node(graph, right.spec.graph) is None and _same_losses(left.spec, right.spec):
        split = held_back(dataset)
        inputs = split.gather(np.arange(min(len(split), PREDICTION_ROWS)), "float64")[0]
        outputs = [reference.forward(graph, item, inputs)[graph.output] for item in weights]
        given = [reference.predictions(graph.prediction, output) for output in outputs]
        facts["predictions"] = difference(given[0], given[1])
        if left.spec.main_loss.target == "class":
            facts["same_class"] = int(np.sum(given[0].argmax(-1) == given[1].argmax(-1)))
            facts["examples"] = len(given[0])
    return StoredResults(steps, facts)


def _same_losses(left: Spec, right: Spec) -> bool:
    return [item.loss.kind for item in left.ordered_losses] == [item.loss.kind for item in right.ordered_losses]


def _trained_weights(run: StoredRun) -> dict[str, Array]:
    weights = run.weights()
    checkpoints = RunDirectory(run.path).checkpoints()
    if checkpoints:
        last = read_checkpoint(checkpoints[-1], run.spec).weights
        changed = [name for name, array in weights.items() if not same_bits(array, last[name])]
        if changed:
            raise RunError(
                f"{run.path}: its model.safetensors must hold the weights of its last checkpoint, but "
                f"{', '.join(changed)} differ; something changed the file after the training"
            )
    return weights
