"""Artefacts that tests look at; those that damage one copy it first."""

import shutil

import pytest

import dualml
from dualml.artefact import create, open_artefact
from dualml.config.loader import parse
from dualml.weights import initial_weights

TINY = """\
backend: {backend}
model:
  input: [4]
  layers:
    - dense: {{units: 6, activation: relu}}
    - dense: {{units: 3}}
loss: cross_entropy
optimizer: adam
"""


@pytest.fixture(scope="session")
def tiny_spec():
    """A spec without data."""
    return parse(TINY.format(backend="torch"))


@pytest.fixture(scope="session")
def tiny(tiny_spec, tmp_path_factory):
    """An artefact of it, not to be changed."""
    path = tmp_path_factory.mktemp("tiny") / "artefact"
    return create((tiny_spec, initial_weights(tiny_spec.graph, 1)), path, backends=(), class_names=("a", "b", "c"))


@pytest.fixture
def copied(tiny, tmp_path):
    """A folder with a copy of it, to be changed."""
    shutil.copytree(tiny.path, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run on images of digits, whose inputs are scaled by 1/16."""
    folder = tmp_path_factory.mktemp("run")
    config = folder / "config.yaml"
    config.write_text(
        "model: {input: 64, layers: [dense: {units: 8, activation: relu}, dense: 10]}\n"
        "data: {source: digits, limit: 100}\nloss: cross_entropy\noptimizer: adam\ntrain: {epochs: 1}\n",
        encoding="utf-8",
    )
    dualml.train(dualml.load(config), backend="torch", out=folder / "digits")
    return folder / "digits"


@pytest.fixture(scope="session")
def digits(run, tmp_path_factory):
    """An artefact of that run, compared with the reference alone."""
    path = tmp_path_factory.mktemp("digits") / "artefact"
    create(run, path, backends=())
    return open_artefact(path)
