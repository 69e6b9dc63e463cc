"""Folders for serving engines: what their documentation asks for is there."""

import pytest
from google.protobuf import text_format
from ruamel.yaml import YAML

from dualml import guards
from dualml.errors import RunError
from dualml.export.bundles import default_name, write_bundle
from dualml.testing.cases import GRAPH_CASES, NETWORK_CASES, PLAIN

GRAPH, WEIGHTS = PLAIN.graph("float32"), PLAIN.weights("float32")
TOKENS = next(case for case in NETWORK_CASES if case.name == "lstm-masked-last")
TWO = next(case for case in GRAPH_CASES if case.name == "two-outputs-weighted")


def bundle(kind, path, case=PLAIN, name="digits", **settings):
    return write_bundle(kind, case.graph("float32"), case.weights("float32"), path, name=name, backends=(), **settings)


def files(path):
    return {str(item.relative_to(path)) for item in path.rglob("*") if item.is_file()}


def triton_config(path):
    """A config.pbtxt as Triton itself parses it."""
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config.ModelConfig())


def test_a_triton_repository(tmp_path):
    checked = bundle("triton", tmp_path / "repository", labels={"dense_2": ["a b", "b\nc", "c"]})
    assert checked.ok
    root = tmp_path / "repository" / "digits"
    assert files(root) == {"config.pbtxt", "1/model.onnx", "dense_2.labels.txt"}
    guards.check(root / "1" / "model.onnx")
    config = triton_config(root / "config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == ("digits", "onnxruntime", 1024)
    assert [(item.name, list(item.dims)) for item in config.input] == [("input", [3])]
    assert [(item.name, list(item.dims), item.label_filename) for item in config.output] == [
        ("dense_2", [3], "dense_2.labels.txt")
    ]
    assert config.HasField("dynamic_batching") == checked.batch_invariant
    assert (root / "dense_2.labels.txt").read_text(encoding="utf-8") == "a b\nb c\nc\n"


@pytest.mark.parametrize("case", [TOKENS, TWO], ids=lambda case: case.name)
def test_the_configuration_says_what_the_model_takes_and_gives(case, tmp_path):
    import onnx

    bundle("triton", tmp_path / "r", case)
    config = triton_config(tmp_path / "r" / "digits" / "config.pbtxt")
    model = onnx.load(tmp_path / "r" / "digits" / "1" / "model.onnx")
    types = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64"}
    for said, there in ((config.input, model.graph.input), (config.output, model.graph.output)):
        assert len(said) == len(there)
        for item, tensor in zip(said, there, strict=True):
            kind = tensor.type.tensor_type
            assert item.name == tensor.name
            assert list(item.dims) == [dim.dim_value for dim in kind.shape.dim[1:]]
            assert (
                item.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[item.data_type].name
                == types[kind.elem_type]
            )


def test_batching_is_left_out_where_rows_depend_on_each_other(tmp_path, monkeypatch):
    from dataclasses import replace

    from dualml.export import bundles

    real = bundles.export
    monkeypatch.setattr(bundles, "export", lambda *given, **more: replace(real(*given, **more), batch_invariant=False))
    bundle("triton", tmp_path / "r")
    assert not triton_config(tmp_path / "r" / "digits" / "config.pbtxt").HasField("dynamic_batching")


def test_a_tensorflow_serving_folder(tmp_path):
    assert bundle("tfserving", tmp_path / "models").ok
    there = files(tmp_path / "models")
    assert {
        "digits/1/saved_model.pb",
        "digits/1/variables/variables.index",
        "digits/1/variables/variables.data-00000-of-00001",
        "models.config",
    } <= there
    text = (tmp_path / "models" / "models.config").read_text(encoding="utf-8")
    assert 'name: "digits"' in text
    assert 'base_path: "/models/digits"' in text


def test_a_kserve_folder(tmp_path):
    assert bundle("kserve", tmp_path / "k", storage="gs://bucket/models").ok
    assert files(tmp_path / "k") == {
        "inferenceservice.yaml",
        "models/digits/config.pbtxt",
        "models/digits/1/model.onnx",
    }
    service = YAML(typ="safe").load((tmp_path / "k" / "inferenceservice.yaml").read_text(encoding="utf-8"))
    assert service == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "digits"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "triton"},
                    "protocolVersion": "v2",
                    "storageUri": "gs://bucket/models",
                }
            }
        },
    }


@pytest.mark.parametrize(
    ("kind", "settings", "error", "message"),
    [
        ("kserve", {"name": "My_Model"}, RunError, "KServe wants"),
        ("triton", {"name": "../up"}, RunError, "must be letters, digits"),
        ("kserve", {"storage": "nowhere"}, RunError, "must be a URI"),
        ("other", {}, RunError, "--bundle must be one of triton, tfserving, kserve"),
    ],
)
def test_what_engines_do_not_take_is_refused(kind, settings, error, message, tmp_path):
    with pytest.raises(error, match=message):
        bundle(kind, tmp_path / "b", **settings)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(RunError, match="is not empty"):
        bundle("triton", tmp_path)
    assert files(tmp_path) == {"mine"}


def test_names_made_of_paths(tmp_path):
    assert default_name("triton", tmp_path / "My run (2)") == "My-run-2"
    assert default_name("kserve", tmp_path / "My_run.2") == "my-run-2"
    assert default_name("triton", tmp_path / "..") == "model"
