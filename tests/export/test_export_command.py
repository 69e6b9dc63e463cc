"""``dualml export`` as users run it: from a run of either backend, one clear message if something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dualml
from dualml.cli.main import main

CONFIG = """\
model: {input: 64, layers: [dense: {units: 8, activation: relu}, dense: 10]}
data: {source: digits, limit: 100}
loss: cross_entropy
optimizer: adam
train: {epochs: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, trained in PyTorch."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    dualml.train(dualml.load(folder / "config.yaml"), out=folder / "run")
    return folder / "run"


def dualml_command(monkeypatch, *words):
    """Runs the command line; its exit code."""
    monkeypatch.setattr(sys, "argv", ["dualml", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_onnx_of_a_run_is_compared_with_both_backends(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "model.onnx"
    assert dualml_command(monkeypatch, "export", run, "--format", "onnx", "--out", out) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{out}: ")
    for name in ("reference", "torch", "tensorflow"):
        assert f"dense_2 vs {name}: max |difference|" in text
    first = out.read_bytes()
    assert dualml_command(monkeypatch, "export", run, "--format", "onnx", "--out", out, "--against", "none", "-q") == 0
    assert out.read_bytes() == first
    assert capsys.readouterr().out == ""


def test_onnx_of_a_run_without_a_framework(run, tmp_path):
    words = ["dualml", "export", str(run), "--format", "onnx", "--out", str(tmp_path / "m.onnx"), "--against", "none"]
    code = (
        f"import sys; sys.argv = {words!r}\nfrom dualml.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(sorted({'torch', 'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("name", ["savedmodel", "torch"])
def test_a_run_of_one_backend_becomes_a_file_of_the_other(name, run, tmp_path, monkeypatch, capsys):
    words = ("export", run, "--format", name, "--out", tmp_path / "m", "--against", "torch", "--json", "-")
    assert dualml_command(monkeypatch, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == name
    assert [item["against"] for item in found["differences"]] == ["reference", "torch"]
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "m").rglob("*") if path.is_file())


def test_a_bundle_is_named_after_the_run_and_has_its_classes(run, tmp_path, monkeypatch):
    assert (
        dualml_command(monkeypatch, "export", run, "--bundle", "triton", "--out", tmp_path / "b", "--against", "none")
        == 0
    )
    root = tmp_path / "b" / "run"
    assert (root / "1" / "model.onnx").is_file()
    assert (root / "dense_2.labels.txt").read_text(encoding="utf-8").split() == [str(digit) for digit in range(10)]


def test_what_is_written_lies_beside_the_run_if_nothing_is_said(run, monkeypatch):
    assert dualml_command(monkeypatch, "export", run, "--format", "onnx", "--against", "none", "-q") == 0
    beside = run.with_name("run.onnx")
    assert beside.is_file()
    beside.unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing", "--format", "onnx"), "must be a run directory that 'dualml train' wrote, but it does not exist"),
        (("RUN", "--format", "onnx", "--out", "m.txt"), "must end in .onnx"),
        (("RUN", "--format", "onnx", "--out", "no/m.onnx"), "the folder no does not exist"),
        (("RUN", "--format", "onnx", "--against", "jax"), "no backend is named 'jax'"),
        (("RUN", "--format", "onnx", "--against", ""), "must be names of backends, or none"),
        (("RUN", "--format", "onnx", "--name", "x"), "--name: is for artefacts and bundles"),
        (("RUN", "--format", "onnx", "--weights", "newest"), "Invalid value"),
        (("RUN", "--bundle", "triton", "--storage", "gs://x"), "--storage: is for --bundle kserve"),
        (("RUN", "--bundle", "kserve", "--name", "A_b"), "KServe wants"),
        (("RUN", "--precision", "float32"), "--precision: is for other formats and bundles"),
        (("RUN", "--format", "pickle"), "Invalid value"),
    ],
)
def test_what_users_get_wrong(words, message, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in run.parent.iterdir()}
    given = [run if word == "RUN" else word for word in words]
    assert dualml_command(monkeypatch, "export", *given) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert message in shown
    assert "Traceback" not in shown
    assert not list(Path().iterdir())
    assert {path.name for path in run.parent.iterdir()} == before
