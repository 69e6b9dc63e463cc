"""The Open Inference Protocol and TensorFlow Serving's requests: what is answered, and what a wrong request is told."""

import json

import numpy as np
import pytest
from serving_support import document, made_model, running

from dualml.serving.from_artefact import from_artefact
from dualml.serving.tensors import Tensor

ADDRESSES = {
    "/v2": ["name", "version", "extensions"],
    "/v2/health/live": ["live"],
    "/v2/health/ready": ["ready"],
    "/v2/models/small": ["name", "versions", "platform", "inputs", "outputs", "parameters"],
    "/v2/models/small/versions/1": ["name", "versions", "platform", "inputs", "outputs", "parameters"],
    "/v2/models/small/ready": ["ready"],
    "/v2/models/small/versions/1/ready": ["ready"],
    "/v1/models/small": ["model_version_status"],
    "/v1/models/small/versions/1": ["model_version_status"],
    "/openapi.json": ["openapi", "info", "paths", "components"],
}


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_answers(small, path):
    answer = small.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ADDRESSES[path]


def test_metadata_says_what_the_model_takes_and_gives(small):
    found = small.get("/v2/models/small").json
    assert found["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 64]}]
    assert found["outputs"] == [{"name": "dense_2", "datatype": "FP32", "shape": [-1, 3]}]
    assert found["parameters"] == {"class_names": {"dense_2": ["a", "b", "c"]}}


def tensor(images, data):
    return {"inputs": [{"name": "input", "shape": list(images.shape), "datatype": "FP32", "data": data}]}


def binary_body(images, **wishes):
    data = images.astype("<f4").tobytes()
    given = {"name": "input", "shape": list(images.shape), "datatype": "FP32"}
    given["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [given], **wishes}).encode()
    return head + data, {"inference_header_content_length": len(head), "content_type": "application/octet-stream"}


def test_predictions_are_those_of_predict_bit_for_bit(small, artefact, images):
    """In every way of asking, and of as many rows at once."""
    wanted = artefact.predict(images)
    flat = small.infer(tensor(images, images.ravel().tolist())).json["outputs"][0]
    nested = small.infer(tensor(images, images.tolist())).json["outputs"][0]
    assert flat == nested
    assert (flat["name"], flat["datatype"], flat["shape"]) == ("dense_2", "FP32", [5, 3])
    assert np.array_equal(np.array(flat["data"], np.float32).reshape(5, 3), wanted)
    path = "/v1/models/small:predict"
    assert np.array_equal(np.array(small.post(path, {"instances": images.tolist()}).json["predictions"]), wanted)
    rows = [{"input": row} for row in images.tolist()]
    assert np.array_equal(np.array(small.post(path, {"instances": rows}).json["predictions"]), wanted)
    assert np.array_equal(np.array(small.post(path, {"inputs": images.tolist()}).json["outputs"]), wanted)
    assert np.array_equal(np.array(small.post(path, {"inputs": {"input": images.tolist()}}).json["outputs"]), wanted)
    body, headers = binary_body(images, parameters={"binary_data_output": True})
    answer = small.infer(body, **headers)
    length = int(answer.headers["inference-header-content-length"])
    described = json.loads(answer.body[:length])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": len(answer.body) - length}
    assert np.array_equal(np.frombuffer(answer.body[length:], "<f4").reshape(5, 3), wanted)


def test_an_output_can_be_chosen_and_its_form(small, images):
    body, headers = binary_body(images, outputs=[{"name": "dense_2", "parameters": {"binary_data": False}}], id="q7")
    answer = small.infer(body, **headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["id"] == "q7"
    assert len(answer.json["outputs"][0]["data"]) == 15


def test_several_inputs_and_outputs():
    model = made_model(
        lambda arrays: {"sum": arrays["x"] + arrays["i"], "sign": (arrays["x"] > 0)},
        inputs=(Tensor("x", "FP32", (2,)), Tensor("i", "INT64", (2,))),
        outputs=(Tensor("sum", "FP64", (2,)), Tensor("sign", "BOOL", (2,))),
        example={"x": np.zeros((1, 2), np.float32), "i": np.zeros((1, 2), np.int64)},
    )
    rows = [{"x": [0.5, -1.0], "i": [1, 2]}, {"x": [0.25, 3.0], "i": [4, -5]}]
    with running(model) as server:
        found = server.post("/v1/models/double:predict", {"instances": rows})
        assert found.json == {
            "predictions": [
                {"sum": [1.5, 1.0], "sign": [True, False]},
                {"sum": [4.25, -2.0], "sign": [True, True]},
            ]
        }
        columns = {"x": [[0.5, -1.0]], "i": [[1, 2]]}
        found = server.post("/v1/models/double:predict", {"inputs": columns})
        assert found.json == {"outputs": {"sum": [[1.5, 1.0]], "sign": [[True, False]]}}
        inputs = document([[0.5, -1.0]])["inputs"] + document([[1, 2]], "i", "INT64")["inputs"]
        asked = {"inputs": inputs, "outputs": [{"name": "sign"}]}
        assert [item["data"] for item in server.infer(asked).json["outputs"]] == [[True, False]]
        assert "several inputs" in server.post("/v1/models/double:predict", {"instances": [[1, 2]]}).json["error"]
        assert "i is missing" in server.infer(document([[0.5, -1.0]])).json["error"]
        inputs[1]["shape"], inputs[1]["data"] = [2, 2], [1, 2, 3, 4]
        assert "as many examples" in server.infer({"inputs": inputs}).json["error"]


X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
WRONG = {
    "not JSON": (b"{", 400, "truncated"),
    "empty": (b"", 400, "truncated"),
    "not UTF-8": (b'{"inputs": "\xff"}', 400, "JSON"),
    "a list": ([], 400, "object"),
    "no inputs": ({}, 400, "inputs"),
    "none of the inputs": ({"inputs": []}, 400, "x is missing"),
    "unknown key": ({"inputs": [X], "magic": 1}, 400, "magic"),
    "unknown input": ({"inputs": [{**X, "name": "z"}]}, 400, "there is no input 'z'"),
    "input twice": ({"inputs": [X, X]}, 400, "once"),
    "unknown output": ({"inputs": [X], "outputs": [{"name": "z"}]}, 400, "there is no output 'z'"),
    "output twice": ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, 400, "once"),
    "another type": ({"inputs": [{**X, "datatype": "FP64"}]}, 400, "datatype must be FP32"),
    "no type": ({"inputs": [{**X, "datatype": "FLOAT"}]}, 400, "datatype must be FP32"),
    "another width": ({"inputs": [{**X, "shape": [1, 5]}]}, 400, "shape must be [-1, 4]"),
    "another rank": ({"inputs": [{**X, "shape": [4]}]}, 400, "shape must be [-1, 4]"),
    "negative rows": ({"inputs": [{**X, "shape": [-1, 4]}]}, 400, ">= 0"),
    "huge shape": ({"inputs": [{**X, "shape": [10**18, 4]}]}, 400, "<= 2147483648"),
    "true as length": ({"inputs": [{**X, "shape": [True, 4]}]}, 400, "bool"),
    "a fraction as length": ({"inputs": [{**X, "shape": [1.5, 4]}]}, 400, "float"),
    "no rows": ({"inputs": [{**X, "shape": [0, 4], "data": []}]}, 400, "at least one"),
    "too few values": ({"inputs": [{**X, "data": [1, 2, 3]}]}, 400, "4 values"),
    "too many values": ({"inputs": [{**X, "data": [1] * 5}]}, 400, "4 values"),
    "far too many values": (
        {"inputs": [{**X, "data": [1] * 5000}]},
        400,
        "4 values for the shape [1, 4], but holds 5000",
    ),
    "ragged": ({"inputs": [{**X, "shape": [2, 4], "data": [[1, 2, 3, 4], [1]]}]}, 400, "equal length"),
    "nested too deep": ({"inputs": [{**X, "data": [[[1, 2, 3, 4]]]}]}, 400, "3 deep"),
    "data of another shape": ({"inputs": [{**X, "data": [[1], [2], [3], [4]]}]}, 400, "[4, 1]"),
    "texts": ({"inputs": [{**X, "data": ["1", "2", "3", "4"]}]}, 400, "str"),
    "truths": ({"inputs": [{**X, "data": [True, 2, 3, 4]}]}, 400, "bool"),
    "nulls": ({"inputs": [{**X, "data": [None, 2, 3, 4]}]}, 400, "null"),
    "a number": ({"inputs": [{**X, "data": 1}]}, 400, "0 deep"),
    "no data": ({"inputs": [{key: X[key] for key in ("name", "shape", "datatype")}]}, 400, "either data or"),
    "NaN": (json.dumps({"inputs": [{**X, "data": [float("nan"), 2, 3, 4]}]}).encode(), 400, "JSON"),
    "infinity": (json.dumps({"inputs": [{**X, "data": [float("inf"), 2, 3, 4]}]}).encode(), 400, "JSON"),
    "beyond float64": (json.dumps({"inputs": [X]}).replace("1, 2", "1e400, 2").encode(), 400, "out of range"),
    "beyond float32": ({"inputs": [{**X, "data": [1e39, 2, 3, 4]}]}, 400, "finite in FP32"),
    "makes the output infinite": ({"inputs": [{**X, "data": [3e38, 2, 3, 4]}]}, 400, "not finite"),
    "a key twice": (json.dumps({"inputs": [X]}).replace('"name"', '"name": "x", "name"').encode(), 400, "twice"),
    "deep nesting": (b'{"inputs": ' + b"[" * 100_000, 400, "JSON"),
    "too many rows": ({"inputs": [{**X, "shape": [2000, 4], "data": [0] * 8000}]}, 413, "1024 examples"),
    "binary size without bytes": (
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]},
        400,
        "0 bytes are left",
    ),
    "binary size and data": ({"inputs": [{**X, "parameters": {"binary_data_size": 16}}]}, 400, "either data or"),
    "negative binary size": (
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": -1}}]},
        400,
        "number of bytes",
    ),
    "shared memory": ({"inputs": [{**X, "parameters": {"shared_memory_region": "a"}}]}, 400, "not supported"),
    "classification": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        400,
        "not supported",
    ),
    "a number as identifier": ({"inputs": [X], "id": 3}, 400, "id"),
}


