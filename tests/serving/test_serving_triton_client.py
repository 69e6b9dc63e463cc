"""Triton's own client, unmodified: what works with Triton works with this server."""

import numpy as np
import pytest
from serving_support import made_model, running
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from dualml.serving.from_artefact import from_artefact


def connected(server, **options):
    return triton.InferenceServerClient(f"{server.host}:{server.port}", **options)


@pytest.fixture
def client(small):
    with connected(small) as found:
        yield found


def asked(array, name="input", datatype="FP32", *, binary=True):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("small", "2")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("small", model_version="1")
    assert found["inputs"][0] == {"name": "input", "datatype": "FP32", "shape": [-1, 64]}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_predictions_are_those_of_predict(client, artefact, images, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput("dense_2", binary_data=binary_out)]
    found = client.infer("small", [asked(images, binary=binary_in)], outputs=outputs, request_id="seven")
    assert np.array_equal(found.as_numpy("dense_2"), artefact.predict(images))
    assert found.get_response()["id"] == "seven"


def test_predictions_without_chosen_outputs(client, artefact, images):
    found = client.infer("small", [asked(images)], model_version="1")
    assert np.array_equal(found.as_numpy("dense_2"), artefact.predict(images))


def test_requests_side_by_side(small, artefact, images):
    with connected(small, concurrency=8) as client:
        pending = [client.async_infer("small", [asked(images[row : row + 1])]) for row in range(5)]
        found = np.concatenate([item.get_result().as_numpy("dense_2") for item in pending])
    np.testing.assert_allclose(found, artefact.predict(images), atol=1e-6, rtol=0)


def test_texts(text_artefact):
    texts = np.array(["to be", "or not"], dtype=object)
    with running(from_artefact(text_artefact)) as server, connected(server) as client:
        for binary in (True, False):
            found = client.infer("words", [asked(texts, datatype="BYTES", binary=binary)])
            name = found.get_response()["outputs"][0]["name"]
            assert np.array_equal(found.as_numpy(name), text_artefact.predict(list(texts)))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("small", lambda: asked(np.zeros((1, 63), np.float32)), r"\[400\].*shape must be \[-1, 64\]"),
        ("small", lambda: asked(np.zeros((1, 64)), datatype="FP64"), r"\[400\].*datatype must be FP32"),
        ("small", lambda: asked(np.zeros((1, 64), np.float32), "x"), r"\[400\].*there is no input 'x'"),
        ("small", lambda: asked(np.full((1, 64), np.nan, np.float32)), r"\[400\].*finite"),
        ("small", lambda: asked(np.zeros((2000, 64), np.float32)), r"\[413\].*1024 examples"),
        ("other", lambda: asked(np.zeros((1, 64), np.float32)), r"\[404\].*no model 'other'"),
    ],
)
def test_errors_reach_the_client(client, name, make, message):
    with pytest.raises(InferenceServerException, match=message):
        client.infer(name, [make()])


def test_compressed_bodies_are_refused(client, images):
    with pytest.raises(InferenceServerException, match=r"\[415\].*compressed"):
        client.infer("small", [asked(images)], request_compression_algorithm="gzip")


def test_a_token(images):
    with running(made_model(), token="0123456789abcdef") as server, connected(server) as client:
        x = [asked(np.ones((1, 4), np.float32), "x")]
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match=r"\[401\]"):
            client.infer("double", x)
        found = client.infer("double", x, headers={"Authorization": "Bearer 0123456789abcdef"})
        assert found.as_numpy("y").tolist() == [[2, 2, 2, 2]]
