"""What the tests of the TensorFlow adapter share; they import it once they know that TensorFlow is there."""

from __future__ import annotations

import numpy as np
from dualml_tensorflow import backend

import dualml
from dualml import randomness
from dualml.protocol import Batch
from dualml.weights import initial_weights

CLASSES = 5
EXACT = {"rtol": 1e-13, "atol": 1e-14}
DROPOUT = [dualml.Dropout(0.3, name="drop"), dualml.Dense(6, activation="relu"), dualml.Dropout(0.5), dualml.Dense(5)]


def mlp(*, precision="float64", conventions="keras", loss="cross_entropy", optimizer="sgd", layers=None, size=7):
    layers = layers or [dualml.Dense(6, activation="relu"), dualml.Dense(CLASSES)]
    model = dualml.Model(input=size, layers=layers)
    return dualml.Spec(conventions=conventions, precision=precision, model=model, loss=loss, optimizer=optimizer)


def build(spec, **options):
    return backend.build(spec.graph, initial_weights(spec.graph, 3), **options)


def data(spec, examples, seed=0):
    r = np.random.default_rng(seed)
    inputs = r.standard_normal((examples, *spec.graph.inputs[0].shape)).astype(spec.precision)
    shape = spec.graph.output_shape
    if spec.loss.target == "class":
        return Batch(inputs, r.integers(0, shape[-1], (examples, *shape[:-1])))
    return Batch(inputs, r.standard_normal((examples, *shape)).astype(spec.precision))


def trainer(net, spec, **options):
    return net.trainer(spec.resolved.loss, spec.resolved.optimizer, **{"batch_size": 8, **options})


def part(batch, start, stop):
    return Batch(batch.inputs[start:stop], batch.targets[start:stop])


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def masks_for(spec, examples, step=0):
    return {
        node.name: randomness.keep_mask(0, node.name, (examples, *node.shape), node.settings.rate, step=step)
        for node in spec.graph.dropouts
    }


def gradients_for(spec, updates, seed=0):
    """Gradients over six orders of magnitude, so that epsilon matters for some values and not for others."""
    r = np.random.default_rng(seed)
    shapes = {item.name: item.shape for item in spec.graph.parameters}
    return [
        {
            name: (r.standard_normal(shape) * 10.0 ** r.uniform(-6, 0, shape)).astype(spec.precision)
            for name, shape in shapes.items()
        }
        for _ in range(updates)
    ]