@pytest.fixture(scope="module")
def doubler():
    with np.errstate(over="ignore"), running(made_model(quiet_double)) as server:
        yield server


def quiet_double(arrays):
    with np.errstate(over="ignore"):
        return {"y": arrays["x"] * np.float32(2)}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(doubler, case):
    body, status, message = WRONG[case]
    answer = doubler.infer(body)
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert message in answer.json["error"]
    assert len(answer.json["error"]) < 400
    assert doubler.infer(document([[1, 2, 3, 4]])).json["outputs"][0]["data"] == [2, 4, 6, 8]


WRONG_PREDICT = {
    "neither": ({}, "either instances"),
    "both": ({"instances": [[1, 2, 3, 4]], "inputs": [[1, 2, 3, 4]]}, "either instances"),
    "no rows": ({"instances": []}, "at least one"),
    "unknown signature": ({"instances": [[1, 2, 3, 4]], "signature_name": "other"}, "serving_default"),
    "unknown input": ({"instances": [{"z": [1, 2, 3, 4]}]}, "'z'"),
    "a key twice": (b'{"instances": [{"x": [1, 2, 3, 4], "x": [1, 2, 3, 4]}]}', "twice"),
    "width": ({"instances": [[1, 2, 3]]}, "[4]"),
    "ragged": ({"instances": [[1, 2, 3, 4], [1]]}, "equal length"),
    "texts": ({"inputs": [["a"] * 4]}, "str"),
    "base64": ({"instances": [{"b64": "AAAA"}]}, "'b64'"),
    "far too many rows": ({"instances": [[1000000] * 400] * 1025}, "1024 examples"),
    "some rows named": ({"instances": [{"x": [1, 2, 3, 4]}, [1, 2, 3, 4]]}, "JSON"),
}


