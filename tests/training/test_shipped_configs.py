"""Every config that ships trains in either backend, to the same result."""

from pathlib import Path

import numpy as np
import pytest

import dualml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_trains_in_either_backend(path):
    overrides = ["train.epochs=1", "precision=float64"]
    if path.stem == "fashion_mlp":  # its data is a package of its own; digits have the same shape
        overrides.append("data={source: digits, image_size: 32}")
    runs = [dualml.train(dualml.load(path, overrides), backend) for backend in ("torch", "tensorflow")]
    one, two = (run.weights for run in runs)
    assert max(float(np.abs(one[name] - two[name]).max()) for name in one) < 1e-11
    assert runs[0].test["accuracy"] == runs[1].test["accuracy"]
