"""The published description: valid, true of every answer, and no request made from it, right or wrong, gets a 5xx."""

import json

import hypothesis
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import checks
from serving_support import running

from dualml.serving.from_artefact import from_artefact

checks.load_all_checks()
TRUE = [
    checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


@pytest.fixture(scope="module", params=["image", "text", "table"])
def served(request):
    name = {"image": "artefact", "text": "text_artefact", "table": "table_artefact"}[request.param]
    with running(from_artefact(request.getfixturevalue(name)), read_seconds=5) as server:
        yield server


def described(server):
    return schemathesis.openapi.from_url(f"http://{server.host}:{server.port}/openapi.json")


def try_out(operation, mode):
    """Statuses of the answers to requests made from an operation's description, right ones or broken ones."""
    statuses = []

    @hypothesis.settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=QUIET,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        response = case.call(timeout=10)
        case.validate_response(response, checks=TRUE)
        statuses.append(response.status_code)

    check()
    return statuses


def test_every_address_answers_as_described(served):
    right, broken = [], []
    for result in described(served).get_all_operations():
        operation = result.ok()
        right += try_out(operation, schemathesis.GenerationMode.POSITIVE)
        if operation.method == "post":
            broken += try_out(operation, schemathesis.GenerationMode.NEGATIVE)
    assert len(right) > 20
    assert 200 in right
    assert len(broken) > 50
    assert set(broken) <= {400, 405, 413, 415}


def test_examples_in_the_description_work(served):
    found = served.get("/openapi.json").json
    tried = 0
    for path, methods in found["paths"].items():
        if "post" in methods:
            example = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            answer = served.post(path, example)
            assert answer.status == 200, answer.body
            tried += 1
            schema = methods["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json, {**schema, "components": found["components"]})
    assert tried == 4


@pytest.mark.parametrize("binary", [True, False])
def test_both_forms_of_an_answer_are_described(served, binary):
    for path, methods in served.get("/openapi.json").json["paths"].items():
        if path.endswith("/infer"):
            described = methods["post"]["responses"]["200"]
            example = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            answer = served.post(path, {**example, "parameters": {"binary_data_output": binary}})
            assert answer.headers["content-type"] in described["content"]
            assert binary == ("inference-header-content-length" in answer.headers)
            assert list(described["headers"]) == ["Inference-Header-Content-Length"]


def test_every_reference_points_somewhere(served):
    found = served.get("/openapi.json").json
    text = json.dumps(found)
    for name in found["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text
    assert text.count('"$ref"') == sum(
        text.count(f'"#/components/schemas/{name}"') for name in found["components"]["schemas"]
    )
    identifiers = [item["operationId"] for methods in found["paths"].values() for item in methods.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_a_token_is_described(artefact):
    with running(from_artefact(artefact), token="0123456789abcdef") as server:
        found = server.get("/openapi.json", authorization="Bearer 0123456789abcdef").json
    assert found["security"] == [{"token": []}]
    assert found["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert found["paths"]["/v2/health/live"]["get"]["security"] == []
    assert "401" in found["paths"]["/v2/models/small/infer"]["post"]["responses"]