@pytest.mark.parametrize("case", WRONG_PREDICT)
def test_a_wrong_predict_request_is_told_what_is_wrong(doubler, case):
    body, message = WRONG_PREDICT[case]
    answer = doubler.post("/v1/models/double:predict", body)
    assert answer.status == (413 if "rows" in case and "many" in case else 400)
    assert message in answer.json["error"]


BINARY = {
    "too short": (b"\0" * 15, {}, "15 bytes are left"),
    "too long": (b"\0" * 17, {}, "1 bytes follow"),
    "NaN": (np.full(4, np.nan, "<f4").tobytes(), {}, "NaN or infinite"),
    "infinity": (np.full(4, np.inf, "<f4").tobytes(), {}, "NaN or infinite"),
    "head beyond the body": (b"\0" * 16, {"inference_header_content_length": 9999}, "from 0 to"),
    "head is no number": (b"\0" * 16, {"inference_header_content_length": "1e2"}, "from 0 to"),
    "head is negative": (b"\0" * 16, {"inference_header_content_length": -1}, "from 0 to"),
    "head too short": (b"\0" * 16, {"inference_header_content_length": 3}, "JSON"),
}


@pytest.mark.parametrize("case", BINARY)
def test_wrong_binary_data_is_refused(doubler, case):
    data, changed, message = BINARY[case]
    given = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [given]}).encode()
    headers = {"inference_header_content_length": len(head), **changed}
    answer = doubler.infer(head + data, content_type="application/octet-stream", **headers)
    assert answer.status == 400
    assert message in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/models/other/infer", "there is no model 'other'"),
        ("/v2/models/double/versions/2/infer", "there is no version '2'"),
        ("/v1/models/other:predict", "there is no model 'other'"),
        ("/v2/models/../../etc/passwd", "nothing at this address"),
        ("/v2/repository/index", "nothing at this address"),
        ("//", "nothing at this address"),
    ],
)
def test_what_is_not_there_is_404(doubler, path, message):
    answer = doubler.post(path, document([[1, 2, 3, 4]]))
    assert answer.status == 404
    assert message in answer.json["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(doubler, method):
    answer = doubler.request(method, "/v2/models/double/infer")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "POST" in answer.json["error"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"content_type": "text/plain"}, "'text/plain'"),
        ({"content_type": "application/octet-stream"}, "Inference-Header-Content-Length"),
        ({"content_encoding": "gzip"}, "compressed"),
    ],
)
def test_other_kinds_of_bodies_are_415(doubler, headers, message):
    answer = doubler.infer(document([[1, 2, 3, 4]]), **headers)
    assert answer.status == 415
    assert message in answer.json["error"]


