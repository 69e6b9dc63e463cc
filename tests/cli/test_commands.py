"""Every command, as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(dualml_command, small_config, tmp_path):
    """A finished run of the small config, in torch."""
    outcome = dualml_command("train", small_config(), "--set", "train.epochs=2", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    return tmp_path / "run"


def test_train_tells_a_line_for_each_epoch(dualml_command, small_config, tmp_path):
    outcome = dualml_command("train", small_config(), "--set", "train.epochs=2", "--out", tmp_path / "run")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].startswith("torch (torch 2.")
    assert [line.split()[:2] for line in lines[1:3]] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert lines[3].startswith(f"finished: {tmp_path / 'run'}   test: loss ")
    assert outcome.err == ""


def test_train_is_silent_when_told(dualml_command, small_config, tmp_path):
    outcome = dualml_command("train", small_config(), "--quiet", "--set", "train.epochs=1", "--out", tmp_path / "run")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_train_chooses_a_free_directory(dualml_command, small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert dualml_command("train", small_config(), "-q", "--set", "train.epochs=1").code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["small-torch", "small-torch-2"]
    outcome = dualml_command("train", small_config(), "--set", "train.epochs=2", "--resume")
    assert outcome.code == 0
    assert "going on from runs/small-torch-2/checkpoints/" in outcome.out


def test_train_resumes_in_the_other_backend(dualml_command, small_config, trained):
    outcome = dualml_command(
        "train", small_config(), "--backend", "tensorflow", "--set", "train.epochs=3", "--out", trained, "--resume"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].startswith("going on from") or "tensorflow" in outcome.out
    assert "backend: tensorflow" in (trained / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", [None, "torch", "tensorflow"])
def test_evaluate(dualml_command, trained, backend):
    chosen = ["--backend", backend] if backend else []
    outcome = dualml_command("evaluate", trained, *chosen, "--json", "-")
    assert outcome.code == 0, outcome.err
    results = json.loads(outcome.out)
    stored = json.loads((trained / "summary.json").read_text(encoding="utf-8"))["test"]
    assert results["accuracy"] == stored["accuracy"]
    assert results["loss"] == pytest.approx(stored["loss"], rel=1e-5)


def test_evaluate_another_split(dualml_command, trained):
    outcome = dualml_command("evaluate", trained, "--split", "validation")
    assert outcome.code == 0
    assert outcome.out.startswith("validation_loss  ")


def test_predict_gives_the_same_probabilities_in_both_backends(dualml_command, trained, tmp_path):
    inputs = np.random.default_rng(0).integers(0, 17, (7, 8, 8))
    np.save(tmp_path / "x.npy", inputs)
    given = []
    for backend in ("torch", "tensorflow"):
        outcome = dualml_command(
            "predict", trained, tmp_path / "x.npy", "--out", tmp_path / backend, "--backend", backend
        )
        assert outcome.code == 0, outcome.err
        given.append(np.load(tmp_path / backend))
    assert given[0].shape == (7, 10)
    np.testing.assert_allclose(given[0].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(given[0], given[1], rtol=1e-4, atol=1e-7)


def test_describe_writes_every_default_out(dualml_command):
    outcome = dualml_command("describe", ROOT / "configs" / "mlp.yaml")
    assert outcome.code == 0
    assert "690,314 parameters" in outcome.out
    for line in ("epsilon: 1e-08", "epsilon_placement: corrected", "fan_in_uniform:"):
        assert line in outcome.out


def test_describe_as_json(dualml_command):
    outcome = dualml_command("describe", ROOT / "configs" / "mlp.yaml", "--json", "-")
    described = json.loads(outcome.out)
    wanted = 1024 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    assert described["parameters"] == wanted
    assert [node["shape"] for node in described["nodes"]][-1] == [10]


def test_backends(dualml_command):
    outcome = dualml_command("backends", "--json", "-")
    found = json.loads(outcome.out)
    assert found["torch"]["usable"]
    assert found["tensorflow"]["versions"].keys() == {"tensorflow", "keras"}
    assert "dense" in found["torch"]["operations"]
    text = dualml_command("backends").out
    assert "torch: torch 2." in text
    assert "operations: activation, adaptive_average_pool1d" in text


def test_schema_accepts_the_shipped_configs_and_refuses_a_wrong_one(dualml_command):
    from ruamel.yaml import YAML

    schema = json.loads(dualml_command("schema").out)
    validator = jsonschema.Draft202012Validator(schema)
    for path in (ROOT / "configs").glob("*.yaml"):
        config = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        validator.validate(config)
        assert not validator.is_valid(config | {"sed": 1})


def test_compare_exits_with_1_for_runs_that_differ(dualml_command, small_config, trained, tmp_path):
    dualml_command(
        "train", small_config(), "-q", "--set", "train.epochs=2", "--set", "optimizer.adam.epsilon=1.0e-4",
        "--out", tmp_path / "other",
    )  # fmt: skip
    outcome = dualml_command("compare", trained, tmp_path / "other", "--steps", "3")
    assert outcome.code == 1, outcome.err
    assert "CONFIRMED  optimizer.epsilon" in outcome.out


def test_train_as_json(dualml_command, small_config, tmp_path):
    outcome = dualml_command(
        "train", small_config(), "--set", "train.epochs=2", "--out", tmp_path / "run", "--json", "-"
    )
    result = json.loads(outcome.out)
    assert [row["epoch"] for row in result["epochs"]] == [1, 2]
    assert result["test"].keys() == {"loss", "accuracy"}


def test_a_closed_pipe_is_no_error():
    piped = subprocess.Popen([sys.executable, "-m", "dualml", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    piped.stdout.close()
    assert piped.stderr.read() == b""
    assert piped.wait() == 0


def interruptible():
    """A shell lets commands in the background ignore interrupts, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_is_said(small_config, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    compare = subprocess.Popen(
        [sys.executable, "-m", "dualml", "compare", str(small_config()), "--steps", "100000"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        preexec_fn=interruptible,
    )
    while not list(folder.glob("dualml-*/config.yaml")):  # the two sides have been started
        assert compare.poll() is None
        time.sleep(0.02)
    compare.send_signal(signal.SIGINT)
    _, err = compare.communicate(timeout=60)
    assert (compare.returncode, err) == (2, "dualml: interrupted\n")
    assert not list(folder.iterdir())  # nothing is left behind


def test_a_bug_is_called_one_and_has_an_exit_code_of_its_own(dualml_command, monkeypatch, small_config):
    from dualml.cli import describe

    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(describe, "run_describe", broken)
    outcome = dualml_command("describe", small_config())
    assert outcome.code == 70
    assert "bug in dualml" in outcome.err
    assert "ZeroDivisionError: oops" in outcome.err


def test_version_and_help(dualml_command):
    from dualml import __version__

    assert dualml_command("--version").out == f"dualml {__version__}\n"
    assert "compare" in dualml_command("--help").out
