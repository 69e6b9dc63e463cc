"""Formats of the frameworks, from weights of either backend through the spec."""

import hashlib
import json
import zipfile
from importlib import import_module

import numpy as np
import pytest

from dualml.errors import BackendUnavailableError, ParityError, RunError, UnsupportedError
from dualml.export import formats
from dualml.export.compare import compare
from dualml.export.formats import FORMATS, export
from dualml.testing.cases import NETWORK_CASES, PLAIN

CASES = {case.name: case for case in NETWORK_CASES}
FRAMEWORKS = [name for name, kind in FORMATS.items() if kind.backend]
ROWS = ("conv-flatten-dense", "lstm-masked-zeros", "two-outputs-weighted")


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch):
    monkeypatch.setattr(formats, "compare", lambda *given, **more: compare(*given, rows=8, reference_rows=8, **more))


def of(case, precision="float32"):
    return case.graph(precision), case.weights(precision)


def digests(path):
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in files}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_format_predicts_what_the_model_does(name, row, tmp_path):
    path = tmp_path / f"model{FORMATS[name].ending}"
    checked = export(name, *of(CASES[row]), path, backends=())
    assert checked.ok
    assert path.is_file() == bool(FORMATS[name].ending)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    places = (b"/home", b"/tmp", b"site-packages", str(tmp_path).encode())
    for file in [path] if path.is_file() else path.rglob("*"):
        assert file.is_dir() or not any(text in file.read_bytes() for text in places), file


@pytest.mark.parametrize("name", ["onnx", "keras", "litert"])
def test_equal_models_give_equal_files(name, tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        export(name, *of(PLAIN), tmp_path / folder / f"m{FORMATS[name].ending}", backends=())
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_a_keras_file_holds_stock_layers_and_logits(tmp_path):
    export("keras", *of(PLAIN), tmp_path / "m.keras", backends=())
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        text = archive.read("config.json").decode()
    assert "dualml" not in text
    kinds = [layer["class_name"] for layer in json.loads(text)["config"]["layers"]]
    assert kinds == ["InputLayer", "Dense", "Activation", "Dense"]


def test_a_state_dict_holds_the_native_names(tmp_path):
    from safetensors.numpy import load_file

    graph, weights = of(PLAIN)
    export("torch", graph, weights, tmp_path / "m", backends=())
    state = load_file(tmp_path / "m" / "state_dict.safetensors")
    assert np.array_equal(state["dense_1.weight"], weights["dense_1.kernel"].T)


def test_recurrent_layers_of_litert_are_unrolled(tmp_path):
    checked = export("litert", *of(CASES["lstm-torch"]), tmp_path / "m.tflite", backends=())
    assert checked.ok
    assert checked.batch_invariant


@pytest.mark.parametrize("name", FORMATS)
def test_what_differs_is_removed(name, tmp_path, monkeypatch):
    kind, (graph, weights) = FORMATS[name], of(PLAIN)
    wrong = {key: array + np.float32(0.01) for key, array in weights.items()}
    if kind.backend is None:
        from dualml.export import onnx

        emit = onnx.emit
        monkeypatch.setattr(onnx, "emit", lambda graph, _: emit(graph, wrong))
    else:
        module = import_module(f"dualml_{kind.backend}.export")
        write = module.FORMATS[name]
        changed = {**module.FORMATS, name: lambda graph, _, path: write(graph, wrong, path)}
        monkeypatch.setattr(module, "FORMATS", changed)
    with pytest.raises(ParityError, match=f"--format {name}: must predict what the model does"):
        export(name, graph, weights, tmp_path / f"m{kind.ending}", backends=())
    assert not list(tmp_path.iterdir())


def test_a_part_that_a_format_lacks_is_named_and_nothing_stays(tmp_path):
    with pytest.raises(UnsupportedError, match="--format keras: Keras cannot read back"):
        export("keras", *of(CASES["tied-dense"]), tmp_path / "m.keras", backends=())
    assert not list(tmp_path.iterdir())


def test_a_float64_model_is_written_in_float32_if_asked(tmp_path):
    case = CASES["conv2d"]
    with pytest.raises(UnsupportedError, match="--precision float32"):
        export("onnx", *of(case, "float64"), tmp_path / "m.onnx", backends=())
    assert export("onnx", *of(case, "float64"), tmp_path / "m.onnx", precision="float32", backends=()).ok


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("onnx", "m.txt", "must end in .onnx"),
        ("onnx", "folder", "must be a file, but is a folder"),
        ("onnx", "none/m.onnx", "does not exist; make it first"),
        ("savedmodel", "folder", "is not empty"),
        ("savedmodel", "file", "must be a folder, but is a file"),
        ("onx", "m.onnx", "--format must be one of onnx, .*; did you mean"),
    ],
)
def test_a_place_that_will_not_do(name, target, message, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=message):
        export(name, *of(PLAIN), tmp_path / target, backends=())
    assert {item.name for item in tmp_path.rglob("*")} == {"folder", "mine", "file"}


def test_a_missing_package_is_named(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(BackendUnavailableError, match=r"onnx is not installed; run: pip install 'dualml\[export\]'"):
        formats.needs("onnx")