def test_texts_are_asked_as_texts(text_artefact):
    wanted = text_artefact.predict(["to be", "or not"])
    with running(from_artefact(text_artefact)) as server:
        assert server.get("/v2/models/words").json["inputs"] == [
            {"name": "input", "datatype": "BYTES", "shape": [-1]},
        ]
        answer = server.post("/v1/models/words:predict", {"instances": ["to be", "or not"]})
        assert np.array_equal(np.array(answer.json["predictions"]), wanted)
        texts = [b"to be", b"or not"]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        given = {"name": "input", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [given]}).encode()
        answer = server.infer(head + data, inference_header_content_length=len(head))
        assert np.array_equal(np.array(answer.json["outputs"][0]["data"]).reshape(wanted.shape), wanted)
        broken = head + data[:-1] + b"\xff"
        assert "UTF-8" in server.infer(broken, inference_header_content_length=len(head)).json["error"]
        longer = head + data.replace(b"\x05", b"\xff", 1)
        answer = server.infer(longer, inference_header_content_length=len(head))
        assert "does not end" in answer.json["error"]
        assert "at least one token" in server.post("/v1/models/words:predict", {"instances": [""]}).json["error"]


def test_columns_of_a_table_are_asked_by_name(table_artefact):
    rows = [{"age": 31.5, "city": "Oslo"}, {"age": 4, "city": "elsewhere"}]
    columns = {"age": np.array([31.5, 4.0]), "city": np.array(["Oslo", "elsewhere"], dtype=object)}
    wanted = table_artefact.predict(columns)
    with running(from_artefact(table_artefact)) as server:
        assert [item["datatype"] for item in server.get("/v2/models/people").json["inputs"]] == ["FP64", "BYTES"]
        answer = server.post("/v1/models/people:predict", {"instances": rows})
        assert np.array_equal(np.array(answer.json["predictions"]), wanted)
        answer = server.post("/v1/models/people:predict", {"instances": [{"age": 31.5}]})
        assert answer.status == 400
        assert "age, city" in answer.json["error"]
