"""Every file attack is refused before a parser sees its bytes."""

import builtins
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from attacks import ATTACKS, onnx_bytes, safetensors_bytes

from dualml import guards
from dualml.errors import GuardError
from dualml.weights import write_tensors


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name, tmp_path):
    write, message = ATTACKS[name]
    path = write(tmp_path)
    before = set(sys.modules)
    with pytest.raises(GuardError) as refused:
        guards.check(path)
    assert message in str(refused.value)
    assert not (tmp_path / "EXECUTED").exists()
    added = {item.partition(".")[0] for item in set(sys.modules) - before}
    assert not added & {"torch", "tensorflow", "keras", "onnxruntime", "safetensors", "pickle"}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_in_a_folder_is_refused(name, tmp_path):
    ATTACKS[name][0](tmp_path)
    with pytest.raises(GuardError):
        guards.check(tmp_path)


def test_sound_files_pass(tmp_path):
    from onnx import TensorProto, helper

    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 100)), names=np.array(["a", "b"]))
    write_tensors(tmp_path / "a.safetensors", {"a": np.ones((2, 3)), "b": np.zeros(0), "c": np.array(1)})
    (tmp_path / "a.json").write_text('{"a": "\\ud83d\\ude00 [{\\"", "b": [[1, 2.5e3, null, true]], "c\\\\ud800": {}}')
    (tmp_path / "a.yaml").write_text("a: &x [1, 2]\nb: [*x, *x]\n")
    (tmp_path / "a.csv").write_text("a,b\n1,é\n", encoding="utf-8")
    batch = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("Concat", ["rows", "width"], ["size"], axis=0),
        helper.make_node("Expand", ["one", "size"], ["y"]),
    ]
    constants = [
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        helper.make_tensor("width", TensorProto.INT64, [1], [4]),
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
    ]
    (tmp_path / "a.onnx").write_bytes(onnx_bytes(*batch, initializers=constants))
    guards.check(tmp_path)


def test_a_file_is_looked_at_before_it_is_opened(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    path.write_bytes(b"x")

    def opened(*_, **__):
        raise AssertionError("the file was opened")

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(GuardError):
        guards.check(path)


def test_a_file_larger_than_its_limit_is_refused_unread(tmp_path):
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(GuardError, match="must have at most 4,194,304 bytes, but has 5,242,880"):
        guards.check(tmp_path / "a.yaml")


def test_a_folder_with_too_many_files_is_refused(tmp_path, monkeypatch):
    from dualml.guards import dispatch

    monkeypatch.setattr(dispatch, "MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.csv").write_text("1")
    with pytest.raises(GuardError, match="at most 3 files"):
        guards.check(tmp_path)


def test_missing_files_are_said(tmp_path):
    for path in (tmp_path / "none.json", "a\0b.json"):
        with pytest.raises(GuardError, match="cannot be looked at"):
            guards.check(path)


def test_a_header_of_safetensors_that_passes_is_read_by_the_library(tmp_path):
    from safetensors.numpy import load

    text = '{"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {"k": "v"}}'
    data = safetensors_bytes(text + " " * (-len(text) % 8))
    (tmp_path / "a.safetensors").write_bytes(data)
    guards.check(tmp_path / "a.safetensors")
    assert load(data)["a"].shape == (2, 2)


def test_every_layer_of_the_catalogue_passes_as_onnx():
    from dualml.export.onnx import emit
    from dualml.testing.cases import NETWORK_CASES

    for case in NETWORK_CASES:
        guards.check_bytes(emit(case.graph("float32"), case.weights("float32")), ".onnx", case.name)


UNSAFE = re.compile(
    r"\b(pickle\.loads?|joblib\.load|torch\.load|torch\.export\.load|load_model|saved_model\.load|yaml\.load|h5py\.File)"
    r"\(|allow_pickle=True|import pickle|(?<![.\w])(eval|exec)\("
)
SAFE = re.compile(r"weights_only=True|safe_mode=True")
JUST_WRITTEN = {"backends/dualml_tensorflow/export.py": "tf.saved_model.load("}
"""What loads only the file that it wrote a moment ago, to compare it."""


def test_nothing_in_the_source_can_unpickle():
    root = Path(__file__).parents[2]
    found = []
    for path in (*(root / "dualml").rglob("*.py"), *(root / "backends").rglob("*.py")):
        where = path.relative_to(root).as_posix()
        own = JUST_WRITTEN.get(where)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if UNSAFE.search(line) and not SAFE.search(line) and (own is None or own not in line):
                found.append(f"{where}:{number}: {line.strip()}")
    assert found == []
