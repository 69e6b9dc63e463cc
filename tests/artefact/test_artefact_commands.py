"""``dualml export``, ``verify`` and ``predict`` on artefacts, as a user types them."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

import dualml
from dualml.artefact import MODEL


@pytest.fixture
def place(digits, tmp_path, monkeypatch):
    """A folder with inputs of every kind, right and wrong; the current folder."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 17, (3, 64)).astype(np.float32)
    np.save("x.npy", x)
    np.savez("x.npz", input=x)
    rows = x.tolist()
    write = lambda name, text: (tmp_path / name).write_text(text, encoding="utf-8")  # noqa: E731
    write("x.json", json.dumps(rows))
    write("named.json", json.dumps({"input": rows}))
    write("request.json", json.dumps({"instances": rows}))
    write("rows.json", json.dumps([{"input": row} for row in rows]))
    write("x.jsonl", "\n".join(map(json.dumps, rows)))
    write("x.csv", "\n".join(",".join(map(str, row)) for row in rows))
    write("header.csv", ",".join(f"p{i}" for i in range(64)) + "\n" + (tmp_path / "x.csv").read_text())
    write("x.tsv", (tmp_path / "x.csv").read_text().replace(",", "\t"))
    np.save("nan.npy", np.full((2, 64), np.nan))
    np.save("narrow.npy", np.zeros((2, 63)))
    np.save("text.npy", np.array([["a"] * 64]))
    np.save("none.npy", np.zeros((0, 64)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    write("empty.npy", "")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (40000000, 64), }"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    write("ragged.json", "[[1, 2], [3]]")
    write("nan.json", "[[NaN]]")
    write("twice.json", '{"input": [[1]], "input": [[2]]}')
    write("number.json", "3")
    write("other.json", json.dumps({"x": rows}))
    write("short.csv", "1,2\n1\n")
    write("words.csv", "1,2\na,b\n")
    write("header_only.csv", "a,b\n")
    write("x.txt", "hello\n")
    write("x.pkl", "x")
    return tmp_path


RIGHT = [
    "x.npy", "x.npz", "x.json", "named.json", "request.json", "rows.json", "x.jsonl", "x.csv", "header.csv", "x.tsv",
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_every_kind_of_input_gives_the_same(dualml_command, digits, run, place, name):
    outcome = dualml_command("predict", digits.path, name, "--out", "out.npy")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "out.npy: 3 predictions, shape [3, 10], float32\n"
    np.testing.assert_allclose(np.load("out.npy"), dualml.predict(run, np.load("x.npy")), atol=2e-6, rtol=0)


def test_every_kind_of_output_holds_the_same(dualml_command, digits, place):
    for name in ("out.npy", "bare", "out.npz", "out.csv", "out.json"):
        assert dualml_command("predict", digits.path, "x.npy", "--out", name, "-q").code == 0
    wanted = np.load("out.npy")
    assert np.array_equal(np.load("bare"), wanted)
    output = digits.manifest.outputs[0].name
    with np.load("out.npz") as archive:
        assert np.array_equal(archive[output], wanted)
    read = json.loads((place / "out.json").read_text())
    assert np.array_equal(np.array(read["outputs"][output], np.float32), wanted)
    assert read["class_names"][output] == [str(number) for number in range(10)]
    lines = (place / "out.csv").read_text().splitlines()
    assert lines[0] == "0,1,2,3,4,5,6,7,8,9"
    assert np.array_equal(np.array([line.split(",") for line in lines[1:]], np.float32), wanted)


WRONG = {
    "nan.npy": "must be finite",
    "narrow.npy": "inputs must have 64 values for each example",
    "text.npy": "inputs must be numbers",
    "none.npy": "at least one example",
    "objects.npy": "never unpickled",
    "empty.npy": "must be a .npy array",
    "huge.npy": "the header declares shape (40000000, 64)",
    "ragged.json": "all examples must have the same shape",
    "nan.json": "NaN is no JSON number",
    "twice.json": "the key 'input' stands twice",
    "number.json": "must hold a list of examples",
    "other.json": "inputs must be those of the model, input, but are x",
    "short.csv": "row 2 has 1 values",
    "words.csv": "row 2 holds something else than numbers",
    "header_only.csv": "at least one example",
    "x.txt": "the model takes numbers, not text",
    "x.pkl": "INPUT must be one of .npy",
    "missing.npy": "INPUT must name a file",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_get_one_message(dualml_command, digits, place, name):
    outcome = dualml_command("predict", digits.path, name, "--out", "out.npy")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("dualml: ")
    assert name in outcome.err
    assert WRONG[name] in outcome.err
    assert "Traceback" not in outcome.err
    assert not (place / "out.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "out.xlsx"], "must end in one of .npy"),
        (["--out", "."], "must be a file, but is a folder"),
        (["--out", "no/such/file.npy"], "does not exist; make it first"),
        (["--out", "o.npy", "--output", "other"], "the model has no output 'other'"),
        (["--out", "o.npy", "--backend", "tf"], "did you mean 'tensorflow'?"),
        (["--out", "o.npy", "--json", "no/such.json"], "make it first"),
        (["--out", "o.npy", "--weights", "best"], "an artefact holds one set of weights"),
    ],
)
def test_wrong_flags_get_one_message(dualml_command, digits, place, arguments, message):
    outcome = dualml_command("predict", digits.path, "x.npy", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (place / "o.npy").exists()


def test_both_backends_and_onnx_runtime_agree(dualml_command, digits, place):
    outcome = dualml_command("predict", digits.path, "x.npy", "--out", "o.npy", "--backend", "both", "--json", "d.json")
    assert outcome.code == 0, outcome.err
    found = json.loads((place / "d.json").read_text())["differences"]
    assert found.keys() == {"torch vs tensorflow", "torch vs onnx", "tensorflow vs onnx"}
    assert all(0 <= value <= 2e-6 for value in found.values())
    assert "torch vs onnx: max |difference| " in outcome.out


def test_one_backend_predicts_natively(dualml_command, digits, place):
    for backend in ("onnx", "torch"):
        assert dualml_command("predict", digits.path, "x.npy", "--out", backend, "--backend", backend).code == 0
    np.testing.assert_allclose(np.load("onnx"), np.load("torch"), atol=2e-6, rtol=0)


def test_a_run_is_still_predicted_with(dualml_command, run, place):
    outcome = dualml_command("predict", run, "x.npy", "--out", "run.npy", "--backend", "torch")
    assert outcome.code == 0, outcome.err
    assert np.load("run.npy").shape == (3, 10)


def test_predicting_imports_neither_framework_nor_the_spec(digits, place):
    code = (
        f"import sys\nsys.argv = ['dualml', 'predict', {str(digits.path)!r}, 'x.npy', '--out', 'o.npy']\n"
        "from dualml.cli.main import main\ntry:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "names = {'torch', 'tensorflow', 'keras', 'onnx', 'sklearn', 'pandas', 'dualml.spec', 'dualml.api'}\n"
        "print('IMPORTED', sorted(names & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.rpartition("IMPORTED ")[2].strip() == "[]", done.stderr


def test_export_verify_and_what_was_changed(dualml_command, run, tmp_path):
    out = tmp_path / "exported"
    outcome = dualml_command("export", run, "--out", out, "--name", "mine")
    assert outcome.code == 0, outcome.err
    assert "vs reference: max |difference| " in outcome.out
    assert "vs tensorflow: max |difference| " in outcome.out
    assert "batch-invariant: yes" in outcome.out
    outcome = dualml_command("verify", out, "--against", "none")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"{out}: whole: 4 files, ")
    data = bytearray((out / MODEL).read_bytes())
    data[-1] ^= 1
    (out / MODEL).write_bytes(data)
    outcome = dualml_command("verify", out)
    assert outcome.code == 2
    assert outcome.err.startswith(f"dualml: {out / MODEL}: has been changed since it was written")
    assert dualml_command("export", run, "--out", out).code == 2
    assert dualml_command("export", tmp_path / "none", "--out", tmp_path / "new").code == 2
    assert not (tmp_path / "new").exists()
