"""Runs that tests make smaller; none of them changes one."""

import pytest

import dualml

DENSE = (
    "model: {input: 64, layers: [dense: {units: 64, activation: relu}, dense: {units: 48, activation: relu}, "
    "dense: 10]}\ndata: {source: digits}\nloss: cross_entropy\noptimizer: {adam: {lr: 0.003}}\n"
    "train: {epochs: 8, batch_size: 64}\n"
)
CONVOLUTIONS = """\
model:
  input: [8, 8, 1]
  layers:
    - conv2d: {filters: 8, kernel_size: 3, padding: same, bias: false, name: first}
    - batch_norm
    - activation: relu
    - max_pool2d: 2
    - conv2d: {filters: 16, kernel_size: 3, padding: same, activation: relu, name: second}
    - flatten
    - dense: {units: 32, activation: relu, name: hidden}
    - dropout: 0.1
    - dense: {units: 10, name: logits}
data: {source: digits, limit: 900}
loss: cross_entropy
optimizer: {adam: {lr: 0.01}}
train: {epochs: 4, batch_size: 64}
"""


def _trained(folder, text):
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    dualml.train(dualml.load(folder / "config.yaml"), backend="torch", out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def dense_run(tmp_path_factory):
    """Three dense layers on digits."""
    return _trained(tmp_path_factory.mktemp("dense"), DENSE)


@pytest.fixture(scope="session")
def convolution_run(tmp_path_factory):
    """Two convolutions with a batch norm and a max pool on digits."""
    return _trained(tmp_path_factory.mktemp("convolutions"), CONVOLUTIONS)
