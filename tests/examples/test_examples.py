"""Every example runs as its first lines say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_founding_network_is_the_config():
    out = run(EXAMPLES / "founding_network.py")
    assert "same spec as configs/mlp.yaml: True" in out
    assert "(10,)" in out


def test_switch_backend():
    out = run(EXAMPLES / "switch_backend.py", 1)
    assert "torch.nn.modules.container.Sequential" in out
    assert "keras.src.models" in out
    assert float(re.search(r"within (\S+) of", out)[1]) < 1e-12


def test_compare_softmax():
    out = run(EXAMPLES / "compare_softmax.py")
    gaps = [float(gap) for gap in re.findall(r"probability (\S+)", out)]
    assert gaps[0] < 1e-6
    assert gaps[1] < 1e-15


def test_parity_suite():
    assert "6 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "parity_suite")


def test_parity_of_two_models():
    assert "1 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "parity_of_two_models")


def test_every_example_is_run_here():
    covered = {
        "founding_network.py",
        "switch_backend.py",
        "compare_softmax.py",
        "parity_suite",
        "parity_of_two_models",
        "diff",  # in tests/native/test_example_pairs.py
    }
    found = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(("_", "."))}
    assert found == covered


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.stem)
def test_every_example_says_how_to_run_it(path):
    assert re.search(r"^Run: ", path.read_text(encoding="utf-8"), re.MULTILINE)
