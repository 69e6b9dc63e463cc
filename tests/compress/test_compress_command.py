"""``dualml compress`` as a user types it, and what the other commands make of its results."""

import json

import numpy as np
import pytest

import dualml
from dualml.artefact import create, open_artefact
from dualml.compress import api, compress


@pytest.fixture(scope="session")
def int8(dense_run, tmp_path_factory):
    """Report and folder of the dense run in int8."""
    path = tmp_path_factory.mktemp("int8") / "small"
    return compress(dense_run, "int8", out=path, max_loss=0.05, rounds=0), path


def test_int8_writes_an_artefact_that_verify_and_predict_take(int8, dualml_command, tmp_path):
    report, path = int8
    manifest = open_artefact(path).manifest
    assert manifest.batch_invariant
    assert manifest.batch_difference == 0
    assert manifest.compression["method"] == "int8"
    assert manifest.compression["quality"]["after"] == report.measured.quality.after == manifest.metrics["accuracy"]
    assert dualml_command("verify", path).code == 0
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 17, (5, 64)))
    out = tmp_path / "p.npy"
    assert dualml_command("predict", path, tmp_path / "x.npy", "--out", out).code == 0
    assert np.allclose(np.load(out).sum(axis=1), 1, atol=1e-5)


def test_int8_is_what_the_report_says(int8, dense_run):
    report, path = int8
    measured, quality = report.measured, report.measured.quality
    assert measured.size == (path / "model.onnx").stat().st_size
    x = dualml.api.load_dataset(dualml.load(dense_run / "config.yaml")).test
    inputs, targets = x.whole("float32")
    found = open_artefact(path).run({"input": inputs})["dense_3"]
    before = dualml.build(dualml.load(dense_run / "config.yaml"), weights=api.open_run(dense_run).weights()).predict(
        {"input": inputs}
    )
    assert quality.after == pytest.approx(np.mean(found.argmax(1) == targets))
    assert quality.before == pytest.approx(np.mean(before.argmax(1) == targets))
    assert quality.agreement == pytest.approx(np.mean(before.argmax(1) == found.argmax(1)))
    assert quality.largest_difference == pytest.approx(np.max(np.abs(before - found)), abs=1e-5)
    assert quality.before_interval[0] < quality.before < quality.before_interval[1]
    assert quality.loss_interval[0] <= quality.loss <= quality.loss_interval[1]


def test_the_command_prints_and_writes_its_report(convolution_run, dualml_command, tmp_path):
    arguments = ("--method", "int8", "--out", tmp_path / "a", "--max-loss", 0.1, "--calibration", 50, "--rounds", 1)
    done = dualml_command("compress", convolution_run, *arguments, "--json", tmp_path / "r.json")
    assert done.code == 0, done.err
    for word in ("accuracy", "loss", "agreement", "at batch 256", "bit for bit", "second: int8", "first: as it was"):
        assert word in done.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["kept"]
    assert report["settings"]["calibration"] == 50
    assert sorted(report["measured"]["latency"]) == ["1", "256", "32"]
    assert dualml_command("compress", convolution_run, *arguments[:2], "--out", tmp_path / "b", "--quiet").out == ""


def test_too_much_loss_is_refused_with_exit_1_and_leaves_nothing(dense_run, dualml_command, tmp_path, monkeypatch):
    from dualml.compress import int8 as module

    monkeypatch.setattr(module, "LARGEST", 1)  # weights of one step
    done = dualml_command("compress", dense_run, "--method", "int8", "--out", tmp_path / "a", "--rounds", 0)
    assert done.code == 1
    assert "nothing was written" in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-loss", "-1"], ["--max-loss must be 0 or more"]),
        (["--max-loss", "nan"], ["--max-loss must be 0 or more"]),
        (["--out", "full"], ["is not empty"]),
        (["--out", "missing/a"], ["does not exist"]),
        (["--weights", "best", "--out", "full"], ["is not empty"]),
    ],
)
def test_wrong_arguments_are_one_message(dense_run, dualml_command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    done = dualml_command("compress", dense_run, "--method", "int8", *arguments)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert all(word in done.err for word in words), done.err


def test_a_run_without_held_back_examples_is_refused(dualml_command, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "model: {input: 64, layers: [dense: 16, dense: 10]}\n"
        "data: {source: digits, limit: 100, validation: 0.0, test: 0.0}\n"
        "loss: cross_entropy\noptimizer: adam\ntrain: {epochs: 1, checkpoints: {best: none}}\n"
    )
    dualml.train(dualml.load(tmp_path / "c.yaml"), backend="torch", out=tmp_path / "run")
    done = dualml_command("compress", tmp_path / "run", "--method", "int8")
    assert done.code == 2
    assert "held-back examples" in done.err
    assert not (tmp_path / "run.int8").exists()


def test_float64_is_refused(small_config, dualml_command, tmp_path):
    dualml.train(dualml.load(small_config("float64"), ["train.epochs=1"]), backend="torch", out=tmp_path / "run")
    done = dualml_command("compress", tmp_path / "run", "--method", "int8")
    assert done.code == 2
    assert "float64" in done.err


@pytest.fixture(scope="session")
def fewer(dense_run, tmp_path_factory):
    """Report and folder of the dense run with half its neurons, trained on in the other backend."""
    path = tmp_path_factory.mktemp("fewer") / "small"
    return compress(dense_run, "neurons", out=path, epochs=3, backend="tensorflow", max_loss=0.05, rounds=0), path


def test_fewer_neurons_are_a_run_that_the_other_commands_take(fewer, dualml_command, tmp_path):
    report, path = fewer
    assert report.kept
    assert report.measured.ratio < 0.5
    assert dict(report.layers) == {"dense_1": "32 of 64 units", "dense_2": "24 of 48 units"}
    evaluated = dualml_command("evaluate", path, "--backend", "torch", "--json", "-")
    assert json.loads(evaluated.out)["accuracy"] == pytest.approx(report.measured.quality.after, abs=0.003)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 17, (5, 64)))
    assert dualml_command("predict", path, tmp_path / "x.npy", "--out", tmp_path / "p.npy").code == 0
    assert dualml_command("export", path, "--out", tmp_path / "a", "--against", "none").code == 0
    assert dualml_command("verify", tmp_path / "a", "--against", "none").code == 0
    summary = json.loads((path / "summary.json").read_text())
    assert summary["compression"]["method"] == "neurons"
    assert summary["test"]["accuracy"] == report.measured.quality.after
    assert summary["backend"] == "tensorflow"


