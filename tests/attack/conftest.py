"""Runs that tests of attacks look at."""

import numpy as np
import pytest

import dualml
from dualml.config.loader import parse

IMAGES = """\
seed: 2
model:
  input: [8, 8, 1]
  layers:
    - conv2d: {filters: 4, kernel_size: 3, activation: relu}
    - batch_norm: {}
    - flatten: {}
    - dropout: {rate: 0.2}
    - dense: {units: 16, activation: relu}
    - dense: {units: 10}
data: {source: digits, limit: 300}
loss: cross_entropy
optimizer: {adam: {lr: 0.01}}
train: {epochs: 4}
"""


@pytest.fixture(scope="session")
def images_run(tmp_path_factory):
    """A convolutional network that was trained on small images."""
    path = tmp_path_factory.mktemp("images") / "run"
    dualml.train(parse(IMAGES), backend="torch", out=path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Trains a model on arrays of its own and returns the run."""

    def run(text, **arrays):
        folder = tmp_path_factory.mktemp("trained")
        np.savez(folder / "data.npz", **arrays)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        dualml.train(dualml.load(folder / "config.yaml"), backend="torch", out=folder / "run")
        return folder / "run"

    return run
