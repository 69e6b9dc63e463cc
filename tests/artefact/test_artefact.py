"""Artefacts: equal weights give equal files, every changed byte is found, nothing is kept that predicts otherwise."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dualml
from dualml import guards
from dualml.artefact import FORMAT, MANIFEST, MODEL, ONNX, SPEC, create, is_artefact, open_artefact, verify
from dualml.artefact.batching import batch_difference, is_invariant
from dualml.artefact.manifest import InputInfo, canonical, digest, read_manifest
from dualml.artefact.session import Session
from dualml.config.loader import parse
from dualml.errors import ArtefactError, GuardError, ParityError
from dualml.reference.losses.predictions import predictions
from dualml.reference.network import forward
from dualml.weights import initial_weights

CONTENT = (MODEL, ONNX, SPEC)


def contents(path, names=CONTENT):
    return {name: (path / name).read_bytes() for name in names}


def rewrite(path, **changes):
    """Change a manifest and give it the digest that goes with it, as someone who knows the format can."""
    values = json.loads((path / MANIFEST).read_bytes())
    values.pop("sha256")
    values |= changes
    (path / MANIFEST).write_bytes(canonical({**values, "sha256": digest(values)}))


def test_an_artefact_says_what_it_is(tiny):
    values = json.loads((tiny.path / MANIFEST).read_bytes())
    assert values["format"] == FORMAT
    assert values["inputs"] == [{"name": "input", "shape": [4], "dtype": "float32", "size": None}]
    assert values["outputs"] == [{"name": "dense_2", "shape": [3], "dtype": "float32", "prediction": "softmax"}]
    assert values["class_names"] == ["a", "b", "c"]
    assert values["files"].keys() == set(CONTENT)
    assert values["versions"].keys() >= {"dualml", "onnx", "onnxruntime", "numpy"}
    assert [item["against"] for item in values["parity"]["differences"]] == ["reference"]
    assert values["batch_invariant"] is True


def test_equal_weights_give_equal_bytes(tiny, tiny_spec, tmp_path):
    for number in range(3):
        made = create((tiny_spec, initial_weights(tiny_spec.graph, 1)), tmp_path / str(number), backends=())
        assert contents(made.path) == contents(tiny.path)
    other = create((tiny_spec, initial_weights(tiny_spec.graph, 2)), tmp_path / "other", backends=())
    assert contents(other.path, [MODEL]) != contents(tiny.path, [MODEL])


def test_either_backend_gives_the_same_bytes(tiny, tiny_spec, tmp_path):
    first = initial_weights(tiny_spec.graph, 1)
    for backend in ("torch", "tensorflow"):
        spec = tiny_spec.replace(backend=backend)
        weights = dualml.build(spec, weights=first).get_weights()
        assert contents(create((spec, weights), tmp_path / backend, backends=()).path) == contents(tiny.path)


def test_what_is_predicted_is_the_reference(tiny, tiny_spec):
    examples = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    values = forward(tiny_spec.graph, tiny.weights, examples)
    wanted = predictions("softmax", values[tiny_spec.graph.output])
    np.testing.assert_allclose(tiny.predict(examples), wanted, atol=2e-6, rtol=0)


def test_a_run_is_predicted_with_as_its_training_treated_its_inputs(digits, run):
    examples = np.random.default_rng(0).integers(0, 17, (30, 8, 8))
    np.testing.assert_allclose(digits.predict(examples), dualml.predict(run, examples), atol=2e-6, rtol=0)
    assert digits.manifest.metrics.keys() == {"loss", "accuracy"}
    assert digits.manifest.training["backend"] == "torch"
    assert digits.manifest.name == "digits"
    assert digits.spec.data.source == "digits"


def test_predictions_come_in_batches_of_any_size(tiny):
    examples = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
    whole = tiny.predict(examples)
    assert whole.shape == (2500, 3)
    assert np.array_equal(whole[2400:], tiny.predict(examples[2400:]))


def test_texts_and_categories_come_with_their_encoding(tmp_path):
    from dualml.data import Preparation
    from dualml.data.vocabulary import TextEncoding, Vocabulary

    spec = parse(
        "model: {inputs: {tokens: {shape: [5], dtype: integer}}, layers: [embedding: {vocabulary: 9, units: 3}, "
        "flatten, dense: 2]}\nloss: cross_entropy\noptimizer: adam\n"
    )
    encoding = TextEncoding(Vocabulary(("a", "b", "c"), "characters"), 5)
    path = tmp_path / "texts"
    create((spec, initial_weights(spec.graph, 0)), path, backends=(), preparation=Preparation(encoding=encoding))
    artefact = open_artefact(path)
    assert artefact.manifest.inputs == (InputInfo("tokens", (5,), "int64", 9),)
    ids = np.array([[2, 3, 4, 0, 0], [1, 1, 2, 0, 0]])
    assert np.array_equal(artefact.predict(["abc", "xya"]), artefact.predict(ids))
    with pytest.raises(dualml.DataError, match="from 0 to 8, but example 0"):
        artefact.predict(np.full((1, 5), 9))


def test_no_path_of_this_machine_is_in_the_files(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 4)))
    np.save(tmp_path / "y.npy", np.zeros(9, dtype=np.int64))
    text = (
        "model: {input: 4, layers: [dense: 2]}\nloss: cross_entropy\noptimizer: adam\n"
        "data: {source: npy, inputs: x.npy, targets: y.npy}\n"
    )
    spec = parse(text, folder=tmp_path)
    assert str(tmp_path) in json.dumps(spec.to_dict())
    made = create((spec, initial_weights(spec.graph, 0)), tmp_path / "made", backends=())
    for name in (*CONTENT, MANIFEST):
        data = (made.path / name).read_bytes()
        assert b"/home" not in data
        assert b"/tmp" not in data
        assert b"site-packages" not in data
        assert os.fsencode(tmp_path) not in data
    assert made.spec.data.inputs == "x.npy"


def test_every_changed_byte_of_the_manifest_is_found(tiny):
    data = (tiny.path / MANIFEST).read_bytes()
    assert read_manifest(data, "m") == tiny.manifest
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises((ArtefactError, GuardError)):
            read_manifest(bytes(changed), "m")


def test_a_manifest_with_the_same_meaning_but_other_bytes_is_found(tiny):
    data = (tiny.path / MANIFEST).read_bytes()
    for changed in (data + b"\n", data.replace(b"\n ", b"\n\t", 1), data.replace(b'"a"', b'"\\u0061"', 1)):
        assert json.loads(changed) == json.loads(data)
        with pytest.raises(ArtefactError, match="has been changed since it was written"):
            read_manifest(changed, "m")


@pytest.mark.parametrize("name", CONTENT)
def test_every_changed_byte_of_the_other_files_is_found(copied, name):
    path = copied / name
    data = path.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 150)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises((ArtefactError, GuardError)):
            open_artefact(copied)
    path.write_bytes(data)
    open_artefact(copied)
    for cut in (data[:-1], data + b"\0", b""):
        path.write_bytes(cut)
        with pytest.raises((ArtefactError, GuardError)):
            open_artefact(copied)


def test_verify_names_every_changed_file(copied):
    for name in CONTENT:
        data = bytearray((copied / name).read_bytes())
        data[-2] ^= 1
        (copied / name).write_bytes(data)
    with pytest.raises((ArtefactError, GuardError)) as found:
        verify(copied)
    for name in CONTENT:
        assert str(copied / name) in str(found.value)


def test_files_may_be_neither_missing_nor_added_nor_links(copied, tmp_path):
    (copied / "more.txt").write_text("x")
    with pytest.raises(ArtefactError, match=r"more.txt: is not part of the artefact"):
        open_artefact(copied)
    (copied / "more.txt").unlink()
    moved = tmp_path / "moved.onnx"
    (copied / ONNX).rename(moved)
    with pytest.raises(ArtefactError, match=r"model.onnx: is missing"):
        open_artefact(copied)
    (copied / ONNX).symlink_to(moved)
    with pytest.raises(GuardError, match="is a symbolic link"):
        open_artefact(copied)
    (copied / ONNX).unlink()
    os.link(moved, copied / ONNX)
    with pytest.raises(GuardError, match="has 2 names"):
        open_artefact(copied)
    (copied / ONNX).unlink()
    shutil.copy(moved, copied / ONNX)
    open_artefact(copied)


def test_what_is_no_artefact_is_said(tmp_path, run):
    for path, message in (
        (tmp_path / "none", "does not exist"),
        (Path(__file__), "is a file"),
        (run, "has no manifest.json"),
    ):
        assert not is_artefact(path)
        with pytest.raises(ArtefactError, match=message):
            open_artefact(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dualml.artefact/9"}, "must have the format 'dualml.artefact/1'"),
        ({"inputs": []}, "inputs must be a list that holds one"),
        ({"batch_invariant": 1}, "batch_invariant must be true or false"),
        ({"name": "../x"}, "name must be letters"),
        ({"files": {}}, "files must be model.safetensors, model.onnx, spec.json"),
        ({"outputs": [{"name": "o", "shape": [-1], "dtype": "float32", "prediction": "softmax"}]}, "must be a shape"),
        (
            {"inputs": [{"name": "i", "shape": [1 << 30], "dtype": "float32", "size": None}]},
            "must be a shape of at most",
        ),
        ({"class_names": [1]}, "class_names must be a list of names"),
    ],
)
def test_a_manifest_that_was_made_by_hand_is_held_against_its_form(copied, changes, message):
    rewrite(copied, **changes)
    with pytest.raises(ArtefactError, match=message):
        open_artefact(copied)


def test_parts_that_do_not_belong_together_are_found(copied, tiny, tiny_spec, tmp_path):
    """Whoever replaces a file and its digest still cannot pass another model off as this one."""
    other = create((tiny_spec, initial_weights(tiny_spec.graph, 2)), tmp_path / "other", backends=())
    shutil.copy(other.path / ONNX, copied / ONNX)
    files = json.loads((copied / MANIFEST).read_bytes())["files"]
    rewrite(copied, files=files | {ONNX: json.loads((other.path / MANIFEST).read_bytes())["files"][ONNX]})
    open_artefact(copied)
    with pytest.raises(ParityError, match="must predict what the model does"):
        verify(copied, backends=())
    rewrite(copied, inputs=[{"name": "input", "shape": [5], "dtype": "float32", "size": None}])
    with pytest.raises(ArtefactError, match="inputs and outputs are not those of the spec"):
        verify(copied)
    verify(tiny.path, backends=())


def test_an_onnx_model_that_is_wrong_is_not_kept(tiny_spec, tmp_path, monkeypatch):
    from dualml.export import onnx

    emit, wrong = onnx.emit, initial_weights(tiny_spec.graph, 7)
    monkeypatch.setattr(onnx, "emit", lambda graph, _: emit(graph, wrong))
    with pytest.raises(ParityError, match="must predict what the model does"):
        create((tiny_spec, initial_weights(tiny_spec.graph, 1)), tmp_path / "out", backends=())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_an_artefact_that_cannot_be_written(tiny_spec, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArtefactError, match="No space left on device; nothing was left behind"):
        create((tiny_spec, initial_weights(tiny_spec.graph, 1)), tmp_path / "out", backends=())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_before_the_work(tiny_spec, tmp_path):
    weights = initial_weights(tiny_spec.graph, 1)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, message in (("used", "is not empty"), ("file", "is a file or link"), ("no/such", "make it first")):
        with pytest.raises(ArtefactError, match=message):
            create((tiny_spec, weights), tmp_path / name, backends=())
    with pytest.raises(ArtefactError, match="the model's name must be"):
        create((tiny_spec, weights), tmp_path / "new", backends=(), name="a/b")
    (tmp_path / "empty").mkdir()
    create((tiny_spec, weights), tmp_path / "empty", backends=())


def batch_dependent():
    """Divides by the largest number of the whole batch, as dynamic quantisation does with its scale."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=1),
        helper.make_node("Div", ["input", "largest"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["dense_2"], axis=-1),
    ]
    given, wanted = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("input", "dense_2"))
    graph = helper.make_graph(nodes, "g", [given], [wanted])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def test_a_model_whose_rows_depend_on_each_other_is_found(tiny, tiny_spec, tmp_path):
    inputs = tiny.manifest.inputs
    assert batch_difference(tiny.session, inputs) <= 1e-6
    difference = batch_difference(Session(batch_dependent()), inputs)
    assert difference > 0.1
    assert not is_invariant(difference, exact=False)
    assert is_invariant(1e-7, exact=False)
    assert not is_invariant(1e-7, exact=True)


