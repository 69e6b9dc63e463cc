"""Requests that are no HTTP, or are meant to do harm: each gets the right answer, soon, and the server goes on."""

import json
import random
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from serving_support import document, made_model, request_bytes, running

from dualml.serving.documents import decode
from dualml.serving.inference_protocol import _DECODER
from dualml.serving.refusals import RefusedError
from dualml.serving.telemetry import resident_bytes

INFER = "/v2/models/double/infer"
ASKED = json.dumps(document([[1, 2, 3, 4]])).encode()
HEAD = f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()


@pytest.fixture(scope="module")
def server():
    with running(made_model()) as found:
        yield found


LINES = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no HTTP, a line": (b"hello there\r\n\r\n", 400),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    "HTTP/9": (b"GET /v2 HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "no host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    "a host of its own": (b"GET /v2 HTTP/1.1\r\nHost: evil\r\n\r\n", 421),
    "null in the address": (b"GET /v2\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    "line feed in a header": (b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n", 400),
    "space before a colon": (b"GET /v2 HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n", 400),
    "address of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414),
    "header of 200 kB": (b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "5,000 headers": (b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n", 431),
    "length is a word": (HEAD + b"Content-Length: many\r\n\r\n", 400),
    "length is negative": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "length is huge": (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "length is beyond the limit": (HEAD + b"Content-Length: 9999999999\r\n\r\n", 413),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown transfer": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "chunk of no size": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk of huge size": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n", 400),
    "no body": (HEAD + b"\r\n", 400),
    "websocket": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        200,
    ),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "the server as proxy": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", LINES)
def test_what_is_no_right_request_is_told_so(server, case):
    data, status = LINES[case]
    begun = time.monotonic()
    answer = server.exchange(data)
    assert answer.status == status
    assert status == 200 or list(answer.json) == ["error"]
    assert time.monotonic() - begun < 6
    assert server.infer(ASKED).status == 200


@pytest.mark.parametrize(
    "data",
    [request_bytes("POST", INFER, content_length=500) + ASKED, HEAD + b"Content-", b"POST"],
    ids=["in the body", "in the head", "in the first word"],
)
def test_a_request_that_ends_early_is_400(server, data):
    """The client stops writing, but still reads."""
    assert server.exchange(data, finish=True).status == 400
    assert server.infer(ASKED).status == 200


def test_a_whole_request_is_answered_though_the_client_stopped_writing(server):
    assert server.exchange(request_bytes("POST", INFER, ASKED), finish=True).status == 200


def test_requests_in_one_piece_are_answered_in_order(server):
    """And a request hidden in the body of another is no request."""
    one = request_bytes("POST", INFER, json.dumps(document([[1, 1, 1, 1]])).encode())
    two = request_bytes("POST", INFER, b"GET /v2/health/live HTTP/1.1\r\n\r\n")
    three = request_bytes("POST", INFER, json.dumps(document([[3, 3, 3, 3]])).encode(), connection="close")
    with server.connect() as connection:
        connection.sendall(one + two + three)
        data = b""
        while part := connection.recv(65536):
            data += part
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"400", b"200"]
    assert data.index(b"[2.0,2.0,2.0,2.0]") < data.index(b"error") < data.index(b"[6.0,6.0,6.0,6.0]")


SECOND = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"


@pytest.mark.parametrize("finish", [False, True])
def test_nonsense_after_a_request_does_not_pass_for_its_answer(server, finish):
    with server.connect() as connection:
        connection.sendall(request_bytes("POST", INFER, ASKED) * 2 + SECOND)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        data = b""
        while part := connection.recv(65536):
            data += part
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"200"]


def test_random_bytes_never_make_it_fail(server):
    draw = random.Random(5)
    whole = request_bytes("POST", INFER, ASKED)
    statuses = set()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        answer = server.exchange(bytes(data), finish=True)
        assert answer is not None, bytes(data)
        statuses.add(answer.status)
    assert server.metric('dualml_requests_total{endpoint="infer",status="500"}') == 0
    assert statuses <= {200, 400, 404, 405, 413, 414, 415, 421, 431}
    assert {200, 400} <= statuses
    assert server.infer(ASKED).status == 200


def test_bad_requests_leave_no_memory_behind(server):
    deep = b'{"inputs":' + b"[" * 200_000
    wide = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0] * 300_000}]}).encode()
    keys = b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}"

    def all_of_them():
        for body in (deep, wide, keys, b"\xff" * 500_000, b'"' * 500_000, b'{"inputs": [' + b"{}," * 100_000):
            assert server.infer(body).status == 400

    all_of_them()
    before = resident_bytes()
    for _ in range(10):
        all_of_them()
    if before is not None:
        assert resident_bytes() - before < 30 * 2**20


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(['"', "\\", '\\"', '\\\\"', "a", "b", '":'])
PARAMETERS = st.lists(st.tuples(TEXTS, TEXTS | st.integers(-9, 9) | st.booleans() | st.none()), max_size=5)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parameters=PARAMETERS, identifier=TEXTS, ascii_only=st.booleans())
def test_a_key_twice_is_found_whatever_stands_around_it(parameters, identifier, ascii_only):
    """Parsers disagree about which of two equal keys counts, so such a document has no one meaning."""

    def quoted(value):
        return json.dumps(value, ensure_ascii=ascii_only)

    inside = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in parameters)
    text = f'{{"id": {quoted(identifier)}, "inputs": [], "parameters": {{{inside}}}}}'
    twice = len({name for name, _ in parameters}) < len(parameters)
    if twice:
        with pytest.raises(RefusedError, match="twice"):
            decode(_DECODER, text.encode())
    else:
        found = decode(_DECODER, text.encode())
        assert (found.id, found.parameters) == (identifier, dict(parameters))
