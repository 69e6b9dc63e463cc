"""Two models that a project already has, compared in its own test suite: copy this file beside yours.

Run: pytest examples/parity_of_two_models
"""

import numpy as np
import pytest
from models import keras_model, torch_model

from dualml.testing import assert_parity


@pytest.fixture(scope="module")
def batch():
    """In the axes of the left model; dualml lays it out for the other one."""
    return np.random.default_rng(0).normal(size=(4, 1, 12, 12)).astype("float32")


def test_both_models_do_the_same(batch, tmp_path):
    report = assert_parity(torch_model, keras_model, batch, weights="copy", html=tmp_path / "parity.html")
    assert report.coverage["compared"] > 0
