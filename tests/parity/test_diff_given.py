"""What users give ``dualml diff``: found and understood, or refused in one clear message."""

import json
import subprocess
import sys

import diff_pairs as pairs
import keras
import numpy as np
import pytest
import torch

import dualml
from dualml.cli.main import app
from dualml.errors import ParityError
from dualml.native.locate import locate

TORCH = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = net()
    def forward(self, x):
        return self.layers(x)

broken = lambda: 1 / 0
number = 3
"""
KERAS = """
import keras

def net():
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)]
    )
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "left.py").write_text(TORCH)
    (tmp_path / "right.py").write_text(KERAS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"inputs": np.full((4, 6), np.nan)}, "must hold finite numbers, but 24 of 24 are NaN or infinite"),
        ({"inputs": np.zeros((0, 6))}, "at least one example"),
        ({"inputs": [["a"]]}, "must be an array of numbers"),
        ({"inputs": pairs.BATCH, "steps": 0}, "steps must be a whole number of at least 1"),
        ({"inputs": pairs.BATCH, "weights": "some"}, "weights must be one of auto, copy, compare"),
        ({"inputs": pairs.BATCH, "left_inputs": pairs.BATCH}, "not both"),
        ({"inputs": pairs.BATCH, "targets": pairs.CLASSES[:5]}, "equally many examples, got 8 and 5"),
        ({"inputs": pairs.BATCH[:, :4]}, "refuses the inputs"),
        ({}, "does not say the shape of its inputs"),
    ],
)
def test_bad_input_is_refused_with_a_message(given, said):
    with pytest.raises(ParityError, match=said):
        dualml.diff(pairs.torch_mlp(), pairs.torch_mlp(), **given)


def test_what_is_no_model_is_refused():
    with pytest.raises(ParityError, match=r"the right model must be a torch\.nn\.Module, a Keras model"):
        dualml.diff(pairs.torch_mlp(), 3, pairs.BATCH)
    with pytest.raises(ParityError, match=r"<lambda>\(\) must return a model, but it raised ZeroDivisionError"):
        dualml.diff(lambda: 1 / 0, pairs.torch_mlp(), pairs.BATCH)


def test_inputs_are_made_up_from_the_shape_that_one_side_declares():
    report = dualml.diff(pairs.torch_conv(), pairs.keras_conv(epsilon=1e-5))
    assert any("made up" in note for note in report.coverage["notes"])
    assert report.held_back["float64"]["examples"] == 8


def test_images_are_turned_for_the_framework_that_wants_channels_last():
    report = dualml.diff(pairs.torch_conv(), pairs.keras_conv(epsilon=1e-5, momentum=0.9), pairs.IMAGES)
    assert pairs.causes(report) == ["norm.unbiased_variance"]


def test_a_large_batch_is_cut_and_the_report_says_so():
    report = dualml.diff(pairs.torch_mlp(), pairs.torch_mlp(), np.tile(pairs.BATCH, (5, 1)))
    assert report.held_back["float64"]["examples"] == 16
    assert any("24 of the given examples" in item["what"] for item in report.coverage["skipped"])


def test_models_are_found_in_files(files):
    torch.save(pairs.torch_mlp().state_dict(), files / "weights.pt")
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]).save(files / "model.keras")
    assert isinstance(locate("left.py:net")(), torch.nn.Sequential)
    state = locate("left.py:Net")().state_dict()
    torch.save({name: array * 2 for name, array in state.items()}, files / "weights.pt")
    loaded = locate("left.py:Net@weights.pt").state_dict()
    assert torch.equal(loaded["layers.0.weight"], 2 * state["layers.0.weight"])
    assert isinstance(locate("model.keras"), keras.Model)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("left.py", "left.py offers left.py:net"),
        ("left.py:nett", "has no 'nett'; did you mean 'net'"),
        ("none.py:net", "none.py: no such file"),
        ("left.txt:net", "must be a Python file"),
        ("none.keras", "none.keras: no such file"),
        ("weights.pt", "name the class as well"),
        ("left.py:Net@none.pt", "none.pt: no such file"),
        ("left.py:Net@left.py", "weights must be a file ending in"),
        ("bad.py:net", r"bad.py:2: NameError: name 'nothing' is not defined"),
        ("worse.py:net", r"worse.py:1: SyntaxError"),
        ("left.py:Net@broken.pt", "must hold tensors only"),
    ],
)
def test_what_cannot_be_found_is_said(files, name, said):
    (files / "bad.py").write_text("import math\nnothing\n")
    (files / "worse.py").write_text("def net(:\n")
    (files / "broken.pt").write_bytes(b"no tensors")
    with pytest.raises(ParityError, match=said):
        locate(name)


def test_the_command_writes_every_report_and_its_exit_code_is_the_verdict(files, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dualml", "diff", "left.py:net", "right.py:net"])
    targets = ["--json", "report.json", "--html", "report.html", "--junit", "report.xml"]
    code = app(["diff", "left.py:net", "right.py:net", *targets], standalone_mode=False)
    assert code == 0
    assert "dualml diff: EQUAL" in capsys.readouterr().out
    report = json.loads((files / "report.json").read_text())
    assert report["verdict"] == "equal"
    assert [len(pair["left"]) for pair in report["native"]["pairs"]] == [1, 1, 1]
    assert (files / "report.html").stat().st_size > 1000
    assert (files / "report.xml").read_text().startswith("<?xml")
    (files / "right.py").write_text(KERAS.replace("tanh", "relu"))
    code = app(["diff", "left.py:net", f"{files}/right.py:net", "--quiet"], standalone_mode=False)
    assert code in (0, 1)  # the module of the first call is kept in this process
    assert capsys.readouterr().out == ""


def test_the_command_says_what_is_wrong_and_leaves_with_2(files):
    done = subprocess.run(
        [sys.executable, "-m", "dualml", "diff", "left.py:broken", "left.py:net", "--input-shape", "6"],
        capture_output=True,
        text=True,
        cwd=files,
    )
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
