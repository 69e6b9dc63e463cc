"""Runs that tests of explanations look at."""

import numpy as np
import pytest

import dualml
from dualml.config.loader import parse

IMAGES = """\
seed: 1
model:
  input: [8, 8, 1]
  layers:
    - conv2d: {filters: 4, kernel_size: 3, activation: relu}
    - batch_norm: {}
    - max_pool2d: {size: 2}
    - flatten: {}
    - dropout: {rate: 0.3}
    - dense: {units: 12, activation: tanh}
    - dense: {units: 10}
data: {source: digits, limit: 200}
loss: cross_entropy
optimizer: {adam: {lr: 0.01}}
train: {epochs: 2}
"""
MIXED = """\
model:
  inputs:
    kind: {shape: [3], dtype: integer}
    size: [2]
  layers:
    - {embedding: {vocabulary: 5, units: 4}, name: kinds, inputs: kind}
    - {flatten: , name: flat}
    - concat: {inputs: [flat, size]}
    - dense: {units: 6, activation: tanh}
    - dense: {units: 2}
data: {source: npz, path: mixed.npz, inputs: {kind: kind, size: size}, targets: label, class_names: ["yes", "no"]}
loss: cross_entropy
optimizer: adam
train: {epochs: 1}
"""


@pytest.fixture(scope="session")
def images_run(tmp_path_factory):
    """A convolutional network that was trained on small images."""
    path = tmp_path_factory.mktemp("images") / "run"
    dualml.train(parse(IMAGES), backend="torch", out=path)
    return path


@pytest.fixture(scope="session")
def digits():
    """Raw images, five of them."""
    from sklearn.datasets import load_digits

    return load_digits().images[:5]


@pytest.fixture(scope="session")
def mixed_run(tmp_path_factory):
    """A model with whole numbers beside values."""
    folder = tmp_path_factory.mktemp("mixed")
    random = np.random.default_rng(0)
    kind, size = random.integers(0, 5, (60, 3)), random.normal(size=(60, 2))
    np.savez(folder / "mixed.npz", kind=kind, size=size, label=(size.sum(axis=1) > 0).astype(np.int64))
    config = folder / "config.yaml"
    config.write_text(MIXED, encoding="utf-8")
    dualml.train(dualml.load(config), backend="torch", out=folder / "run")
    return folder / "run"
