"""The TensorFlow adapter in a fresh process: other frameworks beside it, and what it prints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("other", ["torch", "jax"])
def test_refuses_another_keras_backend(other):
    """Whether the other framework is installed or not."""
    code = "import dualml.registry as r\ntry: r.load('tensorflow')\nexcept Exception as e: print(type(e).__name__, e)"
    found = run_python(code, KERAS_BACKEND=other)
    assert found.stdout.startswith("BackendUnavailableError"), found.stdout + found.stderr[-500:]
    assert other in found.stdout
    assert "KERAS_BACKEND=tensorflow" in found.stdout


def test_lives_with_torch_in_one_process():
    """Loaded after TensorFlow, the order that older versions aborted in."""
    pytest.importorskip("torch")
    code = """
import dualml_tensorflow, torch
import numpy as np, dualml
from dualml.weights import initial_weights
spec = dualml.Spec(model=dualml.Model(input=300, layers=[dualml.Dense(200)]), loss="mse", optimizer="adam")
weights = initial_weights(spec.graph, 0)
net = dualml_tensorflow.backend.build(spec.graph, weights)
x = np.ones((64, 300), "float32")
theirs = torch.from_numpy(x) @ torch.from_numpy(weights["dense_1.kernel"]) + torch.from_numpy(weights["dense_1.bias"])
print(np.abs(net.predict(x) - theirs.numpy()).max() < 1e-4)
"""
    found = run_python(code)
    assert found.stdout.strip() == "True", found.stderr[-2000:]


def test_importing_the_backend_says_nothing_and_leaves_stderr_alone():
    code = "import os, dualml_tensorflow, tensorflow as tf\ntf.constant(1.0)\nos.write(2, b'mine')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "mine"


def test_what_is_not_a_known_note_passes():
    code = (
        "import os\nfrom dualml_tensorflow.startup import without_notes\n"
        "with without_notes():\n    os.write(2, b'one\\nI0000 oneDNN custom operations are on. You may\\ntwo')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "one\ntwo"