def test_a_model_of_ones_own_keeps_what_is_said_of_it(tiny_spec, tiny, tmp_path):
    weights = initial_weights(tiny_spec.graph, 1)
    with pytest.raises(ArtefactError, match="say in parity"):
        create((tiny_spec, weights), tmp_path / "no", onnx=tiny.onnx)
    with pytest.raises(GuardError, match="must be an ONNX model"):
        create((tiny_spec, weights), tmp_path / "no", onnx=b"", parity={})
    made = create((tiny_spec, weights), tmp_path / "own", onnx=tiny.onnx, parity={}, compression={"method": "int8"})
    assert made.manifest.compression == {"method": "int8"}
    assert made.onnx == tiny.onnx


def test_onnx_and_manifest_must_have_the_same_names(tiny):
    renamed = replace(tiny, manifest=replace(tiny.manifest, outputs=(replace(tiny.manifest.outputs[0], name="x"),)))
    with pytest.raises(ArtefactError, match="must have the outputs x of the manifest, but has dense_2"):
        renamed.open_session()


@pytest.mark.parametrize(("dtype", "shape"), [("float64", (3,)), ("float32", (4,)), ("float32", (3, 1))])
def test_onnx_and_manifest_must_have_the_same_shapes(tiny, dtype, shape):
    output = replace(tiny.manifest.outputs[0], dtype=dtype, shape=shape)
    changed = replace(tiny, manifest=replace(tiny.manifest, outputs=(output,)))
    with pytest.raises(ArtefactError, match=r"output dense_2 must be .*, as the manifest says, but is float32 \[3\]"):
        changed.open_session()


def test_an_encoding_cannot_ask_for_more_than_the_input_takes(tiny):
    encoding = {
        "kind": "text", "tokens": [], "token": "words", "lowercase": False, "length": 1 << 50, "padding": "right",
        "truncation": "right", "column": "text", "separator": ",",
    }  # fmt: skip
    preprocessing = {**tiny.manifest.preprocessing, "encoding": encoding}
    with pytest.raises(ArtefactError, match=r"as many tokens as the input takes, \[4\], but preprocessing makes 1125"):
        replace(tiny, manifest=replace(tiny.manifest, preprocessing=preprocessing)).predict(["x"])


def test_an_artefact_passes_its_guards(tiny):
    guards.check(tiny.path)
