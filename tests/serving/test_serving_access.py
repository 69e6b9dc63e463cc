"""Who may ask, under which name, from where; what is counted; which settings are refused."""

import pytest
from serving_support import document, made_model, running

from dualml.errors import ServingError
from dualml.serving.settings import Settings

TOKEN = "0123456789abcdef"
ASKED = document([[1, 2, 3, 4]])


@pytest.fixture(scope="module")
def guarded():
    with running(made_model(), token=TOKEN, hosts=("Model.example.org",)) as server:
        yield server


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/health/ready"])
def test_what_a_load_balancer_and_a_browser_ask_first_needs_no_token(guarded, path):
    assert guarded.get(path).status == 200


@pytest.mark.parametrize("path", ["/v2", "/v2/models/double", "/metrics", "/openapi.json", "/nothing"])
def test_all_else_needs_the_token(guarded, path):
    answer = guarded.get(path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert guarded.get(path, authorization=f"Bearer {TOKEN}").status in (200, 404)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer x {TOKEN}",
        "Bearer ÿ",
    ],
)
def test_a_wrong_token_predicts_nothing(guarded, given):
    assert guarded.infer(ASKED, authorization=given).status == 401
    assert guarded.infer(ASKED, authorization=f"bearer {TOKEN}").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "LOCALHOST", "[::1]:8000", "model.example.org"])
def test_known_names_are_answered(guarded, host):
    assert guarded.get("/v2/health/live", host=host).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 400), (None, 400), ("a b", 400), ("a@b", 400)],
)
def test_other_names_are_refused(guarded, host, status):
    """A name that an attacker points at this machine must not open the server to the pages of that name."""
    assert guarded.get("/v2/health/live", host=host).status == status


def test_a_server_for_everyone_takes_every_name():
    with running(made_model(), host="0.0.0.0") as server:
        server.host = "127.0.0.1"
        assert server.get("/v2/health/live", host="anything.example").status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1", 200), ("https://127.0.0.1", 200), ("http://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_sites_cannot_ask(double, origin, status):
    answer = double.infer(ASKED, origin=origin)
    assert answer.status == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("name", ["Host", "Content-Type", "Authorization", "Inference-Header-Content-Length"])
def test_headers_that_decide_stand_once(double, name):
    value = {"Host": "127.0.0.1", "Content-Type": "application/json"}.get(name, "3")
    extra = f"{name}: {value}\r\n" * (1 if name == "Host" else 2)
    head = f"POST /v2/models/double/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}Content-Length: 0\r\n\r\n"
    answer = double.exchange(head.encode())
    assert (answer.status, "twice" in answer.json["error"]) == (400, True)


def test_every_answer_forbids_guessing_its_kind(double):
    for path in ("/", "/metrics", "/v2", "/nothing"):
        assert double.get(path).headers["x-content-type-options"] == "nosniff"
        assert "server" not in double.get(path).headers


def test_metrics_count_requests_rows_and_passes(double):
    for _ in range(3):
        double.infer(document([[1, 2, 3, 4], [5, 6, 7, 8]]))
    double.infer({})
    double.get("/nothing")
    double.exchange(b"nonsense\r\n\r\n")
    answer = double.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert double.metric('dualml_requests_total{endpoint="infer",status="200"}') == 3
    assert double.metric('dualml_requests_total{endpoint="infer",status="400"}') == 1
    assert double.metric('dualml_requests_total{endpoint="other",status="404"}') == 1
    assert double.metric('dualml_requests_total{endpoint="connection",status="400"}') == 1
    assert double.metric("dualml_rows_total") == 6
    assert double.metric("dualml_engine_seconds_count") == 3
    assert double.metric('dualml_batch_rows_bucket{le="1"}') == 0
    assert double.metric('dualml_batch_rows_bucket{le="2"}') == 3
    assert double.metric('dualml_request_seconds_count{endpoint="infer"}') == 4
    assert double.metric("dualml_queue_length") == 0
    assert double.metric("dualml_connections") == 1


def test_metrics_are_prometheus_text(double):
    double.infer(ASKED)
    described = {}
    for line in double.get("/metrics").body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            described[name] = kind
        elif not line.startswith("#"):
            name = line.partition("{")[0].partition(" ")[0]
            family = name
            for ending in ("_bucket", "_sum", "_count"):
                if name.endswith(ending) and described.get(name.removesuffix(ending)) == "histogram":
                    family = name.removesuffix(ending)
            assert family in described
            float(line.rpartition(" ")[2])
    assert set(described.values()) == {"counter", "gauge", "histogram"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 65536}, "port must be from 0"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"body_bytes": 10}, "body_bytes must be at least 1024"),
        ({"queue": 0}, "queue must be"),
        ({"read_seconds": 0}, "read_seconds must be"),
        ({"answer_seconds": float("inf")}, "answer_seconds must be"),
        ({"token": "short"}, "16 to 512"),
        ({"token": "0123456789 abcdef"}, "16 to 512"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ServingError, match=message):
        Settings(**settings)


def test_a_token_is_not_printed():
    assert TOKEN not in repr(Settings(token=TOKEN))
