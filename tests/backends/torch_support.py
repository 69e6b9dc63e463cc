"""What the tests of the PyTorch adapter share; they import it once they know that torch is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from dualml_torch import backend

import dualml
from dualml import randomness
from dualml.protocol import Batch
from dualml.weights import initial_weights

PRECISIONS = ["float32", "float64"]

MLP = {
    "input": [12],
    "layers": [
        {"dense": {"units": 9, "activation": "relu"}},
        {"dense": {"units": 7, "activation": "tanh"}},
        {"dense": {"units": 5}},
    ],
}
RESIDUAL = {
    "input": [6],
    "layers": [
        {"dense": {"units": 6, "activation": "relu"}, "name": "stem"},
        {"dropout": {"rate": 0.25}, "name": "drop"},
        {"dense": {"units": 6}, "name": "train"},
        {"add": {}, "name": "sum", "inputs": ["stem", "train", "input"]},
        {"concat": {"axis": 0}, "name": "class", "inputs": ["sum", "stem"]},
        {"dense": {"units": 3}, "name": "code"},
    ],
}


def make_spec(model: Any = MLP, loss: Any = "cross_entropy", optimizer: Any = "adam", **settings: Any) -> dualml.Spec:
    return dualml.Spec(model=model, loss=loss, optimizer=optimizer, **settings).resolved


def make_network(spec: dualml.Spec, **settings: Any) -> Any:
    return backend.build(spec.graph, initial_weights(spec.graph, spec.seed), **settings)


def make_batch(spec: dualml.Spec, examples: int, seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((examples, *spec.graph.inputs[0].shape)).astype(spec.precision)
    shape = spec.graph.output_shape
    if spec.loss.target == "class":
        return Batch(inputs, generator.integers(0, shape[-1], (examples, *shape[:-1])))
    return Batch(inputs, generator.standard_normal((examples, *shape)).astype(spec.precision))


def make_masks(spec: dualml.Spec, examples: int) -> dict[str, Any]:
    return {
        node.name: randomness.keep_mask(0, node.name, (examples, *node.shape), node.settings.rate)
        for node in spec.graph.dropouts
    }


def rows(batch: Batch, order: Any) -> Batch:
    return Batch(batch.inputs[order], batch.targets[order])


def assert_same(left: Any, right: Any) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert np.array_equal(array, right[name]), name