def test_what_was_made_smaller_can_be_made_smaller_again(fewer, tmp_path):
    report = compress(fewer[1], "int8", out=tmp_path / "a", max_loss=0.1, rounds=0)
    assert report.kept
    assert report.measured.size < 0.5 * report.measured.size_before
    assert open_artefact(tmp_path / "a").manifest.batch_difference == 0


@pytest.mark.parametrize("method", ["neurons", "svd"])
def test_without_epochs_the_weights_are_those_that_stayed(convolution_run, dualml_command, tmp_path, method):
    out = tmp_path / "run"
    arguments = ("--method", method, "--keep", 0.7, "--epochs", 0, "--max-loss", 1, "--rounds", 0, "--out", out)
    done = dualml_command("compress", convolution_run, *arguments)
    assert done.code == 0, done.err
    assert dualml_command("evaluate", out).code == 0
    again = dualml_command("train", out / "config.yaml", "--out", out, "--resume", "--quiet")
    assert again.code == 0, again.err


def test_too_few_neurons_are_refused_and_leave_nothing(dense_run, dualml_command, tmp_path):
    arguments = ("--method", "neurons", "--keep", 0.03, "--epochs", 0, "--out", tmp_path / "a", "--rounds", 0)
    done = dualml_command("compress", dense_run, *arguments, "--json", tmp_path / "r.json")
    assert done.code == 1
    assert "nothing was written" in done.out
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert not report["kept"]
    assert report["path"] is None


def test_verify_finds_a_compressed_model_that_is_another(int8, dualml_command, tmp_path):
    _, path = int8
    assert dualml_command("verify", path, "--against", "none").code == 0
    artefact = open_artefact(path)
    worse = {name: -array for name, array in artefact.weights.items()}
    create((artefact.spec, worse), tmp_path / "a", onnx=artefact.onnx, parity=artefact.manifest.parity,
           compression=artefact.manifest.compression)  # fmt: skip
    done = dualml_command("verify", tmp_path / "a", "--against", "none")
    assert done.code == 2
    assert "was compressed" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unstructured"], "neither time nor space"),
        (["svd", "--keep", "0.5", "--energy", "0.5"], "give one of them"),
        (["svd", "--energy", "1.5"], "--energy must be above 0 and below 1"),
        (["neurons", "--keep", "0"], "--keep must be above 0 and below 1"),
        (["neurons", "--epochs", "-1"], "--epochs must be 0 or more"),
        (["neurons", "--lr", "nan"], "--lr must be above 0"),
        (["neurons", "--calibration", "5"], "is for --method int8"),
        (["int8", "--epochs", "5"], "is for --method neurons, svd"),
        (["int8", "--calibration", "0"], "--calibration must be at least 1"),
        (["neurons", "--backend", "tensorflo", "--out", "x"], "tensorflow"),
    ],
)
def test_wrong_settings_are_one_message(dense_run, dualml_command, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = dualml_command("compress", dense_run, "--method", *arguments)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_leaves_nothing(dense_run, tmp_path):
    with pytest.raises(dualml.TrainingError, match="nothing was written"):
        compress(dense_run, "neurons", out=tmp_path / "a", interrupted=lambda: True, rounds=0)
    assert list(tmp_path.iterdir()) == []
